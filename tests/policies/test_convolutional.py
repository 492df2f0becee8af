"""Convolutions on observations: layout, first weights, gradients, runs, and what is refused."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from pgrun.policies.networks.cnn import Cnn, sides_after
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout
from tests.helpers.support_cli import pgrun as command
from tests.helpers.support_pipeline import built

SMALL = {
    "env.id": "pgrun/Catch-v0", "env.num_envs": 2, "sampler.steps": 8, "network.hidden": [8],
    "network.channels": [3, 4], "diagnostics.gradient_every": 1, "logger.every": 1,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("differentiable")


def test_outputs_and_gradient_are_those_of_a_convolution_written_out() -> None:
    """On an image of 5 × 4 pixels with two channels, as it is flattened; the gradient by autograd."""
    network = Cnn(
        hidden=(6,),
        channels=(3,),
        kernels=(2,),
        strides=(2,),
        image=(5, 4, 2),
        divisor=2.0,
        activation="tanh",
    )
    net = network.net(40, 2)
    theta = net.init("orthogonal", [1.0, 0.5], 0.0, torch.Generator().manual_seed(0)).requires_grad_()
    draw = torch.Generator().manual_seed(1)
    image = torch.randn(7, 5, 4, 2, generator=draw, dtype=torch.float64)
    up = torch.randn(7, 2, generator=draw, dtype=torch.float64)
    layers, free = net.layers(theta)
    look, shift, first, first_bias, last, last_bias = layers.values()
    patches = image.unfold(1, 2, 2).unfold(2, 2, 2) / 2  # [7, 2, 2, channel, row, column]
    seen = (torch.einsum("brcdij,odij->borc", patches, look) + shift[:, None, None]).tanh()
    wanted = (seen.flatten(1) @ first.T + first_bias).tanh() @ last.T + last_bias
    kept = net.activations(layers, free, image.flatten(1))
    torch.testing.assert_close(kept[-1], wanted, rtol=0, atol=1e-12)
    (slope,) = torch.autograd.grad((wanted * up).sum(), theta)
    torch.testing.assert_close(net.gradient(layers, kept, up), slope, rtol=0, atol=1e-12)
    rows = net.backpropagate(layers, kept, up).sums(torch.ones(7, dtype=torch.float64), 1)[0]
    torch.testing.assert_close(rows, slope, rtol=0, atol=1e-12)


def test_first_weights_are_orthogonal_and_the_last_layer_has_its_gains() -> None:
    net = Cnn(hidden=(16,)).net(64, 3)
    layers, _ = net.layers(net.init("orthogonal", [0.01, 0.01, 1.0], 0.0, torch.Generator().manual_seed(0)))
    look, shift, _, _, _, _, last, _ = layers.values()
    gram = look.flatten(1).mT @ look.flatten(1)  # 16 filters of 9 pixels
    torch.testing.assert_close(gram, 2 * torch.eye(9, dtype=gram.dtype), rtol=0, atol=1e-12)
    assert not shift.any()
    torch.testing.assert_close(last.norm(dim=1), torch.tensor([0.01, 0.01, 1.0], dtype=last.dtype))
    assert sides_after((8, 8), (3, 3), (1, 2)) == (2, 2)


@pytest.mark.parametrize("network", ["cnn", "shared_cnn"])
def test_a_run_moves_and_goes_on_as_it_was(network: str) -> None:
    words = ["algo=ppo", f"network={network}", "env=pgrun/Catch-v0"]
    run, again = (built(*words, **SMALL) for _ in range(2))
    assert run.backend == "torch" or type(run.policy.net).__name__ == "ImageNet"
    start = run.policy.theta.clone()
    scalars = learn_from_rollout(run, collect_rollout(run)[0], Counters(next_eval=0))
    assert scalars["gradient/variance"] > 0
    assert not torch.equal(run.policy.theta, start)
    again.load_state_dict(run.state_dict())
    for one in (run, again):
        learn_from_rollout(one, collect_rollout(one)[0], Counters(next_eval=0))
    assert torch.equal(run.policy.theta, again.policy.theta)


def test_catch_is_what_it_says() -> None:
    """Towards the ball every one is caught; staying catches the column in the middle alone."""
    env = gym.make("pgrun/Catch-v0")
    assert env.observation_space.contains(env.reset(seed=0)[0])

    def play(seed: int, clever: bool) -> tuple[float, int]:
        image, over, total = env.reset(seed=seed)[0], False, 0.0
        ball = int(image[0, :, 0].argmax())
        while not over:
            paddle = int(np.flatnonzero(image[-1, :, 0])[0])
            image, reward, over, _, _ = env.step(int(np.sign(ball - paddle)) + 1 if clever else 1)
            total += float(reward)
        return total, ball

    assert {play(seed, True)[0] for seed in range(40)} == {1.0}
    assert {ball for total, ball in (play(seed, False) for seed in range(40)) if total > 0} == {4}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("env=pgrun/Catch-v0", "take network=cnn or shared_cnn"),
        ("network=cnn env=CartPole-v1", "gives no images"),
        ("network=cnn env=pgrun/Catch-v0 network.image=[4,4,3]", "set network.image=[rows,columns,channels]"),
        ("network=cnn env=pgrun/Catch-v0 network.kernels=[3,9]", "nothing is left of 8 × 8 pixels"),
        ("network=cnn env=pgrun/Catch-v0 network.channels=[8]", "one of each for every convolution"),
        ("network=shared_cnn env=pgrun/Catch-v0 algo=trpo", "add network=separate"),
    ],
)
def test_refusals(words: str, said: str) -> None:
    answer = command(f"tuned=none {words}")
    assert answer.code == 2
    assert said in answer.err
