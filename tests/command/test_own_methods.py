"""Schemes and algorithms of the user's own that are written or named wrong: what a command says of them."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pgrun.command.setting_check import BASES
from pgrun.config import own_classes, user_modules
from pgrun.config.paths import conf_dir
from pgrun.config.schema import find_class
from pgrun.returns import episode_return
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, Answer, pgrun
from tests.helpers.support_study import pgrun_study

HEAD = """
from dataclasses import dataclass, field
from typing import Any, ClassVar
import numpy as np
import torch
from pgrun.variance.base import Scheme, returns_to_go
"""
SCHEME = HEAD + (
    "@dataclass(frozen=True)\n"
    "class Odd(Scheme):\n"
    "    {fields}\n"
    "    whole_episodes: ClassVar[bool] = True\n"
    "    def psi(self, rollout, value, gamma):\n"
    "        {psi}\n"
)
RIGHT = "return returns_to_go(rollout, value, gamma)"
WORDS = f"--config-dir conf modules=[odd] algo=reinforce variance=odd {QUICK} hydra.run.dir=r"


def write_scheme(text: str, options: str = "name: odd\n") -> None:
    """``odd.py`` and ``conf/variance/odd.yaml`` in the current folder."""
    Path("odd.py").write_text(text)
    place = Path("conf/variance/odd.yaml")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(options)


@pytest.fixture
def own(here: Path) -> Iterator[Path]:  # noqa: F811
    """The current folder, whose modules are forgotten afterwards."""
    yield here
    for name in ("odd", "mean"):
        sys.modules.pop(name, None)
        user_modules.IMPORTED.pop(name, None)


def refused(answer: Answer, folder: Path) -> str:
    """What a command said that is refused in one paragraph, before there is a run directory."""
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1), answer
    assert not (folder / "r").exists()
    return answer.err


def test_another_tool_s_word_beside_a_scheme_of_one_s_own(own: Path) -> None:
    write_scheme(SCHEME.format(fields="pass", psi=RIGHT))
    assert "type optimizer.lr=0.1" in refused(pgrun(f"{WORDS} lr=0.1"), own)


def test_another_tool_s_word_beside_a_module_that_cannot_be_imported(own: Path) -> None:
    write_scheme("1 / 0\n")
    answer = pgrun(f"{WORDS} lr=0.1")
    assert answer.code == 2
    assert "type optimizer.lr=0.1" in answer.err


# --- looked at before there is a run ------------------------------------------------------------------------

CLASSES = {  # what is wrong → (text of odd.py, YAML, what is said)
    "too few parameters": (
        HEAD + "@dataclass(frozen=True)\n"
        "class Odd(Scheme):\n"
        "    whole_episodes: ClassVar[bool] = True\n"
        "    def psi(self, rollout, value):\n"
        "        return value\n",
        "name: odd\n",
        "variance=odd: odd.py, line 10: Odd.psi has the parameters (self, rollout, value): "
        "write psi(self, rollout, value, gamma)",
    ),
    "no self": (
        HEAD + "class Odd(Scheme):\n    def psi(rollout, value, gamma):\n        return value\n",
        "name: odd\n",
        "Odd.psi has the parameters (rollout, value, gamma): write psi(self, rollout, value, gamma)",
    ),
    "no property": (
        HEAD + "class Odd(Scheme):\n"
        "    def psi(self, rollout, value, gamma):\n        return value\n"
        "    def corrects_gradient(self):\n        return True\n",
        "name: odd\n",
        "Odd.corrects_gradient is read without a call: write @property above it",
    ),
    "a number for a method": (
        HEAD + "class Odd(Scheme):\n    psi = 3\n",
        "name: odd\n",
        "odd.py, line 7: Odd.psi is no method: write psi(self, rollout, value, gamma)",
    ),
    "no psi": (
        HEAD + "class Odd(Scheme):\n    pass\n",
        "name: odd\n",
        "odd.py, line 7: Odd has no psi(self, rollout, value, gamma): write it",
    ),
    "no value for a field": (
        SCHEME.format(fields="shrink: float", psi=RIGHT),
        "name: odd\n",
        "variance.shrink: odd.py, line 8: Odd gives it no default, and its YAML file no value: "
        "write shrink: … into one of them",
    ),
    "a field that is no setting": (
        SCHEME.format(fields="table: np.ndarray", psi=RIGHT),
        "name: odd\ntable: 3\n",
        "variance.table: odd.py, line 8: Odd annotates it with ndarray, and a setting is of int, float",
    ),
    "a field of a name that is not there": (
        "from __future__ import annotations\n" + SCHEME.format(fields="table: Missing = None", psi=RIGHT),
        "name: odd\ntable: 3\n",
        "variance.table: odd.py, line 9: Odd annotates it with Missing, and a setting is of int, float",
    ),
    "its own words": (
        SCHEME.format(
            fields="shrink: float = 2.0\n"
            "    def __post_init__(self):\n"
            "        if self.shrink > 1:\n"
            "            raise ValueError('shrink is a share: take one in [0, 1]')",
            psi=RIGHT,
        ),
        "name: odd\nshrink: 2.0\n",
        "variance=odd: shrink is a share: take one in [0, 1] (odd.py, line 12)",
    ),
    "its own fault": (
        SCHEME.format(fields="def __post_init__(self):\n        1 / 0", psi=RIGHT),
        "name: odd\n",
        "odd.py, line 10: Odd.__post_init__ raised ZeroDivisionError: division by zero",
    ),
    "no dataclass": (
        SCHEME.format(fields="shrink: float = 0.5", psi=RIGHT).replace("@dataclass(frozen=True)\n", ""),
        "name: odd\nshrink: 0.1\n",
        "variance=odd: odd.py, line 7: Odd has no @dataclass, so that shrink is no setting: "
        "write @dataclass(frozen=True) above the class",
    ),
    "not frozen": (
        SCHEME.format(fields="shrink: float = 0.5", psi=RIGHT).replace("(frozen=True)", ""),
        "name: odd\nshrink: 0.1\n",
        "cannot inherit non-frozen dataclass from a frozen one (odd.py, line 7): "
        "write @dataclass(frozen=True)",
    ),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_that_is_refused(kind: str, own: Path) -> None:
    text, options, said = CLASSES[kind]
    write_scheme(text, options)
    answer = refused(pgrun(WORDS), own)
    assert said in answer
    assert answer.count("odd.py") == 1


@pytest.mark.parametrize("kind", ["no value for a field", "a field that is no setting", "no dataclass"])
def test_the_help_of_a_class_that_is_refused(kind: str, own: Path) -> None:
    text, options, said = CLASSES[kind]
    write_scheme(text, options)
    assert said in refused(pgrun("--config-dir conf modules=[odd] algo=reinforce variance=odd --help"), own)


def test_a_list_of_methods_says_that_it_lacks_one_s_own(own: Path) -> None:
    write_scheme(SCHEME.format(fields="pass", psi=RIGHT))
    last = "Methods of your own are not in this list; pgrun --config-dir FOLDER"
    assert pgrun("--list --config-dir conf modules=[odd]").out.splitlines()[-1].startswith(last)
    assert last not in pgrun("--list").out


@pytest.mark.parametrize("kind", ["too few parameters", "no value for a field", "its own words"])
def test_a_class_that_a_study_refuses(kind: str, own: Path) -> None:
    """In ``schemes=``, whose settings are the class's defaults."""
    write_scheme(CLASSES[kind][0])
    words = "env=pgrun/OneState-v0 schemes=[odd] modules=[odd] episodes=20 critic=none hydra.run.dir=r"
    said = refused(pgrun_study(words), own)
    assert "odd.py, line " in said


@pytest.mark.parametrize("group", own_classes.REQUIRED)
def test_every_class_of_pgrun_s_own_is_called_as_its_base(
    group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: each as if the user had written it."""
    module, name = BASES[group]
    base = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(own_classes, "is_own", lambda cls: cls.__module__ not in (module, "builtins"))
    names = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    classes = []
    for each in names:
        with suppress(LookupError):  # a file of settings for a class of another name
            classes.append(find_class(group, each))
    assert len(classes) >= 2
    for cls in classes:
        assert list(own_classes.find_class_faults(group, "x", cls, base)) == []


# --- found in the run ---------------------------------------------------------------------------------------

FAULTS = {  # body of psi → (exit code, what is said)
    "return returns_to_go(rollout, value, gamma).double()": (
        2,
        "odd.py, line 11: Odd.psi returned a tensor [T, 1] of float64; needed: a tensor [T, N], a weight for "
        "each row of rollout.reward, here of float32: .to(torch.float32) makes it that",
    ),
    "self.mean = 1.0": (
        2,
        "odd.py, line 12: Odd.psi raised FrozenInstanceError: cannot assign to field 'mean': a scheme keeps "
        "nothing from one call to the next",
    ),
    "raise SystemExit(3)": (2, "odd.py, line 12: Odd.psi called sys.exit(3)"),
    "return rollout.reward / 0 - rollout.reward / 0": (
        1,
        "update 1, environment step T: the weights Ψ of odd.py, line 11: Odd.psi: nan in T of T entries: "
        "what it was given is finite: look there for a division by 0",
    ),
}


@pytest.mark.parametrize("psi", FAULTS)
@pytest.mark.parametrize("more", ["", "diagnostics.gradient_every=0"])
def test_a_method_that_fails_in_a_run(psi: str, more: str, own: Path) -> None:
    write_scheme(SCHEME.format(fields="pass", psi=psi))
    answer = pgrun(f"{WORDS} sampler.episodes=1 env.num_envs=1 {more}")
    code, said = FAULTS[psi]
    assert (answer.code, answer.err.count("\n")) == (code, 1), answer
    assert re.match("pgrun: " + re.escape(said).replace("T", r"(\[?T|\d+)"), answer.err), answer.err
    assert json.loads((own / "r" / "summary.json").read_text())["status"] == "failed"


def test_a_method_that_fails_in_a_study(own: Path) -> None:
    write_scheme(SCHEME.format(fields="pass", psi=next(iter(FAULTS))))
    answer = pgrun_study(
        "env=pgrun/OneState-v0 schemes=[odd] modules=[odd] episodes=60 repeats=1 critic=none hydra.run.dir=r"
    )
    assert answer.code == 2
    last = answer.err.splitlines()[-1]  # behind the progress, where it took long
    assert "odd.py, line 11: Odd.psi returned a tensor" in last
    assert "of float64; needed" in last


def test_a_scheme_is_tested_with_a_few_tensors() -> None:
    """As docs/extend.md says: these fields are all that such schemes read."""
    reward = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    last = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    rollout = SimpleNamespace(
        reward=reward,
        mask=torch.tensor([[1.0, 1.0], [1.0, 0.0]]),
        time=torch.tensor([[0.0, 0.0], [1.0, 1.0]]),
        terminated=last,
        ended=last,
    )
    psi = RewardToGo(discounting="from_start").psi(rollout, torch.zeros(3, 2), 0.5)  # type: ignore[arg-type]
    assert (psi * rollout.mask).tolist() == [[2.5, 2.0], [1.5, 0.0]]
    assert episode_return(reward, rollout.mask, rollout.time, 0.5).tolist() == [2.5, 2.0]


# --- names and files ----------------------------------------------------------------------------------------


def test_a_file_that_is_a_list_is_named(own: Path) -> None:
    write_scheme(SCHEME.format(fields="pass", psi=RIGHT), "- a\n")
    said = refused(pgrun(WORDS), own)
    assert "variance=odd: conf/variance/odd.yaml holds a list, and an option's file holds settings" in said


def test_a_name_of_pgrun_s_own(own: Path) -> None:
    text = SCHEME.format(fields="pass", psi=RIGHT).replace("Odd", "MeanBaseline")
    write_scheme(text, "name: mean_baseline\n")
    said = refused(pgrun(WORDS), own)
    assert "odd.py, line 8: MeanBaseline has the name of a class of pgrun's, which would be taken" in said


def test_a_name_of_pgrun_s_own_for_something_else(own: Path) -> None:
    """The negative control: one that is no scheme, or only imported, is in nobody's way."""
    text = "class MeanBaseline:\n    pass\nfrom pgrun.variance.gae import Gae\n"
    write_scheme(SCHEME.format(fields="pass", psi=RIGHT) + text)
    for scheme in ("mean_baseline", "gae"):
        answer = pgrun(f"modules=[odd] algo=a2c sampler=episodes variance={scheme} --cfg job")
        assert answer.code == 0, answer


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("odd.py", "name the module, not its file: modules=[odd]"),
        ("conf/odd.py", "name the module, not its file: modules=[conf.odd]"),
        (
            "missing",
            "looked for in {here} and in what is installed; a folder elsewhere is named by",
        ),
    ],
)
def test_a_module_that_is_not_found(name: str, said: str, own: Path) -> None:
    write_scheme(SCHEME.format(fields="pass", psi=RIGHT))
    assert said.format(here=own) in refused(
        pgrun(f"{WORDS} modules=[{name}]".replace("modules=[odd] ", "")), own
    )


def test_a_sweep_is_gone_on_with_as_it_says(own: Path) -> None:
    """What is advised is complete: typed, it works."""
    write_scheme(SCHEME.format(fields="pass", psi=RIGHT))
    assert pgrun(f"-m {WORDS.replace('run.dir=r', 'sweep.dir=s')}").code == 0
    job = next(path.parent for path in Path("s").glob("*/job.json"))
    for words in ("resume=s", f"from={job} --cfg job"):
        answer = pgrun(words)
        assert answer.code == 2, answer
        advice = answer.err.strip().partition("add ")[2]
        assert advice == "'modules=[odd]' --config-dir conf" or advice == "modules=[odd] --config-dir conf"
        answer = pgrun(f"{words} {advice}")
        assert answer.code == 0, answer
