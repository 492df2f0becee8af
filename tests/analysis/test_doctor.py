"""Every illness: named where it is planted, and not beside it.

The course of the return, against simulation.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pgrun.analysis.doctor.critic import suggest_farther_sight
from pgrun.analysis.doctor.known_symptoms import SYMPTOMS, find_symptoms
from pgrun.analysis.doctor.report import diagnose_run, format_findings
from pgrun.analysis.doctor.return_trend import Course, measure_course
from pgrun.analysis.doctor.run_data import Chart, read_chart
from pgrun.analysis.doctor.symptom import PAGE
from pgrun.runs.job_status import write_settings
from pgrun.training.loop import train_run
from tests.helpers.support_doctor import FLAT, RISING, ROWS, chart, named
from tests.helpers.support_pipeline import built

ROOT = Path(__file__).parents[2]
FALLING = {"return/train": np.linspace(200, 20, ROWS)}
LOST = {"return/train": np.concatenate([np.linspace(20, 200, 40), np.linspace(200, 30, 20)])}
EPISODES = {"sampler.name": "episodes", "sampler.episodes": 1, "env.num_envs": 1}
BOX = {"actions": 1}
NARROW, WIDE = -4.0, 3.5  # entropy of a Gaussian with σ = 0.0044, and 8

PLANTED: dict[str, tuple[Chart, Chart]] = {  # name: (ill, its neighbour that is not)
    "failed": (
        chart(summary={"status": "failed", "error": "the line is cut"}),
        chart(summary={"status": "interrupted"}),
    ),
    "not-finite": (chart(infinite="kl/old_new = nan at 1,024 steps"), chart()),
    "unfinished": (chart(summary={"status": "interrupted"}), chart()),
    "no-episode-ends": (
        chart({"episode/count": 0, "return/train": np.nan}),
        chart({"episode/count": np.arange(ROWS) // 59}),
    ),
    "every-return-the-same": (chart(FLAT, exact=True), chart(FLAT)),
    "normaliser-frozen": (
        chart(settings={"state_norm": True}, seen=0.0),
        chart(settings={"state_norm": True}, seen=60_000.0),
    ),
    "all-states-look-alike": (chart({**FLAT, "kl/max": 0.01}), chart({**FLAT, "kl/max": 0.0105})),
    "batch-of-one": (
        chart(FLAT, settings=EPISODES),
        chart(FLAT, settings={**EPISODES, "sampler.episodes": 2}),
    ),
    "kl-explodes": (
        chart({**FLAT, "kl/old_new": [0.01] * 59 + [6.0]}),
        chart({**FLAT, "kl/old_new": [0.01] * 59 + [4.0]}),
    ),
    "everything-is-clipped": (
        chart({"ratio/clip_fraction": [0.1] * 50 + [0.7] * 10}),
        chart({"ratio/clip_fraction": [0.1] * 57 + [0.7] * 3}),
    ),
    "few-effective-samples": (
        chart({"ratio/ess": [0.9] * 50 + [0.1] * 10}),
        chart({"ratio/ess": [0.9] * 50 + [0.3] * 10}),
    ),
    "exploration-gone": (
        chart({**FLAT, "policy/entropy": np.linspace(0.69, 0.001, ROWS) ** 2}),
        chart({**RISING, "policy/entropy": np.linspace(0.69, 0.001, ROWS) ** 2}),
    ),
    "noise-grows": (
        chart({**FLAT, "policy/entropy": WIDE}, **BOX),
        chart({**FLAT, "policy/entropy": 2.0}, **BOX),
    ),
    "steps-too-small": (chart({**FLAT, "kl/old_new": 1e-8}), chart({**FLAT, "kl/old_new": 1e-4})),
    "gradient-lost-in-noise": (
        chart({**FLAT, "gradient/snr": 0.01}),
        chart({**RISING, "gradient/snr": 0.01}),
    ),
    "short-sighted": (chart(settings={"gamma": 0}), chart(settings={"gamma": 0.5})),
    "values-out-of-reach": (
        chart({"value/loss": 5e9, "value/mean": 130, "value/explained_variance": 0.0}),
        chart({"value/loss": 5e9, "value/mean": 1e5, "value/explained_variance": 0.3}),
    ),
    "critic-explains-nothing": (
        chart({"value/explained_variance": -0.5, "value/loss": 200}),
        chart({"value/explained_variance": -0.5, "value/loss": 0.1}),  # at a ceiling
    ),
    "return-collapsed": (chart(LOST), chart(RISING)),
    "return-got-worse": (chart(FALLING), chart(LOST)),
    "return-flat": (chart(FLAT), chart(RISING)),
}


def test_there_is_a_case_for_every_illness() -> None:
    assert sorted(PLANTED) == sorted(illness.name for illness in SYMPTOMS)


@pytest.mark.parametrize("name", PLANTED)
def test_named_where_it_is_and_not_beside_it(name: str) -> None:
    ill, neighbour = PLANTED[name]
    assert name in named(ill)
    assert name not in named(neighbour)


def test_continuations_are_no_states_that_the_normaliser_missed() -> None:
    """With ``critic=vine`` most steps are played on from states of others, and not learned from."""
    steps = {"env_steps": 33_696, "status": "finished"}
    vine = {"settings": {"state_norm": True, "critic.name": "vine"}, "seen": 256.0}
    assert "normaliser-frozen" not in named(chart(summary={**steps, "continuation_steps": 33_448}, **vine))
    assert "normaliser-frozen" not in named(chart(summary={"status": "interrupted"}, **vine))
    assert "normaliser-frozen" in named(chart(summary={**steps, "continuation_steps": 0}, **vine))


def test_a_healthy_chart_has_none() -> None:
    assert named(chart()) == []
    assert "Nothing found. Looked at: return" in diagnose_run(chart())


@pytest.mark.parametrize("name", PLANTED)
def test_the_remedy_is_something_to_do_and_the_page_is_there(name: str) -> None:
    finding = next(one for one in find_symptoms(PLANTED[name][0]) if one.name == name)
    assert finding.remedy
    assert "nan" not in finding.remedy
    page, _, anchor = finding.illness.page.partition("#")
    assert page == PAGE
    assert anchor in anchors((ROOT / page).read_text())


def anchors(text: str) -> list[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_remedies_that_are_settings_carry_the_run_s_own_numbers() -> None:
    remedies = {f.name: f.remedy for ill, _ in PLANTED.values() for f in find_symptoms(ill)}
    assert remedies["kl-explodes"].startswith("optimizer.lr=3e-05")
    assert remedies["steps-too-small"].startswith("optimizer.lr=0.03")
    assert remedies["gradient-lost-in-noise"].startswith("sampler.steps=512")
    assert remedies["short-sighted"] == "gamma=0.99"
    longer = chart({**FLAT, "episode/length": 10_000.0}, settings={"gamma": 0.99})
    assert suggest_farther_sight(longer) == "gamma=0.9975", "farther than it sees"


def test_a_gaussian_without_noise() -> None:
    """By σ where the actions have bounds; without a unit for σ nothing can be said."""
    gone = {**FLAT, "policy/entropy": NARROW}
    assert "exploration-gone" in named(chart(gone, actions=1))
    assert "exploration-gone" not in named(chart({**gone, "policy/entropy": 6 * -1.0}, actions=6))
    assert "exploration-gone" not in named(chart(gone, actions=0))
    assert "exploration-gone" not in named(chart(gone))


def test_what_follows_has_no_remedy_of_its_own() -> None:
    ill = chart({**FALLING, "kl/old_new": 6.0, "kl/max": 20.0})
    text = format_findings(find_symptoms(ill))
    assert named(ill) == ["kl-explodes", "return-got-worse"]
    assert text.count("Try ") == 1
    assert "Probably because of that, the return got worse" in text


def test_every_name_that_follows_another_exists() -> None:
    names = {illness.name for illness in SYMPTOMS}
    assert {name for illness in SYMPTOMS for name in illness.follows} <= names


def simulated(
    rise: float, seed: int, rows: int = 60, spread: float = 10.0
) -> tuple[Course, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    episodes = draw.integers(1, 30, rows)
    returns = 50 + rise * np.linspace(0, 1, rows) + spread * draw.normal(size=rows) / np.sqrt(episodes)
    course = measure_course(returns, episodes.astype(float))
    assert course is not None
    return course, returns, episodes


def test_noise_alone_is_no_rise() -> None:
    """What ``course.SURE`` claims: of runs without any trend at most one in 20 seems
    to rise, one in 50 to fall.

    Of 200 that is 10 and 4 on average; three binomial standard deviations more are 19 and 9.
    """
    courses = [simulated(0.0, seed)[0] for seed in range(200)]
    assert sum(not one.flat for one in courses) <= 19
    assert sum(one.worse or one.collapsed for one in courses) <= 9


def test_a_rise_of_one_spread_is_seen() -> None:
    """10 of start noise 10/√20 = 2.2: 4.5 standard errors on average, so that more
    than nine in ten are seen.
    """
    seen = sum(not simulated(12.0, seed)[0].flat for seed in range(100))
    assert seen >= 90


def test_the_spread_is_that_of_one_episode() -> None:
    """σ = 10. The start's estimate has nine differences, a relative error of some 1/√(2·6) = 0.29; the lesser
    of it and a far better one is low by 0.29/√(2π) = 12 % on average, and the mean of 200 within
    3·0.29/√200 = 6 % of that.
    """
    spreads = [simulated(0.0, seed)[0].spread for seed in range(200)]
    assert 8.2 < float(np.mean(spreads)) < 9.4


def test_a_course_by_hand() -> None:
    """Ten rows of ten episodes: the start is the first two of them, 20 episodes; then a part for each row."""
    returns = np.array([1.0, 3.0, 2.0, 2.0, 5.0, 9.0, 9.0, 8.0, 7.0, 6.0])
    course = measure_course(returns, np.full(10, 10.0))
    assert course is not None
    assert (course.start.mean, course.best.mean, course.end.mean) == (2.0, 9.0, 6.0)
    squares = np.diff(returns) ** 2 / (1 / 10 + 1 / 10)
    assert course.spread == pytest.approx(np.sqrt(squares.mean()))
    assert course.start.error == pytest.approx(course.spread / np.sqrt(20))
    assert measure_course(returns[:7], np.full(7, 10.0)) is None


def test_long_steps_are_no_illness_of_a_run_that_learns_from_replay() -> None:
    long = {"kl/old_new": [7.0] * ROWS, "ratio/ess": [0.05] * ROWS}
    replay = {"sampler.name": "replay"}
    assert named(chart({**RISING, **long}, settings=replay)) == []
    assert named(chart({**RISING, **long})) == ["kl-explodes"]
    assert "kl-explodes" in named(chart({**FLAT, **long}, settings=replay))


def test_one_long_step_that_a_run_got_over_is_no_illness() -> None:
    once = {"kl/old_new": [0.01] * 30 + [8.0] + [0.01] * 29}
    assert named(chart({**RISING, **once})) == []
    assert named(chart({**LOST, **once})) == ["kl-explodes", "return-collapsed"]


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"optimizer.schedule": "constant"}, "optimizer.schedule=linear; "),
        ({"algo.name": "trpo", "algo.delta_schedule": "constant"}, "algo.delta_schedule=linear; "),
        ({"algo.name": "euclidean_pg", "algo.radius_schedule": "constant"}, "algo.radius_schedule=linear; "),
        ({"algo.name": "npg", "algo.delta_schedule": "linear"}, "smaller steps towards the end; "),
        (
            {"algo.name": "npg", "algo.step": "fixed", "algo.delta_schedule": "constant"},
            "smaller steps towards the end; ",
        ),
    ],
)
def test_what_was_lost_late_is_kept_by_steps_that_fall(settings: dict[str, str], advice: str) -> None:
    """Of an algorithm that takes its own step by its radius, which no learning rate changes."""
    (finding,) = find_symptoms(chart(LOST, settings={"optimizer.schedule": "constant", **settings}))
    assert (finding.name, finding.remedy) == (
        "return-collapsed",
        advice + "policy_best is the one before the fall",
    )


CHANCE = {  # of README's SmallMDP: an episode returns 0.6 on average, and scatters by 2.4
    "env.id": "pgrun/SmallMDP-v0",
    "trainer.total_steps": 20_000,
}


def by_chance(seed: int, rise: float = 0.3) -> Chart:
    """Episodes of chance, which get somewhat better; the critic's error is that of chance."""
    draw = np.random.default_rng(seed)
    episodes, rows = 170, 24
    returns = 0.4 + rise * np.linspace(0, 1, rows) + 2.4 * draw.normal(size=rows) / np.sqrt(episodes)
    pad = np.full(ROWS - rows, np.nan)
    return chart(
        {
            "return/train": np.concatenate([returns, pad]),
            "episode/count": episodes * np.arange(1, ROWS + 1),
            "value/loss": 1.8,
            "value/mean": 0.25,
            "value/explained_variance": 0.02,
            "gradient/snr": 0.05,
            "policy/entropy": np.linspace(0.69, 0.67, ROWS),
        },
        CHANCE,
        exact=True,
    )


def test_nothing_is_said_where_chance_is_larger_than_the_returns() -> None:
    """Neither that it did not rise, nor what would follow from that; that it learns is not claimed either."""
    for seed in range(20):
        actual = by_chance(seed)
        assert named(actual) == [], seed
        assert not actual.failing


def test_a_return_that_stays_is_said_with_its_noise() -> None:
    """And only where the noise is small beside it."""
    text = next(str(finding) for finding in find_symptoms(chart(FLAT)) if finding.name == "return-flat")
    number = r"[\d.]+ ± [\d.]+"
    assert re.match(
        rf"the return has not risen beyond its noise: {number} at the start, {number} at the end", text
    )
    assert "return-flat" not in named(by_chance(0, rise=0.0))


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["ppo", "reinforce", "a2c"])
def test_nothing_is_said_of_the_readme_s_small_problem(algo: str, tmp_path: Path) -> None:
    """``pgrun env=pgrun/SmallMDP-v0 network.hidden=[] network.bias=false``, at 20 000 steps."""
    for seed in range(3):
        run = built(
            *[f"algo={algo}", "env=pgrun/SmallMDP-v0", "network.hidden=[]", "network.bias=false"],
            *["trainer.total_steps=20000", f"seed={seed}", "backend=torch"],
        )
        (folder := tmp_path / str(seed)).mkdir()
        write_settings(folder, run.settings)
        train_run(run, folder)
        assert [finding.evidence for finding in find_symptoms(read_chart(folder))] == []
