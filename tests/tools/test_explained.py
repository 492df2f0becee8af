"""``pgrun-explain``: formulas from the code, values from where they come, the refusals of ``pgrun``, and
nothing left behind.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pytest

from pgrun.cli.compatibility_table import list_option_names
from pgrun.command.app import PGRUN
from pgrun.command.compose import Job, compose_jobs
from pgrun.command.overrides import read_command
from pgrun.config.paths import conf_dir
from pgrun.config.schema import find_class, format_value
from pgrun.tools.explain import cli
from pgrun.tools.explain.docstring import CITED, WIDTH, explain_class, find_citations
from pgrun.tools.explain.origins import find_origins, iterate_settings
from pgrun.tools.explain.page import format_job_page
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import Answer, answer, pgrun, shell

ALGOS, SCHEMES = list_option_names(conf_dir() / "algo"), list_option_names(conf_dir() / "variance")
GROUPS = ("algo", "variance", "critic", "sampler", "network", "policy", "optimizer")


def explain(line: str) -> Answer:
    return answer(cli.main, "pgrun-explain", *shlex.split(line))


def job(line: str) -> Job:
    jobs = compose_jobs(read_command(shlex.split(line), PGRUN))
    assert jobs.problems == []
    return jobs.composed[0]


def section(text: str, title: str) -> str:
    return next(part for part in text.split("\n\n") if part.startswith(title))


def words_of(text: str) -> str:
    """Without line breaks and backticks."""
    return " ".join(text.replace("``", "").split())


# --- what the classes say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ALGOS)
def test_every_algorithm(algo: str) -> None:
    text = format_job_page(job(f"algo={algo}"))
    assert max(map(len, text.splitlines())) <= 100
    assert "``" not in text
    first = (find_class("algo", algo).__doc__ or "").strip().split("\n\n")[0]
    told_plainly = re.sub(r"(\w+)=[\w.]+", r"\1", words_of(section(text, "Objective")))  # epochs=1
    assert words_of(first)[:60] in told_plainly
    assert "∇log π(a|s)" in section(text, "Weight")
    for title in ("Bias", "Variance", "Truncation", "Values", "Papers"):
        assert section(text, title)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme(scheme: str) -> None:
    fits = "algo=off_policy_ac" if scheme in ("q", "advantage") else "algo=reinforce env=FrozenLake-v1"
    text = format_job_page(job(f"{fits} variance={scheme}"))
    weight = words_of(section(text, "Weight"))
    doc = words_of(find_class("variance", scheme).__doc__ or "")
    assert doc[:40] in weight
    cited = CITED.findall(doc)
    assert all(paper in section(text, "Papers") for paper in cited)


@dataclass
class Told:
    """Moves by ``rate`` (Ada 1843, eq. 2). ``flag``: off it goes unsaid: ``kind=b`` too; Still ``flag``'s.

    ``flag`` is announced:

        with a formula

    and goes on. Still about it.

    ``kind=a`` is alone. ``rate`` is a rate.

        a  the first
        b  the second
    """

    rate: float = 0.5
    flag: bool = False
    kind: Literal["a", "b"] = "a"


def test_sentences_about_what_is_off_or_otherwise_are_left_out() -> None:
    off = explain_class(Told, {"rate": 0.5, "flag": False, "kind": "a"})
    assert off == [
        "Moves by rate=0.5 (Ada 1843, eq. 2). Still flag=false's.",
        "kind=a is alone. rate=0.5 is a rate.",
        " ▸ a  the first\n   b  the second",
    ]
    on = "\n".join(explain_class(Told, {"rate": 0.5, "flag": True, "kind": "b"}))
    assert "with a formula" in on
    assert "and goes on. Still about it." in on
    assert "flag=true: off it goes unsaid: kind=b too;" in on
    assert "▸ b  the second" in on
    assert "alone" not in on


def test_the_longest_episode_is_told_with_its_limit_and_without() -> None:
    without, limited = (
        words_of(section(format_job_page(job(f"algo=reinforce {word}")), "Data"))
        for word in ("", "sampler.max_steps=300")
    )
    own = (
        "goes on after 10000 steps, where the environment has no limit of its own, is an error, never a hang."
    )
    assert f"max_steps=null: an episode that {own}" in without
    assert "max_steps=300: an episode that goes on after so many steps is an error, never a hang." in limited
    assert "10000" not in limited


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group in GROUPS for name in list_option_names(conf_dir() / group)]
)
def test_a_setting_that_is_off_is_told_of_as_that_alone(group: str, name: str) -> None:
    """Its name within a sentence would be filled in as ``after max_steps=null steps``."""
    cls = find_class(group, name)
    values = {field.name: field.default for field in fields(cls)}
    off = {key: value for key, value in values.items() if value is None or value is False}
    told = re.split(r"(?<=[.;]) ", " ".join(explain_class(cls, off)))
    for key, value in off.items():
        assert not [line for line in told if f" {key}={format_value(value)}" in line]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Estimation, Schulman et al. 2016, eq. 16.", ["Schulman et al. 2016, eq. 16"]),
        ("(Degris, White & Sutton 2012; Lillicrap et al. 2016 for it)",
         ["Degris, White & Sutton 2012", "Lillicrap et al. 2016"]),
        ("(Schulman et al. 2015, eq. 14 and appendix C)", ["Schulman et al. 2015, eq. 14 and appendix C"]),
        ("(Sutton & Barto 2018, §13.5): In 1999 steps", ["Sutton & Barto 2018, §13.5"]),
        ("Polyak 1964. Polyak 1964.", ["Polyak 1964"]),
    ],
)  # fmt: skip
def test_citations(text: str, found: list[str]) -> None:
    assert [paper for paper in find_citations([text]) if not paper.startswith("In ")] == found


# --- what follows from the settings -------------------------------------------------------------------------


GROUPS = "algo=reinforce variance=group sampler.episodes"


@pytest.mark.parametrize(
    ("line", "title", "said"),
    [
        ("algo=ppo", "Truncation", "An episode is cut after 500 steps"),
        ("algo=ppo env.max_episode_steps=60", "Truncation", "An episode is cut after 60 steps"),
        ("algo=ppo", "Truncation", "counts γV(s') after a cut, and 0 after a termination"),
        ("algo=reinforce", "Truncation", "beyond a cut nothing counts"),
        ("algo=reinforce variance=gae env=FrozenLake-v1 critic=exact",
         "Truncation", "counts the steps that are left"),
        ("algo=off_policy_ac", "Truncation", "Only a termination ends the backup"),
        ("algo=reinforce", "Bias", "nothing that is learned"),
        ("algo=reinforce variance=gae env=FrozenLake-v1 critic=scaled", "Bias", "multiplies them by 1.2"),
        ("algo=ppo critic.fit=before", "Bias", "has seen the returns"),
        ("algo=reinforce", "Bias", "Without the factor γ^t"),
        ("algo=reinforce variance.discounting=from_start", "Bias", "With the factor γ^t"),
        ("algo=ppo algo.epochs=3 algo.minibatches=2 tuned=none", "Bias", "6 steps on each batch"),
        ("algo=reinforce sampler.episodes=32", "Variance", "32 independent episodes"),
        (f"{GROUPS}=16", "Variance", "4 independent groups of 4 episodes"),
        (f"{GROUPS}=16", "Variance", "by the differences between the groups of 4 episodes"),
        (f"{GROUPS}=4", "Variance", "ĝ comes from one group of 4 episodes."),
        (f"{GROUPS}=4", "Variance", "From a single group it cannot be estimated"),
        ("algo=a2c env.num_envs=4", "Variance", "20 steps: 5 in a row"),
        ("algo=online_ac", "Variance", "64 updates"),
        ("algo=ppo state_norm=true", "Normalised", "states: (s − mean)/std"),
        ("algo=ppo reward_scaling=true", "Papers", "Engstrom et al. 2020"),
        ("algo=ppo optimizer.max_grad_norm=0.7", "Normalised", "longer than 0.7"),
        ("algo=trpo env=Pendulum-v1", "Normalised", "clipped to the bounds"),
        ("algo=online_ac", "Normalised", "nothing"),
        ("algo=a2c algo.entropy=0.01", "Objective", "entropy=0.01: c_H in the objective"),
    ],
)  # fmt: skip
def test_facts(line: str, title: str, said: str) -> None:
    assert said in words_of(section(format_job_page(job(line)), title))


@pytest.mark.parametrize(
    ("line", "title", "unsaid"),
    [
        ("algo=reinforce gamma=1", "Bias", "γ^t"),
        ("algo=reinforce variance=none", "Bias", "γ^t"),  # it has no such setting
        ("algo=reinforce advantage_norm=false", "Normalised", "Ψ"),
        ("algo=a2c", "Objective", "entropy"),
        ("algo=a2c", "Bias", "on each batch"),
        ("algo=ppo tuned=none", "Objective", "clip_schedule"),
    ],
)
def test_what_is_not_so_is_not_said(line: str, title: str, unsaid: str) -> None:
    assert unsaid not in section(format_job_page(job(line)), title)


# --- where the values come from -----------------------------------------------------------------------------


def test_origins() -> None:
    origins = find_origins(
        job("algo=ppo seed=3 variance.lam=0.9 critic/optimizer=sgd env.kwargs.sutton_barto_reward=true")
    )
    expected = {
        "seed": "command line",
        "algo.name": "command line",
        "variance.lam": "command line",
        "critic.optimizer.name": "command line",
        "env.kwargs.sutton_barto_reward": "command line",
        "variance.name": "algo=ppo",
        "advantage_norm": "algo=ppo",
        "optimizer.max_grad_norm": "algo=ppo",
        "algo.clip": "algo=ppo",
        "gamma": "tuned=ppo/CartPole-v1",
        "algo.epochs": "tuned=ppo/CartPole-v1",
        "optimizer.lr": "tuned=ppo/CartPole-v1",
        "critic.epochs": "algo.epochs",
        "critic.lam": "variance.lam",
        "env.id": "default",
        "optimizer.name": "default",
        "trainer.total_steps": "default",
        "optimizer.betas": "default",
    }  # fmt: skip
    assert {key: origins[key] for key in expected} == expected


def test_origins_of_an_experiment() -> None:
    origins = find_origins(job("experiment=recipe_a2c_8x5 variance=td0"))
    assert (
        origins["algo.name"] == origins["sampler.steps"] == origins["env.id"] == "experiment=recipe_a2c_8x5"
    )
    assert (origins["variance.name"], origins["optimizer.name"]) == ("command line", "algo=a2c")


@pytest.mark.parametrize("line", ["algo=ppo", "algo=trpo env=HalfCheetah-v5", "algo=off_policy_ac"])
def test_a_value_that_a_file_is_said_to_give_changes_without_it(line: str) -> None:
    """Independent of how origins are found: composed without the tuned file, only
    what is said to come from it differs.
    """
    with_it, without = job(line), job(f"{line} tuned=none")
    actual, plain = find_origins(with_it), dict(iterate_settings(without.settings))
    differing = {
        key
        for key, value in iterate_settings(with_it.settings)
        if plain.get(key) != value and key.split(".")[0] not in ("usual", "tuned")
    }
    said = {key for key, where in actual.items() if where.startswith("tuned=")}
    followers = {key for key in differing if actual[key] in differing}  # critic.epochs is algo.epochs
    assert differing <= said | followers
    assert said or line == "algo=off_policy_ac"


def test_the_table_leaves_out_what_nothing_reads() -> None:
    values = section(format_job_page(job("algo=reinforce")), "Values")
    assert "critic" not in values
    assert "log_std" not in values
    values = section(format_job_page(job("algo=trpo env=Pendulum-v1")), "Values")
    assert " optimizer" not in values
    assert "network.log_std=-0.5" in values


# --- the command --------------------------------------------------------------------------------------------


def test_the_command(here: Path) -> None:  # noqa: F811
    answer = explain("algo=reinforce variance=leave_one_out seed=4")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("reinforce · leave_one_out · CartPole-v1 · seed 4\n")
    assert re.search(r"^  seed +4 +command line$", answer.out, re.M)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "line",
    ["algo=npg network=shared", "algo=pppo", "optimizer.rate=1 gamma=2", "seed=1,2", "seed 3",
     "env=CartPol-v1"],
)  # fmt: skip
def test_it_refuses_what_pgrun_refuses(line: str, here: Path) -> None:  # noqa: F811
    ours, theirs = explain(line), pgrun(line)
    assert ours.code == theirs.code == 2
    assert ours.err.replace("pgrun-explain", "pgrun") == theirs.err
    assert not list(here.iterdir())


def test_nothing_is_resumed(here: Path) -> None:  # noqa: F811
    Path("run").mkdir()
    answer = explain("resume=run")
    assert (answer.code, answer.out) == (2, "")
    assert "resume" in answer.err


def test_a_sweep(here: Path) -> None:  # noqa: F811
    answer = explain("-m algo=a2c variance=gae,td0 seed=range(0,8) env.num_envs=2")
    assert answer.code == 0
    assert answer.out.startswith("A sweep of 16 jobs")
    assert "  variance=gae seed=1\n" in answer.out
    assert "… and 4 more" in answer.out
    assert "num_envs" not in answer.out.split("\n\n")[0]
    assert not list(here.iterdir())


def test_a_scheme_of_the_user_s(here: Path) -> None:  # noqa: F811
    answer = explain("--config-dir ../myconf modules=[my_mod] algo=reinforce variance=half_return")
    assert answer.code == 0, answer.err
    assert "Half of the return." in answer.out
    assert re.search(r"variance.factor +0.5 +variance=half_return", answer.out)


def test_help_is_fast() -> None:
    watch = "import atexit; atexit.register(lambda: print('IMPORTED', *sys.modules))"
    answer = shell("--help", python=f"{watch}; from pgrun.tools.explain.cli import main; main()")
    assert not {"torch._C", "numpy", "hydra"} & set(answer.out.split("IMPORTED ")[1].split())
    assert max(map(len, cli.HELP.splitlines())) <= WIDTH + 20
