"""``pgrun algo=ppo --help`` says of every setting what it may be, what it is and what it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgrun.cli.option_help import COMMENT
from pgrun.config.describe_settings import describe_kind, describe_settings
from pgrun.config.paths import conf_dir
from pgrun.config.schema import GROUPS, NonNegative, PositiveInt, Probability, find_class
from pgrun.config.settings import Diagnostics, Logger, Trainer
from pgrun.envs import EnvSettings
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

NESTED = "optimizer"  # of a critic: a group of its own


def test_kinds() -> None:
    from typing import Literal

    kinds = {
        PositiveInt: "integer ≥ 1",
        NonNegative: "number ≥ 0",
        Probability: "number in [0, 1]",
        PositiveInt | Literal["auto"] | None: "integer ≥ 1 or auto or null",
        Literal["constant", "linear"]: "constant or linear",
        bool: "true or false",
        tuple[PositiveInt, ...]: "list of integer ≥ 1",
    }
    assert {describe_kind(kind): told for kind, told in kinds.items()} == {t: t for t in kinds.values()}


def test_every_setting_of_every_option_has_a_meaning() -> None:
    silent = []
    for group in GROUPS:
        for path in sorted((conf_dir() / group).glob("*.yaml")):
            notes = dict(COMMENT.findall(path.read_text()))
            for one in describe_settings(find_class(group, path.stem)):
                if not (one.meaning or notes.get(one.name) or (group, one.name) == ("critic", NESTED)):
                    silent.append(f"{group}={path.stem}: {one.name}")
    for cls in (Trainer, Diagnostics, Logger, EnvSettings):
        silent += [f"{cls.__name__}.{one.name}" for one in describe_settings(cls) if not one.meaning]
    assert silent == []


def test_an_option_and_its_settings(here: Path) -> None:  # noqa: F811
    answer = pgrun("algo=ppo critic/optimizer=sgd tuned=none --help")
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert lines[0].startswith("algo=ppo: Proximal policy optimisation")
    at = lines.index("  algo.clip=0.2    number > 0")
    assert lines[at + 1] == "      ε: no gradient once a ratio is this far from 1"
    assert "  critic.optimizer.momentum=0.0    number in [0, 1)" in lines
    assert "critic.lam" not in answer.out, "an option that was not named"
    assert lines[-1] == "Values are those of this command."
    assert max(map(len, lines)) <= 110


def test_values_are_those_of_the_command(here: Path) -> None:  # noqa: F811
    answer = pgrun("algo=ppo env=CartPole-v1 algo.clip=0.15 --help")
    assert "  algo.clip=0.15    number > 0" in answer.out.splitlines()
    assert "Values are those of this command, with conf/tuned/ppo/CartPole-v1" in answer.out
    assert "env=CartPole-v1\n" in answer.out, "no signature in the place of a docstring"


@pytest.mark.parametrize("line", ["seed=3 --help", "--help", "-h"])
def test_without_an_option_it_is_the_whole_help(line: str, here: Path) -> None:  # noqa: F811
    assert pgrun(line).out.startswith("pgrun — policy-gradient experiments")


def test_an_unknown_option_is_refused(here: Path) -> None:  # noqa: F811
    answer = pgrun("algo=pp0 --help")
    assert (answer.code, "algo=pp0: no such option; there are" in answer.err) == (2, True)


def test_the_user_s_own_option(here: Path) -> None:  # noqa: F811
    command = "--config-dir ../myconf modules=[my_mod] algo=reinforce variance=half_return --help"
    answer = pgrun(command)
    assert "  variance.factor=0.5    number" in answer.out.splitlines(), answer
