"""Every shipped configuration file composes, passes the check and runs; nothing in it is unread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from pgrun.cli.compatibility_table import LETTERS, format_fit_cell
from pgrun.command.compose import Job, compose_jobs
from pgrun.command.overrides import read_command
from pgrun.command.validate import find_problems
from pgrun.config.paths import conf_dir
from pgrun.config.schema import GROUPS, find_class, setting_kinds
from pgrun.config.settings import Diagnostics, Logger, RunSettings, Trainer
from pgrun.training.build import build_run
from pgrun.training.loop import train_run
from tests.helpers.fixtures_cli import here  # noqa: F401

CONF = conf_dir()
FILES = sorted(CONF.rglob("*.yaml"))
ALGOS = sorted(path.stem for path in (CONF / "algo").glob("*.yaml"))
SCHEMES = sorted(path.stem for path in (CONF / "variance").glob("*.yaml"))
TINY = (
    "trainer.total_steps=40 trainer.eval_every=null trainer.eval_episodes=1 logger.progress=false "
    "network.hidden=[8] diagnostics.gradient_every=1"
)


def composed(line: str) -> Job:
    jobs = compose_jobs(read_command(line.split()))
    assert not jobs.problems
    return jobs.composed[0]


def raw(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False) or {}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def unread_proposals(content: Mapping[str, Any]) -> list[str]:
    """Keys under ``usual`` that no option asks for."""
    text = "\n".join(path.read_text() for path in FILES)
    text += (CONF.parent / "pgrun" / "command" / "hydra_env.py").read_text()  # an option made on the fly
    asked = set(re.findall(r"oc\.select:usual\.([\w.]+)", text))
    return [key for key in leaves(content.get("usual") or {}) if key not in asked]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_what_a_file_proposes_is_read(path: Path) -> None:
    assert unread_proposals(raw(path)) == []


def test_an_unread_proposal_would_be_found() -> None:
    content = {"usual": {"optimizer": {"lr": 1, "rate": 1}, "lr": 1}}
    assert unread_proposals(content) == ["optimizer.rate", "lr"]


def command_for(path: Path) -> str:
    """The shortest command that chooses a file and fits together."""
    group, name = path.parent.relative_to(CONF).as_posix(), path.stem
    if group.startswith("tuned/"):
        algo, env = (*group.split("/", 2)[1:], name)[0], "/".join((*group.split("/", 2)[2:], name))
        return f"algo={algo} env={env}"
    if (group, name) in {("sampler", "replay"), ("critic", "action_value")}:
        return f"{group}={name} algo=off_policy_ac"
    if (group, name) in {("critic", "exact"), ("critic", "scaled"), ("critic", "vine")}:
        return f"{group}={name} algo=a2c env=FrozenLake-v1"
    if group == "network" and "cnn" in name:
        return f"network={name} env=pgrun/Catch-v0"
    if group == "policy":
        return f"policy={name} env=Pendulum-v1"
    if group == "variance" and find_class("variance", name).uses_every_q:
        return f"{group}={name} algo=reinforce critic=exact env=FrozenLake-v1 advantage_norm=none"
    if group == "variance" and find_class("variance", name).uses_q:
        return f"{group}={name} algo=off_policy_ac"
    whole = group == "variance" and find_class("variance", name).whole_episodes
    return f"{group}={name}" + " sampler=episodes" * whole


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent != CONF], ids=lambda path: str(path.relative_to(CONF))
)
def test_every_option_passes_the_check(path: Path) -> None:
    job = composed(command_for(path))
    assert find_problems(job) == []
    if "tuned" in path.parts and path.stem != "none":
        assert job.settings["tuned"] == str(path.relative_to(CONF))


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("env", ["FrozenLake-v1", "Pendulum-v1"])
def test_every_algorithm_fits_other_environments_by_default(algo: str, env: str) -> None:
    assert find_problems(composed(f"algo={algo} env={env}")) == []


def options(group: str) -> list[tuple[str, str]]:
    return [(group, path.stem) for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "name"), [pair for group in GROUPS for pair in options(group)])
def test_a_file_shows_every_setting_of_its_class(group: str, name: str) -> None:
    """``pgrun --cfg job`` is complete, and what cannot be typed wrongly needs no ``+``."""
    content = raw(CONF / group / f"{name}.yaml")
    shown = set(content.get(group, content)) - {"name", "defaults"}
    nested = {"optimizer"} if group == "critic" else set()
    assert shown | nested == set(setting_kinds(find_class(group, name)))


def test_the_same_of_the_settings_of_no_method() -> None:
    settings = composed("algo=ppo").settings
    for name, cls in (("trainer", Trainer), ("diagnostics", Diagnostics), ("logger", Logger)):
        assert set(settings[name]) == set(setting_kinds(cls))
    assert set(setting_kinds(RunSettings)) <= set(settings)


@cache
def section(group: str, choice: str, words: str = "") -> dict[str, Any]:
    return composed(f"{group}={choice} {words}").settings[group]


def fits(algo: str, scheme: str, sampler: str) -> bool:
    chosen, method = find_class("variance", scheme), find_class("algo", algo)
    allowed = method.allowed_schemes
    if chosen.uses_q != method.of_actions or (allowed and scheme not in allowed):
        return False
    return sampler in method.samplers and (sampler == "episodes" or not chosen.whole_episodes)


@pytest.mark.parametrize("algo", ALGOS)
def test_the_list_shows_what_fits(algo: str) -> None:
    """With the usual critic, or with exact values of a table, since some schemes read Q; and with one step on
    a batch as it is, which some correct.
    """
    common = f"algo={algo} tuned=none advantage_norm=none {ONE_STEP.get(algo, '')}"
    plain, exact = (composed(f"{common} {words}") for words in ("", f"{TABLE} critic=exact"))
    for scheme in SCHEMES:
        letters = []
        for sampler, size in SIZES.items():
            own = {"variance": section("variance", scheme, "sampler=episodes")}
            own["sampler"] = section("sampler", sampler, size)
            jobs = [replace(one, settings={**one.settings, **own}) for one in (plain, exact)]
            letters += [LETTERS[sampler]] if any(find_problems(job) == [] for job in jobs) else []
        assert format_fit_cell(CONF, algo, scheme).removesuffix(" *") == (" ".join(letters) or "·"), scheme


TABLE = "env=FrozenLake-v1"
ONE_STEP = dict.fromkeys(("ppo", "ppo_penalty"), "algo.epochs=1 algo.minibatches=1")
ONE_STEP["off_policy_pg"] = "algo.reuses=1"


def samplers_that_fit(algo: str, scheme: str, whole: bool) -> list[str]:
    """All of them; without ``whole`` one, which alternates, so that every pair of an algorithm, a scheme and
    a sampler is there with some third.
    """
    collected = [sampler for sampler in SIZES if fits(algo, scheme, sampler)]
    turn = ALGOS.index(algo) + SCHEMES.index(scheme)
    return collected if whole or not collected else [collected[turn % len(collected)]]


SIZES = {
    "episodes": "sampler.episodes=4",
    "steps": "sampler.steps=8",
    "replay": "sampler.batch=8 sampler.warmup=8",
}
TRIPLES = [(algo, scheme, sampler) for algo in ALGOS for scheme in SCHEMES for sampler in SIZES]


def test_every_pair_is_in_some_triple_that_is_tried() -> None:
    tried = {(a, s, each) for a, s, _ in TRIPLES for each in samplers_that_fit(a, s, whole=False)}
    for triple in TRIPLES:
        if fits(*triple):
            for left_out in range(3):
                pair = triple[:left_out] + triple[left_out + 1 :]
                assert any(one[:left_out] + one[left_out + 1 :] == pair for one in tried), triple


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("algo", ALGOS)
def test_every_algorithm_learns_with_every_scheme_that_fits(algo: str, whole: bool, here: Path) -> None:  # noqa: F811
    """Composed once an algorithm, and the schemes and samplers put in: composing all
    pairs would take a minute.
    """
    base = composed(f"algo={algo} tuned=none env.num_envs=4 {TINY}")
    for scheme, sampler in product(SCHEMES, SIZES):
        settings = {
            **base.settings,
            "variance": section("variance", scheme, "sampler=episodes"),
            "sampler": section("sampler", sampler, SIZES[sampler]),
        }
        problems = find_problems(replace(base, settings=settings))
        if not fits(algo, scheme, sampler):
            assert problems, (scheme, sampler)
            continue
        assert problems == [], (scheme, sampler)
        if sampler not in samplers_that_fit(algo, scheme, whole):
            continue
        run = build_run(settings)
        before = run.policy.theta.clone()
        folder = here / f"{scheme}_{sampler}"
        folder.mkdir()
        assert train_run(run, folder)["status"] == "finished"
        assert run.policy.theta.isfinite().all(), (scheme, sampler)
        assert not torch.equal(before, run.policy.theta), (scheme, sampler)
