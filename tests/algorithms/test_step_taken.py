"""What is told of the step that was taken, its length, and the objective that TRPO's line search judges.

Oracles by autograd.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical as Softmax
from torch.distributions import Independent, Normal

import pgrun.training.loop as training
from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.npg import Npg
from pgrun.algorithms.trpo import Trpo
from pgrun.config.paths import conf_dir
from pgrun.diagnostics.update import policy_change
from pgrun.optimization.natural_gradient import conjugate_gradient, fisher_product, in_float64
from pgrun.policies.policy import Policy
from pgrun.training.build import Run
from pgrun.training.loop import train_run
from pgrun.types import Batch
from tests.algorithms.test_natural import DISTRIBUTIONS, batch_of, kl_of_theta, learner_of, policy_of, rng
from tests.helpers.support_pipeline import built

ALGORITHMS = sorted(path.stem for path in Path(conf_dir() / "algo").glob("*.yaml"))
SMALL = {
    "reinforce": "sampler.episodes=4 env.num_envs=4",
    "off_policy_pg": "sampler.episodes=4 env.num_envs=4",
    "storm_pg": "sampler.episodes=4 env.num_envs=4",
    "off_policy_ac": "sampler.warmup=8 env.num_envs=4",
    "online_ac": "",
}

pytestmark = pytest.mark.usefixtures("differentiable")


# --- ½ΔᵀFΔ --------------------------------------------------------------------------------------------------


def quadratic(policy: Policy, batch: Batch, old: Tensor) -> float:
    """½ΔᵀFΔ of the step from ``old``, F the Hessian of the mean KL at ``old``, by autograd."""
    step = policy.theta - old
    with torch.enable_grad():
        theta = old.clone().requires_grad_()
        (slope,) = torch.autograd.grad(kl_of_theta(policy, batch, theta), theta, create_graph=True)
        (along,) = torch.autograd.grad(slope @ step, theta)
    return float(step @ along) / 2


NATURAL = {
    "npg": Npg(delta=0.1, damping=1.0),
    "npg, fixed": Npg(step="fixed", damping=1.0),
    "npg, dense": Npg(delta=0.1, damping=1.0, solver="dense"),
    "trpo": Trpo(delta=0.1, damping=1.0),
    "trpo, cut back": Trpo(delta=0.5, damping=1e-3, backtrack=0.5),
}


@pytest.mark.parametrize("name", NATURAL)
def test_the_predicted_kl_is_that_of_the_step_taken_without_damping(name: str) -> None:
    algorithm, tries = NATURAL[name], []
    for seed in range(6):
        policy = policy_of(DISTRIBUTIONS["gaussian"], seed=seed)
        batch, old = batch_of(policy, seed=seed + 10), policy.theta.clone()
        algorithm.improve(batch, learner_of(policy))
        expected = quadratic(policy, batch, old)
        assert float(algorithm.told["step/kl_predicted"]) == pytest.approx(expected, rel=1e-9, abs=1e-15)
        if "fixed" not in name:
            assert expected < 0.99 * algorithm.delta, "the damping or the line search took some of it"
        tries.append(float(algorithm.told.get("step/line_search_steps", 1.0)))
    assert name != "trpo, cut back" or max(tries) > 1


def test_the_predicted_kl_of_a_sampled_fisher_matrix_is_about_that_matrix() -> None:
    policy = policy_of(DISTRIBUTIONS["gaussian"])
    batch, old = batch_of(policy), policy.theta.clone()
    score = policy.scores(batch.obs, batch.action).sums(torch.ones(40, dtype=torch.float64), 40)
    npg = Npg(fisher="sampled", damping=0.5)
    npg.improve(batch, learner_of(policy))
    along = score @ (policy.theta - old)
    expected = float((batch.mask * along.square()).sum() / batch.mask.sum()) / 2
    assert float(npg.told["step/kl_predicted"]) == pytest.approx(expected, rel=1e-9)


def test_a_rejected_step_predicts_nothing() -> None:
    policy = policy_of(DISTRIBUTIONS["gaussian"])
    trpo = Trpo(delta=0.1, backtracks=3)
    trpo.is_acceptable = lambda *args: False  # type: ignore[method-assign]
    trpo.improve(batch_of(policy), learner_of(policy))
    assert trpo.told["step/kl_predicted"] == trpo.told["step/kl_realised"] == trpo.told["step/accepted"] == 0


def test_the_radius_is_held_in_float32() -> None:
    """½ΔᵀAΔ = δ for the x that conjugate gradients found. gᵀx, equal to xᵀAx in exact
    arithmetic, is off by a hundredth.
    """
    worst, control = 0.0, 0.0
    for seed in range(6):
        wide = policy_of(DISTRIBUTIONS["gaussian"], hidden=(16,), seed=seed)
        rows = batch_of(wide, 200, seed=seed + 50)
        policy = wide.with_theta(wide.theta.float())
        batch = replace(
            rows, **{k: x.float() for k, x in vars(rows).items() if getattr(x, "is_floating_point", bool)()}
        )
        twin, exact = in_float64(policy, batch)
        metric, old, npg = fisher_product(twin, exact, 1e-3), twin.theta.clone(), Npg()
        gradient = -npg.loss_gradient(batch, learner_of(policy))
        x = conjugate_gradient(fisher_product(policy, batch, 1e-3), gradient, 10).x
        control = max(control, abs(float(gradient.dot(x) / x.double().dot(metric(x.double()))) - 1))
        npg.improve(batch, learner_of(policy))
        step = policy.theta.double() - old
        worst = max(worst, abs(float(step.dot(metric(step))) / (2 * npg.delta) - 1))
    assert control > 5e-3
    assert worst < 1e-4  # θ + Δ is rounded to 6e-8, a hundred thousandth of Δ


def test_a_kl_averaged_over_action_dimensions_is_a_radius_and_a_damping_of_its_own() -> None:
    """(F/A + c)x = g and ½Δᵀ(F/A + c)Δ = δ, as sb3-contrib has it for a Gaussian of A
    dimensions, is our step of Aδ and Ac.
    """
    policy = policy_of(DISTRIBUTIONS["gaussian"])
    batch, old, dims = batch_of(policy), policy.theta.clone(), policy.dist.linear
    damping, delta = 0.1, 0.01
    with torch.enable_grad():
        averaged = torch.autograd.functional.hessian(
            lambda theta: kl_of_theta(policy, batch, theta) / dims, old
        )
    matrix = averaged + damping * torch.eye(len(old), dtype=torch.float64)
    gradient = -Npg().loss_gradient(batch, learner_of(policy))
    x = torch.linalg.solve(matrix, gradient)
    expected = (2 * delta / (x @ matrix @ x)).sqrt() * x
    for factor, same in ((dims, True), (1, False)):
        moved = policy.with_theta(old.clone())
        Npg(delta=factor * delta, damping=factor * damping, solver="dense").improve(batch, learner_of(moved))
        assert torch.allclose(moved.theta - old, expected, rtol=1e-6, atol=1e-9) == same


# --- ‖Δθ‖ ---------------------------------------------------------------------------------------------------


def small(algo: str, *words: str) -> Run:
    usual = SMALL.get(algo, "sampler.steps=32 env.num_envs=4").split()
    return built(
        f"algo={algo}", *usual, "env=CartPole-v1", "trainer.total_steps=400", "network.hidden=[8]", *words
    )


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_tells_the_length_of_its_step(algo: str, tmp_path: Path) -> None:
    run, lengths = small(algo, "logger.every=1"), []
    run.iterations = None  # so that each update is the algorithm's own call
    update = run.algorithm.update

    def watched(batch, learner) -> None:
        before = learner.policy.theta.clone()
        update(batch, learner)
        lengths.append(float((learner.policy.theta - before).norm()))

    run.algorithm.update = watched
    train_run(run, tmp_path)
    told = [float(row["step/size"]) for row in rows_of(tmp_path) if row["step/size"]]
    assert len(told) == len(lengths) > 2
    assert told == lengths
    assert max(told) > 0


def test_with_a_shared_network_the_whole_of_theta_counts(tmp_path: Path) -> None:
    run = small("a2c", "network=shared", "logger.every=1", "optimizer.lr=0.01")
    first = run.policy.theta.clone()
    summary = train_run(run, tmp_path)
    told = [float(row["step/size"]) for row in rows_of(tmp_path) if row["step/size"]]
    assert len(told) == summary["updates"]
    assert float((run.policy.theta - first).norm()) <= sum(told) * (1 + 1e-6)


def test_nothing_is_kept_for_updates_that_are_not_logged(tmp_path: Path, monkeypatch) -> None:
    kept, look = [], training.policy_before_update
    monkeypatch.setattr(training, "policy_before_update", lambda policy: kept.append(1) or look(policy))
    run = small("a2c", "logger.every=5", "diagnostics.gradient_every=0", "sampler.steps=4")
    updates = train_run(run, tmp_path)["updates"]
    assert updates >= 20
    assert len(kept) == updates // 5 == sum(bool(row["step/size"]) for row in rows_of(tmp_path))


# --- the objective of the line search -----------------------------------------------------------------------


def judged(policy: Policy, batch: Batch, theta: Tensor, entropy: float, name: str) -> tuple[Tensor, Tensor]:
    """(surrogate, all that is differentiated) at θ, by ``torch.distributions``."""
    params = policy.with_theta(theta).params(batch.obs)
    if name == "gaussian":
        mean, log_std = params.chunk(2, -1)
        pi = Independent(Normal(mean, log_std.exp()), 1)
    else:
        pi = Softmax(logits=params)
    ratio = (pi.log_prob(batch.action) - batch.log_prob).exp()
    surrogate = (batch.mask * ratio * batch.psi).sum() / batch.count
    whole = surrogate + entropy * (batch.mask * pi.entropy()).sum() / batch.count
    if batch.correction is not None:
        whole = whole + batch.correction @ (theta - policy.theta)
    return surrogate, whole


def corrected(batch: Batch, size: int, scale: float) -> Batch:
    return replace(batch, correction=scale * torch.randn(size, generator=rng(9), dtype=torch.float64))


WITH = {"nothing": (0.0, 0.0), "entropy": (5.0, 0.0), "correction": (0.0, 0.3), "both": (0.5, 0.3)}


@pytest.mark.parametrize("what", WITH)
@pytest.mark.parametrize("name", ["gaussian", "categorical"])
def test_the_line_search_accepts_what_improves_the_objective_that_was_differentiated(
    name: str, what: str
) -> None:
    entropy, scale = WITH[what]
    accepted = against_surrogate = 0
    for seed in range(15):
        policy = policy_of(DISTRIBUTIONS[name], seed=seed)
        batch = batch_of(policy, seed=seed + 100)
        batch = corrected(batch, len(policy.theta), scale) if scale else batch
        old = policy.with_theta(policy.theta.clone())
        trpo = Trpo(delta=0.05, entropy=entropy)
        trpo.improve(batch, learner_of(policy))
        if not trpo.told["step/accepted"]:
            continue
        accepted += 1
        before, after = (judged(old, batch, theta, entropy, name) for theta in (old.theta, policy.theta))
        assert after[1] > before[1]
        against_surrogate += bool(after[0] < before[0])
    assert accepted >= 14
    assert (against_surrogate > 0) == (what != "nothing"), (
        "the surrogate alone would have turned these steps down"
    )


@pytest.mark.parametrize("what", WITH)
@pytest.mark.parametrize("name", ["gaussian", "categorical"])
def test_the_objective_is_the_one_that_was_differentiated(name: str, what: str) -> None:
    entropy, scale = WITH[what]
    policy = policy_of(DISTRIBUTIONS[name])
    batch = batch_of(policy)
    batch = corrected(batch, len(policy.theta), scale) if scale else batch
    trpo = Trpo(entropy=entropy)
    with torch.enable_grad():
        slope = torch.autograd.functional.jacobian(
            lambda theta: trpo.objective(policy.with_theta(theta), batch), policy.theta
        )
        oracle = torch.autograd.functional.jacobian(
            lambda theta: judged(policy, batch, theta, entropy, name)[1], policy.theta
        )
    wanted = -trpo.loss_gradient(batch, learner_of(policy))
    torch.testing.assert_close(slope, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(oracle, wanted, rtol=1e-10, atol=1e-12)


def test_the_loss_of_a_corrected_gradient_has_the_correction() -> None:
    """policy/loss is −L, and the part of ∇L that no row has is linear in Δθ."""
    policy = policy_of(DISTRIBUTIONS["gaussian"])
    batch = batch_of(policy)
    with_it = corrected(batch, len(policy.theta), 1.0)
    step = 0.1 * torch.randn(len(policy.theta), generator=rng(3), dtype=torch.float64)
    after = policy.with_theta(policy.theta + step)
    plain, told = (policy_change(policy, after, x, A2c()) for x in (batch, with_it))
    assert with_it.correction is not None
    expected = float(plain["policy/loss"]) - float(with_it.correction @ step)
    assert float(told["policy/loss"]) == pytest.approx(expected, rel=1e-12)
    assert float(told["step/size"]) == pytest.approx(float(step.norm()), rel=1e-12)
