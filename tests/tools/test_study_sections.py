"""What a study measures beside its scores: importance weights, weights by time step, a refitted critic,
Fisher matrices, steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.config.schema import construct_from_settings, setting_kinds
from pgrun.exact import fisher, policy_table, read_problem
from pgrun.tools.study.behaviour import distance_in_kl
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.lab import StudySetup, build_study_setup
from pgrun.tools.study.settings import Study
from pgrun.tools.study.weights import shift_of_visits
from pgrun.tools.study.zero_mean_schemes import Past, Score
from pgrun.variance.none import None_
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers.support_study import pgrun_study, settings_of, study

SMALL = "env=pgrun/SmallMDP-v0 gamma=0.9 policy.ascent=0.5 critic=none env.num_envs=16"


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Iterator[StudySetup]:
    """The lab of a command line, and what it closes."""
    settings = settings_of(f"repeats=1 {request.param}")
    with torch.no_grad():
        lab = build_study_setup(
            construct_from_settings(Study, {key: settings[key] for key in setting_kinds(Study)}), settings
        )
        yield lab
        lab.close()


@pytest.mark.parametrize("made", [f"{SMALL} schemes=[none] batch=4"], indirect=True)
def test_the_past_is_what_reward_to_go_leaves_out(made: StudySetup) -> None:
    """None = past + reward-to-go, estimate by estimate, and a constant times the scores beside it."""
    (rollout,) = made.source.rollouts(10, 4)
    seen = Seen(made.policy, rollout, made.critic)
    whole, to_go, past, score = (
        seen.estimates(Estimator(scheme, 0.9), 4)
        for scheme in (None_(), RewardToGo(discounting="from_start"), Past(), Score())
    )
    torch.testing.assert_close(whole, to_go + past)
    assert past.abs().max() > 0.1
    torch.testing.assert_close(seen.estimates(Estimator(Score(), 0.5), 4), score, msg="γ has no part in it")


@pytest.mark.parametrize(
    "made",
    [f"{SMALL} weights=[trajectory,trajectory_rtg,past_only,state_ratio,per_step] batch=4"],
    indirect=True,
)
def test_without_another_behaviour_every_weight_is_one(made: StudySetup) -> None:
    (rollout,) = made.source.rollouts(10, 4)
    seen = Seen(made.policy, rollout, made.critic)
    plain = seen.estimates(Estimator(RewardToGo(discounting="from_start"), 0.9), 4)
    for name, one in made.weights.items():
        wanted = seen.estimates(Estimator(None_(), 0.9), 4) if name == "trajectory" else plain
        torch.testing.assert_close(one.estimates(seen, 4), wanted, msg=name)


def one_state(theta: float, beta: float, more: str) -> dict[str, Any]:
    line = (
        f"env=pgrun/OneState-v0 env.kwargs.theta={theta} behaviour.theta={beta} env.max_episode_steps=200 "
        "gamma=1 env.num_envs=64"
    )
    return study(f"{line} {more}")


def test_known_biases_and_products_are_the_closed_forms() -> None:
    theta, beta = 0.6, 0.5
    result = one_state(
        theta, beta, "'weights=[trajectory,past_only,state_ratio,per_step]' episodes=400 batch=10"
    )
    unit, true = math.sqrt(2) * theta * (1 - theta), 1 / (1 - theta) ** 2
    means = {
        "past_only": 1 / ((1 - theta) * (1 - beta)),
        "state_ratio": 1 / ((1 - theta) * (1 - beta)),
        "per_step": 1 / (1 - beta) ** 2,
    }
    for name, mean in means.items():
        assert result["schemes"][name]["bias_along_exact"] / unit == pytest.approx(mean - true, rel=1e-9)
    assert "bias_exact" not in result["schemes"]["trajectory"]
    assert result["schemes"]["trajectory"]["claim"] == "unbiased"
    second = ((1 - theta) ** 2 / (1 - beta)) / (1 - theta**2 / beta)
    products = result["products"]
    assert products["square_exact"] == pytest.approx(
        second, rel=1e-9
    )  # 0.72²⁰⁰ = 1e-29 is left after 200 steps
    assert abs(products["mean"] - 1) < 4 * products["mean_se"]
    assert products["largest_ratio"] == pytest.approx(theta / beta)


def test_state_ratio_and_past_only_have_the_same_mean() -> None:
    """And the product has more variance. On FrozenLake, from the same episodes."""
    line = (
        "env=FrozenLake-v1 gamma=1 policy.ascent=0.5 behaviour.distance=0.01 "
        "'weights=[past_only,state_ratio,per_step]'"
    )
    result = study(f"{line} episodes=10000 batch=20 env.num_envs=256")
    past, ratio = result["schemes"]["past_only"], result["schemes"]["state_ratio"]
    for entry in result["schemes"].values():
        assert abs(entry["bias_along"] - entry["bias_along_exact"]) < 4 * entry["bias_se"]
    assert past["bias_exact"] == ratio["bias_exact"]
    assert past["variance_low"] > ratio["variance_high"], "95 % intervals that do not meet"
    states = result["products"]["states"]
    assert all(s <= b + 1e-12 for s, b in zip(states["shift"], states["bound"], strict=True))
    assert states["shift"][0] == 0
    assert max(states["shift"]) > 0.01


@pytest.mark.parametrize("made", [f"{SMALL} behaviour.distance=0.02 weights=[per_step]"], indirect=True)
def test_a_distance_is_met(made: StudySetup) -> None:
    p = read_problem(made.one)
    assert distance_in_kl(made.policy, made.source.policy, p) == pytest.approx(
        0.02, rel=1e-5
    )  # bisected to 1e-6 of the step
    assert (
        shift_of_visits(p, policy_table(made.policy, p), policy_table(made.policy, p))["shift"]
        == [0.0] * p.horizon
    )


BEFORE = (
    "env=pgrun/OneState-v0 env.kwargs.theta=0.8 gamma=1 critic=fitted critic.target=mc critic.fit=before "
    "critic/optimizer=sgd critic.optimizer.lr=0.1 critic.minibatches=1 critic.epochs=7 critic_episodes=0 "
    "schemes=[value_baseline] batch=3"
)


@pytest.mark.parametrize("made", [BEFORE], indirect=True)
def test_a_refitted_critic_is_fitted_to_each_group_alone(made: StudySetup) -> None:
    """On one state V moves to the mean return to go of the group's rows by
    1 − (1 − lr)ᴷ, from the same V for every group.
    """
    (rollout,) = made.source.rollouts(5, 3)
    start = made.critic.critic.phi.clone()  # type: ignore[attr-defined]
    values = made.critic.values(rollout)
    to_go = RewardToGo().psi(rollout, torch.zeros_like(values), 1.0)
    for group in range(5):
        mine = slice(3 * group, 3 * group + 3)
        mean = (to_go * rollout.mask)[:, mine].sum() / rollout.mask[:, mine].sum()
        kept = 0.9**7
        torch.testing.assert_close(values[0, mine], (kept * start + (1 - kept) * mean).expand(3))
    assert torch.equal(made.critic.critic.phi, start)  # type: ignore[attr-defined]


def test_a_critic_that_has_seen_the_returns_is_said_to_be_biased() -> None:
    assert (
        study(f"{BEFORE} episodes=60")["schemes"]["value_baseline"]["claim"]
        == "biased: the critic has seen these returns"
    )


def test_weights_by_time_step() -> None:
    """FixedHorizon: action 1 is good, A = ±½; Gₜ − Vₜ of the last step is A itself."""
    line = (
        "env=pgrun/FixedHorizon-v0 env.kwargs.T=4 gamma=1 policy.theta=0.5 critic=exact "
        "'schemes=[value_baseline,advantage]'"
    )
    by = study(f"{line} by_step=6 episodes=400 batch=20")["by_step"]
    last = by["value_baseline"]
    assert last["count"] == [400.0] * 4 + [0.0] * 2
    assert [g + b for g, b in zip(last["good"], last["bad"], strict=True)] == last["count"]
    assert (last["good_mean"][3], last["bad_mean"][3], last["good_wrong"][3]) == (0.5, -0.5, 0.0)
    assert last["good_mean"][4] is None
    assert 0 < last["good_wrong"][0] < 0.5
    assert last["std"][0] == pytest.approx(1.0, abs=0.15)  # √(4/4), from 400: 4 standard errors are 0.14
    assert by["advantage"]["good_wrong"][:4] == [0.0] * 4


FLAT = (
    "env=pgrun/FixedHorizon-v0 env.kwargs.T=4 gamma=1 policy.theta=0.3 critic=none schemes=[reward_to_go] "
    "episodes=2000"
)


def test_the_sampled_fisher_matrix_beside_the_exact_one() -> None:
    """All steps look alike, so that F over the rows is that of pgrun.exact; its rank
    is 1, and rows bring √(c/N).
    """
    part = study(f"{FLAT} 'fisher=[10,1000]'")["fisher"]
    assert part["rank_exact"] == 1
    for entry in part["sizes"]:
        assert entry["rank"] == 1
        assert abs(entry["error"] - entry["predicted"]) < 4 * entry["error_se"] + 0.02 * entry["predicted"]
    few, many = part["sizes"]
    assert few["predicted"] == pytest.approx(10 * many["predicted"])


@pytest.mark.parametrize("made", [FLAT], indirect=True)
def test_what_the_sampled_one_tends_to(made: StudySetup) -> None:
    from pgrun.tools.study import curvature

    (rollout,) = made.source.rollouts(1, 50)
    policy, batch = curvature.select_valid_rows(Seen(made.policy, rollout, made.critic), 1.0)
    matrix = curvature.dense_matrix(curvature.fisher_product(policy, batch, 0.0), policy)
    torch.testing.assert_close(matrix, fisher(made.policy, read_problem(made.one)))


def test_conjugate_gradients_agree_with_the_matrix_written_out() -> None:
    part = study(f"{SMALL} policy.ascent=null network.hidden=[8] cg=25 schemes=[reward_to_go] episodes=40")[
        "cg"
    ]
    assert part["off_dense"] < 1e-8  # float64, condition number below 1e3 with the damping
    assert part["residuals"][-1] < 1e-8
    assert part["residuals"][0] > 1e-3


def test_steps_on_two_gaussians() -> None:
    sigma, kl = 0.3, 0.02
    line = (
        "env=pgrun/TwoGaussians-v0 gamma=1 network.hidden=[] network.bias=false "
        f"network.log_std={math.log(sigma)} critic=none schemes=[none]"
    )
    step = study(f"{line} step.distance=2 step.kl={kl} episodes=40")["step"]
    assert step["euclidean"]["kl_old_new"] == pytest.approx(4 / (2 * sigma**2), rel=1e-5)  # float32's log σ
    assert step["euclidean"]["gain_predicted"] == pytest.approx(2)
    assert step["natural"]["distance"] == pytest.approx(sigma * math.sqrt(2 * kl), rel=1e-5)
    assert step["natural"]["kl_new_old"] == pytest.approx(kl, rel=1e-5)
    assert step["fisher_diagonal"] == pytest.approx([1 / sigma**2, 2], rel=1e-5)


def test_normalised_gae_where_all_episodes_last_as_long() -> None:
    line = (
        "env=pgrun/FixedHorizon-v0 gamma=1 policy.theta=0.5 critic=exact variance=gae "
        "variance.normalised=true episodes=40"
    )
    assert study(line)["schemes"]
    assert "averages over the steps left" in pgrun_study(line.replace("FixedHorizon", "OneState")).err


def test_the_terminal_shows_all_parts() -> None:
    line = (
        "env=FrozenLake-v1 gamma=1 policy.ascent=0.5 critic=none 'schemes=[score]' by_step=3 fisher=[10] "
        "cg=3 step.kl=0.01 episodes=40 picture=false"
    )
    with_parts = pgrun_study(line)
    for text in (
        "its mean is 0",
        "Ψ by time step",
        "Fisher matrix of 64 parameters",
        "conjugate gradients",
        "natural step: ",
    ):
        assert text in with_parts.out, with_parts.err
    weights = pgrun_study(
        "env=pgrun/FixedHorizon-v0 gamma=1 policy.theta=0.55 behaviour.theta=0.5 weights=[per_step] "
        "episodes=40 picture=false"
    )
    assert "exactly: largest 2.594, E[W²] 1.105" in weights.out, weights.err
