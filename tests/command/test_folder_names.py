"""Names of runs: what differs, short, safe, and the same to us and to Hydra."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pgrun.command.claim_folders import claim_folders
from pgrun.command.compose import Job, compose_jobs
from pgrun.command.folder_names import (
    LONGEST,
    find_differing,
    find_job_folder,
    find_job_folders,
    name_env,
    name_numbered,
    name_run,
    name_safely,
    shorten_keys,
)
from pgrun.command.overrides import read_command, rewrite_word
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun

SAFE = re.compile(r"[A-Za-z0-9._+=,-]+")
HOSTILE = [
    *("../../etc/passwd", "a/b", "..", ".", "", " ", "~root", "$(rm -rf)", "${oc.env:HOME}", "`id`"),
    *("a\nb", "a\0b", "\x1b[2J", "\u202eabc", "策略", "é", "'quoted'", '"x"', "a;b|c&d", "*?[x]", "{a: b}"),
    *("[32,32]", "x" * 500, "-0.5", "a=b,c", "C:\\x", "%2e%2e%2f", "con:", "<>"),
]


def jobs_of(line: str) -> list[Job]:
    jobs = compose_jobs(read_command(shlex.split(line)))
    assert jobs.problems == []
    return jobs.composed


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_safe_whatever_is_in_it(text: str) -> None:
    for name in (name_safely(text), name_env(text), name_numbered(7, [f"x={text}"], ("x",))):
        assert not name or SAFE.fullmatch(name), name
        assert name not in (".", "..")
        assert len(name) <= LONGEST["name"]
    name = name_run(OmegaConf.create({"algo": {"name": "ppo"}, "env": {"id": text}, "seed": 0}))
    assert Path("outputs", name).parent == Path("outputs")


def test_names_are_bounded() -> None:
    keys = tuple(f"group{n}.setting{n}" for n in range(50))
    name = name_numbered(3, [f"{key}={'9' * 40}" for key in keys], keys)
    assert name.startswith("3_setting0=1e+40,")
    assert len(name) == LONGEST["name"]


def test_only_what_differs_is_named() -> None:
    jobs = [f"algo={a} seed={s} gamma=0.9" for a in ("a2c", "ppo") for s in (0, 1)]
    assert find_differing([line.split() for line in jobs]) == ("algo", "seed")
    assert name_numbered(3, jobs[3].split(), ("algo", "seed")) == "3_algo=ppo,seed=1"
    assert find_differing([["seed=0"]]) == ()
    assert find_differing([["gamma=1"], ["gamma=1", "seed=3"]]) == ("seed",)


def test_keys_are_as_short_as_they_tell_apart() -> None:
    assert shorten_keys(["optimizer.lr", "critic.optimizer.lr", "algo.clip"]) == {
        "optimizer.lr": "optimizer.lr",
        "critic.optimizer.lr": "critic.optimizer.lr",
        "algo.clip": "clip",
    }
    assert shorten_keys(["optimizer.lr", "seed"]) == {"optimizer.lr": "lr", "seed": "seed"}


def test_values_are_short() -> None:
    words = ["optimizer.lr=0.00123456789", "env=my_pkg.envs:ns/Line-v0", "network.hidden=[32,32]"]
    keys = ("optimizer.lr", "env", "network.hidden")
    assert name_numbered(0, words, keys) == "0_lr=0.001235,env=Line-v0,hidden=32-32"


@pytest.mark.parametrize(
    ("line", "sweep", "names"),
    [
        (
            "-m algo=a2c,ppo seed=0,1",
            "CartPole-v1_algo+seed",
            ["0_algo=a2c,seed=0", "1_algo=a2c,seed=1", "2_algo=ppo,seed=0", "3_algo=ppo,seed=1"],
        ),
        ("-m optimizer.lr=1e-3,1e-2 seeds=[0,1]", "ppo_CartPole-v1_lr", ["0_lr=0.001", "1_lr=0.01"]),
        ("-m env=pgrun/SmallMDP-v0,pgrun/OneState-v0", "ppo_env", ["0_env=SmallMDP-v0", "1_env=OneState-v0"]),
        ("-m seed=4", "ppo_CartPole-v1_s4", ["0"]),
    ],
)
def test_sweeps_and_their_jobs(line: str, sweep: str, names: list[str], here: Path) -> None:  # noqa: F811
    jobs = jobs_of(line)
    assert [job.folder.name for job in jobs] == names
    assert re.fullmatch(rf"{re.escape(sweep)}_\d\d-\d\d-\d\d", jobs[0].folder.parent.name)


def test_runs(here: Path) -> None:  # noqa: F811
    (job,) = jobs_of("algo=a2c env=pgrun/SmallMDP-v0 seed=7")
    assert re.fullmatch(r"outputs/[\d-]{10}/a2c_SmallMDP-v0_s7_\d\d-\d\d-\d\d", str(job.folder))
    assert "_s0-1_" in jobs_of("seeds=[0,1]")[0].folder.name
    assert "_5seeds_" in jobs_of("seeds=[0,1,2,3,4]")[0].folder.name


def test_hydra_puts_jobs_where_we_look_for_them(here: Path) -> None:  # noqa: F811
    """Also with values that Hydra writes in another way than they were typed."""
    swept = "optimizer.lr=1e-3,1e-2 'network.hidden=[2]'"
    line = f"-m env=pgrun/OneState-v0 backend=torch {swept} {QUICK} hydra.sweep.dir=s"
    assert pgrun(line).code == 0
    names = {path.name for path in find_job_folders(here / "s").values()}
    assert names == {"0_lr=0.001", "1_lr=0.01"}
    again = pgrun(f"{line} resume=auto")
    assert (again.code, "resume=auto: 2 finished" in again.out) == (0, True)


def test_jobs_by_number_are_found_too(tmp_path: Path) -> None:
    for name in ("0", "1_seed=1", "10_seed=10", "notes", "1x"):
        (tmp_path / name).mkdir()
    assert {number: path.name for number, path in find_job_folders(tmp_path).items()} == {
        **{0: "0", 1: "1_seed=1", 10: "10_seed=10"}
    }
    assert find_job_folder(tmp_path, 5) == tmp_path / "5"


def test_two_commands_of_one_second_have_folders_of_their_own(here: Path) -> None:  # noqa: F811
    for line, multirun in (("seed=3", False), ("-m seed=0,1", True)):
        jobs = jobs_of(line)
        claimed = [claim_folders(copy.deepcopy(jobs), multirun) for _ in range(3)]
        tops = [(jobs[0].folder.parent if multirun else jobs[0].folder).name for jobs in claimed]
        assert tops == [tops[0], f"{tops[0]}_2", f"{tops[0]}_3"]
        if multirun:
            assert claimed[2][1].folder == here.joinpath(
                claimed[2][1].hydra.sweep.dir, "1_seed=1"
            ).relative_to(here)


def test_a_folder_that_was_typed_is_taken_as_it_is(here: Path) -> None:  # noqa: F811
    (here / "r").mkdir()
    jobs = jobs_of("seed=3 hydra.run.dir=r")
    assert claim_folders(jobs, False) == jobs


@pytest.mark.parametrize("key", ["resume", "hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_that_is_there_is_one_word(key: str, here: Path) -> None:  # noqa: F811
    for name in ("s/3_algo=a2c,seed=0", "it's, [mine] = {x: 1}"):
        (here / name).mkdir(parents=True)
        override = OverridesParser.create().parse_override(rewrite_word(f"{key}={name}"))
        assert override.value() == name
    assert rewrite_word(f"{key}=not/there,0") == f"{key}=not/there,0"
