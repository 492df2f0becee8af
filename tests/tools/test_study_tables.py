"""pgrun-study on FrozenLake: what claims to be unbiased is, against the exact
gradient, and a known bias is seen.
"""

from __future__ import annotations

from typing import Any

import pytest

from pgrun.tools.study.schemes import UNBIASED
from tests.helpers.support_study import study

# of 4000 episodes V of the next state in place of this one's would stand 13 standard errors away, and the
# random critic's biases 39; of 8000 a missing γ^t 7
LINE = "gamma=1 policy.ascent=0.5 episodes=4000 env.num_envs=256"
BIASED = "schemes=[{gae:{lam:0.5}},td0,reward_to_go,value_baseline]"


def find_unbiased(result: dict[str, Any]) -> list[str]:
    """The schemes of a result that claim to be."""
    return [label for label, entry in result["schemes"].items() if entry["claim"] == UNBIASED]


def check_unbiased(result: dict[str, Any], least: int) -> None:
    assert result["reference"] == "exact"
    claiming = find_unbiased(result)
    assert len(claiming) >= least
    for label in claiming:
        assert abs(result["schemes"][label]["bias_z"]) < 4, label


def check_policy(result: dict[str, Any]) -> None:
    policy = result["policy"]
    assert abs(policy["return_mean"] - policy["objective_exact"]) < 4 * policy["return_se"]


def check_biased(result: dict[str, Any]) -> None:
    """Along ∇J, and as a whole, beside what noise makes."""
    for label in ("gae lam=0.5", "td0"):
        entry = result["schemes"][label]
        assert abs(entry["bias_z"]) > 10, label
        assert entry["bias_norm"] > 3 * entry["bias_noise"]
        assert label not in find_unbiased(result)
    assert abs(result["schemes"]["reward_to_go"]["bias_z"]) < 4


def test_frozen_lake_with_the_exact_critic() -> None:
    result = study(f"env=FrozenLake-v1 {LINE} critic=exact")
    assert set(result["left_out"]) == {"group"}, "it needs groups"
    check_unbiased(result, least=10)
    check_policy(result)


def test_frozen_lake_with_a_random_critic() -> None:
    check_biased(study(f"env=FrozenLake-v1 {LINE} critic=random {BIASED}"))


@pytest.mark.slow
def test_frozen_lake_8x8() -> None:
    line = LINE.replace("4000", "20000")
    result = study(f"env=FrozenLake8x8-v1 {line} critic=exact")
    check_unbiased(result, least=10)
    check_policy(result)
    assert result["truncated"] > 100
    check_biased(study(f"env=FrozenLake8x8-v1 {line} critic=random {BIASED}"))


def test_the_missing_discount_is_seen_and_said() -> None:
    """γ = 0.9, Ψ without γ^t: biased for ∇J_γ, and the claim says so; with it unbiased."""
    line = "env=FrozenLake-v1 gamma=0.9 policy.ascent=0.5 env.num_envs=256 critic=none"
    biased = f"{line} episodes=20000 variance=reward_to_go discounting=reward_to_go"
    entry = study(biased)["schemes"]["reward_to_go"]
    assert abs(entry["bias_z"]) > 10
    assert entry["claim"] == "biased: leaves out γ^t"
    check_unbiased(study(f"{line} episodes=8000 schemes=[none,reward_to_go]"), least=2)


def test_half_way_is_half_way() -> None:
    """J of the policy against the start's and the optimum's, both by a long iteration written for this."""
    import gymnasium
    import numpy as np

    result = study("env=FrozenLake-v1 gamma=1 policy.ascent=0.5 episodes=40 critic=none schemes=[none]")
    table = gymnasium.make("FrozenLake-v1").unwrapped.P  # type: ignore[attr-defined]
    uniform, best = np.zeros(16), np.zeros(16)
    for _ in range(100):
        backed = {
            (s, a): [
                sum(p * (r + (0 if end else v[n])) for p, n, r, end in table[s][a]) for v in (uniform, best)
            ]
            for s in range(16)
            for a in range(4)
        }
        uniform = np.array([np.mean([backed[s, a][0] for a in range(4)]) for s in range(16)])
        best = np.array([max(backed[s, a][1] for a in range(4)) for s in range(16)])
    expected = (uniform[0] + best[0]) / 2
    assert result["policy"]["objective_exact"] == pytest.approx(
        expected, abs=1e-8
    )  # the share is met to 1e-9


def test_the_linear_quadratic_problem_has_an_exact_reference_too() -> None:
    line = (
        "env=pgrun/LQ1-v0 network.hidden=[] network.bias=false gamma=1 critic=none episodes=4000 "
        "env.num_envs=64"
    )
    result = study(f"{line} schemes=[none,reward_to_go,leave_one_out]")
    assert result["reference"] == "exact"
    check_unbiased(result, least=3)
