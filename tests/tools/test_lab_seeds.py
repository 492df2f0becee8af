"""What experiments make of training runs: seeds grouped, intervals, and verdicts that
turn when the numbers do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pgrun.tools.lab import seeds
from pgrun.tools.lab.catalogue import choose_experiments
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Finding, Verdict


def run(words: dict[str, str], metrics: dict[str, list[float]], **result) -> JobResult:
    """A finished training run, never run."""
    steps = [10.0 * (k + 1) for k in range(max(map(len, metrics.values())))]
    done = JobResult(words, {"eval": {"return_mean": 1.0}, **result}, Path("nowhere"))
    done.__dict__["metrics"] = {key: np.array(x, float) for key, x in {"env_steps": steps, **metrics}.items()}
    return done


def read(name: str, *commands: list[JobResult]) -> Finding:
    return choose_experiments([name])[0].read(commands)


def test_runs_are_grouped_by_what_was_typed_whatever_its_spelling() -> None:
    jobs = [
        run({"algo.delta": d, "switch": s, "seed": str(n)}, {"x": [n]})
        for d in ("1e-1", "0.1")
        for s in ("True", "true")
        for n in (0, 1)
    ]
    groups = seeds.group_by(jobs, "algo.delta", "switch")
    assert list(groups) == [("0.1", "true")]
    assert len(groups["0.1", "true"]) == 8


def test_blank_rows_are_left_out() -> None:
    nan = float("nan")
    job = run({}, {"x": [nan, 2, nan, 4, 6]})
    assert seeds.rows_of_scalar(job, "x").tolist() == [2, 4, 6]
    assert seeds.mean_of("x", first=2)(job) == 3
    assert seeds.mean_of("x", skip=1)(job) == 5


def test_seeds_with_the_same_steps_are_averaged_row_by_row() -> None:
    tracks = np.random.default_rng(0).normal(size=(9, 17)).cumsum(1)
    steps, mean = seeds.mean_curve([run({}, {"x": list(track)}) for track in tracks], "x")
    assert steps.tolist() == [10.0 * (k + 1) for k in range(17)]
    assert mean.tolist() == np.mean(list(tracks), 0).tolist(), "bit for bit"


def test_one_x_of_a_mean_curve_is_one_number_of_steps() -> None:
    """Two seeds on straight lines, at other steps: their mean is a straight line."""
    first = run({}, {"env_steps": [10, 20, 30], "x": [10, 20, 30]})
    second = run({}, {"env_steps": [10, 14, 22, 30], "x": [30, 42, 66, 90]})
    steps, mean = seeds.mean_curve([first, second], "x")
    assert steps.tolist() == [10, 14, 20, 22, 30]
    assert mean.tolist() == (2 * steps).tolist()


def test_a_mean_curve_begins_with_the_last_seed_and_keeps_what_has_ended() -> None:
    nan = float("nan")
    early = run({}, {"env_steps": [10, 20, 30], "x": [2, 4, nan]})
    late = run({}, {"env_steps": [10, 20, 40, 50], "x": [nan, 0, 0, 6]})
    steps, mean = seeds.mean_curve([early, late], "x")
    assert steps.tolist() == [20, 40, 50]
    assert mean.tolist() == [2, 2, 5]


def test_seeds_apart_decide_and_seeds_mixed_do_not() -> None:
    low, high = np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
    assert seeds.improvement_over(high, low) == (1.0, 1.0, 1.0)
    p, least, most = seeds.improvement_over(np.array([1.0, 4, 2]), np.array([3.0, 1.5, 2.5]))
    assert least < 0.5 < most
    assert p == pytest.approx(4 / 9)


def one_batch(kl: float) -> list[JobResult]:
    """Natural steps whose KL is ``kl``·ΔᵀFΔ."""
    row = {"kl/old_new": [kl], "kl/new_old": [kl], "step/kl_quadratic": [0.5]}
    gains = {"step/gain_realised": [1.0], "step/gain_predicted": [1.0]}
    return [
        run({"algo.delta": d}, row | gains)
        for d in ("1", "0.1", "0.01", "0.001", "0.0001", "1e-05")
        for _ in (0, 1)
    ]


def test_a_kl_without_the_half_would_be_believed() -> None:
    assert read("kl_half", one_batch(0.5)).verdict == Verdict.REFUTED
    assert read("kl_half", one_batch(1.0)).verdict == Verdict.SUPPORTED


@pytest.mark.parametrize(("npg", "trpo", "verdict"), [
    ([0.011, 0.009], [0.009, 0.01], Verdict.SUPPORTED),
    ([0.011, 0.009], [0.009, 0.0101], Verdict.REFUTED),
    ([0.009, 0.009], [0.009, 0.01], Verdict.REFUTED),
])  # fmt: skip
def test_a_broken_constraint_is_seen(npg: list[float], trpo: list[float], verdict: Verdict) -> None:
    tries = {"step/line_search_steps": [1.0, 2.0]}
    jobs = [
        run({"algo": name}, {"step/kl_realised": kl} | tries) for name, kl in (("npg", npg), ("trpo", trpo))
    ]
    assert read("taylor", jobs).verdict == verdict


@pytest.mark.parametrize(
    ("j", "verdict"), [([0.1, 0.2, 0.3], Verdict.SUPPORTED), ([0.1, 0.2, 0.15], Verdict.DEPENDS)]
)
def test_one_fall_is_not_monotone(j: list[float], verdict: Verdict) -> None:
    rows = {"objective/exact": j, "step/accepted": [1.0, 1.0, 1.0]}
    finding = read("monotone", [run({"algo.delta": d}, rows) for d in ("0.001", "0.01", "0.1")])
    assert finding.verdict == verdict
    assert finding.outcomes["share of steps after which J is lower"].value == (0.5 if j[2] < j[1] else 0)


@pytest.mark.parametrize(("both", "other", "steps", "verdict"), [
    ([9.0, 9.5, 10.0], [1.0, 1.5, 2.0], 1_000_000, Verdict.SUPPORTED),
    ([1.0, 1.5, 2.0], [9.0, 9.5, 10.0], 1_000_000, Verdict.REFUTED),
    ([1.0, 5.0, 9.0], [2.0, 4.0, 8.0], 1_000_000, Verdict.INCONCLUSIVE),
    ([9.0, 9.5, 10.0], [1.0, 1.5, 2.0], 10, Verdict.INCONCLUSIVE),  # too short to say anything
])  # fmt: skip
def test_few_seeds_leave_open_what_they_do_not_tell_apart(both, other, steps: int, verdict: Verdict) -> None:
    jobs = [
        run({"state_norm": s, "reward_scaling": r}, {"return/eval": [x]}, env_steps=steps)
        for s in ("true", "false")
        for r in ("true", "false")
        for x in (both if (s, r) == ("true", "true") else other)
    ]
    assert read("practice", jobs).verdict == verdict


UP = [100.0, 300.0, 300.0, 300.0, 300.0]
FALLEN = [100.0, 300.0, 300.0, 9.0, 9.0, 9.0, 9.0]
FLAT = [9.0] * 5


def returns_of(setting: str, tracks: dict[str, list[list[float]]]) -> list[JobResult]:
    """A run for each evaluation track of each value of ``setting``."""
    return [run({setting: x}, {"return/eval": track}) for x in tracks for track in tracks[x]]


def try_overshoot(best: list[list[float]], above: list[list[float]], kl: list[list[float]]) -> Finding:
    """The best radius is 0.1, the radius above it 1; ``kl`` is of the largest natural step."""
    plain = {"0.01": [FLAT] * 4, "0.1": best, "1": above, "10": [FLAT] * 4}
    natural = {"0.001": [FLAT] * 4, "0.01": [UP] * 4, "0.1": [FLAT] * 4, "1": kl}
    return read("overshoot", returns_of("algo.radius", plain), returns_of("algo.delta", natural))


def test_a_step_is_too_large_only_above_the_best_one() -> None:
    finding = try_overshoot(best=[UP, UP, FALLEN, FALLEN], above=[FALLEN, FLAT, FLAT, FLAT], kl=[FLAT] * 4)
    assert finding.verdict == Verdict.SUPPORTED
    assert "With ‖Δθ‖ = 1, 1 of 4 seeds fell below half their best" in finding.sentence


@pytest.mark.parametrize(
    ("kl", "end"), [([FLAT] * 4, "did. "), ([FALLEN, FLAT, FLAT, FLAT], "did, and with KL = 1, 1 of 4. ")]
)
def test_seeds_lost_at_the_best_radius_alone_are_said_to_be_so(kl: list[list[float]], end: str) -> None:
    finding = try_overshoot(best=[UP, UP, FALLEN, FALLEN], above=[FLAT] * 4, kl=kl)
    assert finding.verdict == Verdict.DEPENDS
    begin = "With no radius above the best one did a seed fall below half its best and stay there; with the "
    assert f"{begin}best itself 2 of 4 {end}" in finding.sentence


def test_radii_that_all_learn_refute_the_overshoot() -> None:
    jobs = [
        returns_of(key, dict.fromkeys(("0.001", "0.01", "0.1", "1", "10"), [UP] * 4))
        for key in ("algo.radius", "algo.delta")
    ]
    finding = read("overshoot", *jobs)
    assert finding.verdict == Verdict.REFUTED
    assert "not both lose half of it" in finding.sentence


@pytest.mark.parametrize(("tracks", "cell"), [
    ([UP] * 4, "20 (4 of 4)"),
    ([UP, UP, [0.0, *UP], FLAT], "25 (3 of 4)"),
    ([UP, UP, FLAT, FLAT], "never (2 of 4)"),
    ([FLAT] * 4, "never (0 of 4)"),
])  # fmt: skip
def test_a_seed_that_never_gets_there_counts_in_the_median(tracks: list[list[float]], cell: str) -> None:
    assert try_overshoot(best=tracks, above=[FLAT] * 4, kl=[FLAT] * 4).table[2][2] == cell
