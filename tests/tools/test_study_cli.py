"""pgrun-study on the command line: what it leaves behind, what it refuses, and that
it leaves nothing where it refuses.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgrun.command.folder_names import find_job_folder
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun
from tests.helpers.support_study import pgrun_study

SMALL = "episodes=40 batch=4 repeats=1 picture=false"
TABLE = f"env=FrozenLake-v1 gamma=1 {SMALL}"


def result(folder: Path) -> dict:
    return json.loads((folder / "study.json").read_text())


def test_a_study_leaves_its_result_table_and_picture(here: Path) -> None:  # noqa: F811
    answer = pgrun_study(
        f"{TABLE} critic=exact policy.ascent=0.3 hydra.run.dir=s".replace("picture=false", "picture=true")
    )
    assert answer.code == 0, answer.err
    assert {path.name for path in (here / "s").iterdir()} >= {"study.json", "study.png", ".hydra"}
    actual = result(here / "s")
    assert actual["status"] == "finished"
    assert actual["reference"] == "exact"
    keys = {
        "variance",
        "variance_se",
        "variance_low",
        "variance_high",
        "bias_norm",
        "bias_z",
        "mse",
        "cosine",
        "microseconds",
    }
    for entry in actual["schemes"].values():
        assert keys <= set(entry)
    order = [
        line.split()[0]
        for line in answer.out.splitlines()
        if line.split()[:1] and line.split()[0] in actual["schemes"]
    ]
    assert order == sorted(actual["schemes"], key=lambda label: actual["schemes"][label]["variance"])
    again = pgrun_study(f"{TABLE} hydra.run.dir=s")
    assert again.code == 2
    assert "holds a run already" in again.err


def test_the_same_seed_is_the_same_study(here: Path) -> None:  # noqa: F811
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        line = f"{TABLE} critic_episodes=40 seed={seed} hydra.run.dir={name}"
        assert pgrun_study(line).code == 0
    a, b, c = (
        {k: v["variance"] for k, v in result(here / name)["schemes"].items()} for name in ("a", "b", "c")
    )
    assert a == b != c


def test_a_scheme_gets_the_same_number_whatever_else_is_scored(here: Path) -> None:  # noqa: F811
    assert pgrun_study(f"{TABLE} critic=exact hydra.run.dir=all").code == 0
    assert pgrun_study(f"{TABLE} critic=exact variance=gae variance.lam=0.95 hydra.run.dir=one").code == 0
    one, all_ = result(here / "one")["schemes"], result(here / "all")["schemes"]
    assert one["gae"]["variance"] == all_["gae"]["variance"]


def test_sweep(here: Path) -> None:  # noqa: F811
    answer = pgrun_study(f"-m {TABLE} critic=exact variance=gae variance.lam=0,1 hydra.sweep.dir=m")
    assert answer.code == 0, answer.err
    assert [list(result(find_job_folder(here / "m", n))["schemes"]) for n in (0, 1)] == [
        ["gae lam=0"],
        ["gae lam=1"],
    ]
    rows = [line for line in answer.out.splitlines() if line.startswith("variance.lam=")]
    assert len(rows) == 2


def test_a_failing_job_does_not_end_a_sweep(here: Path) -> None:  # noqa: F811
    answer = pgrun_study(
        f"-m env=my_mod:Line-v0 critic=none {SMALL} env.kwargs.trouble=crash,null hydra.sweep.dir=m"
    )
    assert answer.code == 1
    assert [result(find_job_folder(here / "m", n))["status"] for n in (0, 1)] == ["failed", "finished"]
    assert "the line is cut" in answer.err


def test_a_run_brings_its_policy_environment_and_critic(here: Path) -> None:  # noqa: F811
    trained = pgrun(
        f"algo=ppo env=CartPole-v1 state_norm=true reward_scaling=true network.hidden=[8] {QUICK} "
        "hydra.run.dir=r"
    )
    assert trained.code == 0, trained.err
    answer = pgrun_study(f"run=r critic=run {SMALL} hydra.run.dir=s")
    assert answer.code == 0, answer.err
    actual = result(here / "s")
    assert actual["env"] == "CartPole-v1"
    assert actual["settings"]["network"]["hidden"] == [8]
    assert actual["reference"] == "sampled"
    assert "gae" in actual["schemes"]
    assert "q" in actual["left_out"]


def test_a_shared_network_has_the_critic_in_it(here: Path) -> None:  # noqa: F811
    assert pgrun(f"algo=a2c env=CartPole-v1 network=shared {QUICK} hydra.run.dir=r").code == 0
    assert pgrun_study(f"run=r critic=run schemes=td0 {SMALL} hydra.run.dir=s").code == 0


def test_the_users_own_scheme(here: Path) -> None:  # noqa: F811
    answer = pgrun_study(
        f"{TABLE} schemes=[reward_to_go,half_return] modules=[my_mod] critic=none hydra.run.dir=s"
    )
    assert answer.code == 0, answer.err
    schemes = result(here / "s")["schemes"]
    assert schemes["half_return"]["variance"] == pytest.approx(schemes["reward_to_go"]["variance"] / 4)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run=nowhere", "run=nowhere: no such folder"),
        ("run=.", "holds no policy"),
        ("schemes=[gea]", "there is no gea; there are action_baseline, advantage, all_actions"),
        ("schemes=[{gae:{lam:2}}]", "schemes: gae.lam=2: must be in [0, 1]"),
        ("schemes=[gae,gae]", "stands there twice"),
        ("schemes=[q]", "q: needs Q(s, a): critic=exact"),
        ("schemes=[gae] critic=none", "gae: needs a critic: critic=fitted"),
        ("schemes=[gae] variance=gae", "one of them"),
        ("schemes=[leave_one_out] batch=1", "batch must be at least 2"),
        ("episodes=10", "batch=20: a variance needs two estimates, and episodes=10 make 0"),
        ("critic=exact", "critic=exact: cannot know the values of env=CartPole-v1"),
        ("critic=run", "add run=DIR"),
        ("critic=action_value", "take critic=fitted"),
        ("critic=exact env=FrozenLake-v1 critic_episodes=3", "critic=exact is not fitted"),
        ("policy.theta=0.5", "a table of logits needs Discrete states and actions"),
        ("policy.theta=0.5 env=FrozenLake-v1", "there are 4: give a list"),
        ("policy.theta=1.5 env=pgrun/OneState-v0", "must be in (0, 1)"),
        ("policy.theta=[1,2,3] env=pgrun/OneState-v0", "a list of 2 logits"),
        ("policy.ascent=2", "policy.ascent=2: must be in [0, 1]"),
        ("policy.ascent=0.5 env=FrozenLake-v1 network.hidden=[8]", "has no network"),
        ("batch=1 episodes=1000000", "GB: take a larger batch"),
        ("reference=exact", "publishes no transition table: take reference=sampled"),
        ("network=shared", "network=separate"),
        ("variance=gae variance.normalised=true", "averages over the steps left"),
        ("seed=1,2", "type pgrun-study -m"),
        ("batch=x", "batch=x: must be an integer"),
        ("algo=ppo", "algo: no such setting"),
        ("env=FrozenLak-v1", "nearest"),
    ],
)
def test_mistakes(line: str, said: str, here: Path) -> None:  # noqa: F811
    answer = pgrun_study(line)
    assert answer.code == 2, (answer.out, answer.err)
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert answer.err.startswith("pgrun-study: ")
    assert list(here.iterdir()) == []


def test_a_foreign_module_of_a_run_is_not_imported_unless_named(here: Path) -> None:  # noqa: F811
    assert pgrun(f"algo=reinforce env=my_mod:Line-v0 {QUICK} hydra.run.dir=r").code == 0
    answer = pgrun_study(f"run=r {SMALL}")
    assert answer.code == 2
    assert "type that too" in answer.err
    assert pgrun_study(f"run=r env=my_mod:Line-v0 critic=none {SMALL} hydra.run.dir=s").code == 0


def test_help_and_what_it_costs() -> None:
    answer = pgrun_study("--help")
    assert answer.code == 0
    assert answer.out.count("\n  pgrun-study ") == 3
