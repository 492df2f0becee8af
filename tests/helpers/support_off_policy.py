"""off_policy_ac on a small MDP: a buffer that an older policy filled, a critic that
is a table, and its fixed point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace

import torch
from torch import Tensor

from pgrun import exact
from pgrun.critics.action_value import ActionCritic, ActionValue
from pgrun.training.build import Run
from pgrun.training.loop import make_batch
from pgrun.types import Rollout
from tests.helpers.support_pipeline import built

STATES, ACTIONS, GAMMA = 4, 2, 0.9
OLD, NOW = (1.5 * torch.randn(STATES * ACTIONS, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
WORDS = (
    *("env=pgrun/SmallMDP-v0", "env.num_envs=50", "algo=off_policy_ac", "gamma=0.9", "algo.entropy=0"),
    *(
        "network.hidden=[]",
        "network.bias=false",
        "sampler.steps=400",
        "sampler.warmup=1",
        "sampler.batch=20000",
    ),
)


class TableNet:
    """A table of Q(s, a), or of V(s), where a network is expected; one-hot inputs look its entries up."""

    def __init__(self, actions: int):
        self.actions = actions
        self.size = STATES * max(actions, 1)

    def layers(self, phi: Tensor) -> tuple[Tensor, None]:
        return phi.view(STATES, max(self.actions, 1)), None

    def activations(self, table: Tensor, free: None, x: Tensor) -> list[Tensor]:
        row = x[..., :STATES] @ table
        return [x, (row * x[..., STATES:]).sum(-1, keepdim=True) if self.actions else row]


@dataclass
class Lab:
    run: Run
    critic: ActionCritic
    rollout: Rollout  # an empty one: recalling it draws, and keeps nothing

    def draw(self) -> Rollout:
        run = self.run
        rollout = run.sampler.recall(self.rollout, run.policy, run.scale, run.noise)
        assert rollout is not None
        return rollout

    def solved(self) -> tuple[Tensor, Tensor]:
        """(π [S, A], Q [S, A]) of the present policy; the time limit of 200 steps is never met."""
        p = exact.read_problem(self.run.envs.envs[0])
        pi = exact.policy_table(self.run.policy, p)
        return pi, exact.values(p, pi, GAMMA)[1][0]

    def of_the_buffer(self, theta: Tensor) -> Tensor:
        """Q [S, A] of a policy in the MDP whose chances and rewards are the buffer's frequencies: without
        sampling error.
        """
        run, size = self.run, self.run.sampler.size
        obs, after, action, reward, end = (
            run.sampler.memory[name][:size] for name in ("obs", "next_obs", "action", "reward", "terminated")
        )
        state, after = obs.argmax(-1), after.argmax(-1)
        count = self.visited() * size
        follows, rewards = torch.zeros(STATES, ACTIONS, STATES).double(), torch.zeros_like(count)
        follows.index_put_((state, action, after), 1 - end.double(), accumulate=True)
        rewards.index_put_((state, action), reward.double(), accumulate=True)
        p = exact.read_problem(run.envs.envs[0])
        p = replace(p, transition=follows / count[..., None], reward=rewards / count)
        pi = theta.view(ACTIONS, STATES).T.double().softmax(-1)
        return exact.values(p, pi, GAMMA)[1][0]

    def visited(self) -> Tensor:
        """Share of each pair in the buffer [S, A]."""
        memory, size = self.run.sampler.memory, self.run.sampler.size
        pair = memory["obs"][:size].argmax(-1) * ACTIONS + memory["action"][:size]
        return torch.bincount(pair, minlength=STATES * ACTIONS).view(STATES, ACTIONS).double() / size

    def read(self) -> Tensor:
        """What the critic says of every pair [S, A]."""
        obs = torch.eye(STATES).repeat_interleave(ACTIONS, 0)
        return self.critic.q(obs, torch.arange(ACTIONS).repeat(STATES)).view(STATES, ACTIONS).double()

    def set(self, table: Tensor) -> None:
        self.critic.phi.copy_(table.flatten())
        self.critic.follower.copy_(self.critic.phi)

    def fixed_point(self) -> None:
        """Repeated regression on its own targets, solved exactly by the mean of each
        entry; the last half averaged.
        """
        kept = []
        for _ in range(80):  # the memory of the start falls like (0.9·0.8)ᵏ
            rows = self.critic.rows(self.draw(), GAMMA)
            state, columns = rows.obs.argmax(-1), max(self.critic.net.actions, 1)
            entry = state * columns + (rows.action if columns > 1 else 0)
            total, count = (torch.bincount(entry, w, STATES * columns) for w in (rows.target, rows.mask))
            self.set((total / count).float())
            kept.append(self.critic.phi.clone())
        self.set(torch.stack(kept[40:]).mean(0))

    def direction(self) -> Tensor:
        """The ascent direction of one update [P], on a fresh draw."""
        return self.direction_on(self.draw())

    def direction_on(self, rollout: Rollout) -> Tensor:
        _, _, batch = make_batch(self.run, rollout)
        return -self.run.algorithm.loss_gradient(batch, self.run.learner)

    def present_gradient(self) -> Tensor:
        """Σ_s d(s) Σ_a π(a|s)Q(s, a)∇log π(a|s) with the exact Q, d of the buffer:
        what the actor should follow [P].
        """
        pi, q = self.solved()
        weight = self.visited().sum(1, keepdim=True) * pi * (q - (pi * q).sum(1, keepdim=True))
        return weight.T.flatten()


@cache
def lab(corrections: str, baseline: str = "none") -> Lab:
    """20 000 transitions of another policy in the buffer; the present one has played nothing."""
    run = built(*WORDS, **{"algo.corrections": corrections, "algo.baseline": baseline})
    of_actions, next_now = corrections != "none", corrections in ("q_next", "all")
    net = TableNet(ACTIONS if of_actions else 0)
    context = SimpleNamespace(
        policy=run.policy,
        envs=run.envs,
        gamma=GAMMA,
        noise=run.noise,
        optimizer=lambda phi: SimpleNamespace(step=None),
    )
    critic = ActionCritic(ActionValue(), net, torch.zeros(net.size), context, of_actions, next_now)
    run.learner.critic = critic
    run.policy.theta.copy_(OLD)
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    run.sampler.recall(rollout, run.policy, run.scale, run.noise)
    run.policy.theta.copy_(NOW)
    return Lab(run, critic, replace(rollout, mask=torch.zeros_like(rollout.mask)))
