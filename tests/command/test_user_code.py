"""Environments and modules of the user's that cannot be made, read or closed: one paragraph that says where,
and what to type.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from pgrun.config.user_modules import hiding_user_folders, import_user_module
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.faults import ColumnFault, values_from_step
from pgrun.envs.spaces import observation_encoder
from pgrun.envs.vector import Loop
from pgrun.errors import InvalidCommand
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

MODULE = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Base(gym.Env):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 1.0, True, False, {}

class OldApi(Base):
    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32)

class Mute(Base):
    def __init__(self):
        assert 1 == 2

class MuteError(Base):
    def __init__(self):
        raise gym.error.Error

class MuteImport(Base):
    def __init__(self):
        raise ImportError

class Closing(Base):
    def close(self):
        raise RuntimeError("already closed")

class Leaving(Base):
    def close(self):
        raise SystemExit(3)

class Words(spaces.Space):
    def __init__(self):
        super().__init__((), str)
    def sample(self, mask=None, probability=None):
        return "go"
    def contains(self, x):
        return isinstance(x, str)

class Mission(Base):
    observation_space = spaces.Dict({"image": spaces.Box(0, 255, (3, 3), np.uint8), "mission": Words()})

for cls in (OldApi, Mute, MuteError, MuteImport, Closing, Leaving, Mission):
    gym.register(f"{cls.__name__}-v0", entry_point=cls)
"""
NAMES = ("OldApi", "Mute", "MuteError", "MuteImport", "Closing", "Leaving", "Mission")


@pytest.fixture
def theirs(here: Path) -> Iterator[Path]:  # noqa: F811
    """A module ``their_mod`` in the current folder, forgotten afterwards."""
    (here / "their_mod.py").write_text(MODULE)
    yield here
    for name in ("their_mod", "mute_mod", "leaving_mod"):
        sys.modules.pop(name, None)
    for name in NAMES:
        gym.registry.pop(f"{name}-v0", None)


@pytest.mark.parametrize(
    ("name", "said"),
    {
        "Mission": (
            "its entry mission is Words, which is not supported (Box, Discrete, MultiDiscrete, MultiBinary, "
            "or Tuple/Dict of those): leave out with a wrapper: gymnasium.wrappers.FilterObservation(env, "
            "['image'])"
        ),
        "OldApi": "cannot be reset: reset must return (observation, info), not ndarray array([0., 0.], "
        "dtype=float32): gym before 0.26 had the observation alone",
        "Mute": "cannot be made: AssertionError (their_mod.py, line 21)",
        "MuteError": "Error (their_mod.py, line 25)",
        "MuteImport": "cannot be made here: ImportError (their_mod.py, line 29)",
        "Lime": (
            "env=Lime-v0: not registered with gymnasium: their_mod was imported and registered nothing of "
            "that name"
        ),
    }.items(),
)
def test_an_environment_that_is_refused(name: str, said: str, theirs: Path) -> None:
    answer = pgrun(f"env=their_mod:{name}-v0")
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert [path.name for path in theirs.iterdir() if not path.name.startswith("__")] == ["their_mod.py"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mute_mod", "assert 1 == 2", "cannot import mute_mod: AssertionError (mute_mod.py, line 1)"),
        ("mute_mod", "\nraise ImportError", "cannot import mute_mod: ImportError (mute_mod.py, line 2)"),
        (
            "leaving_mod",
            "raise SystemExit(4)",
            "cannot import leaving_mod: sys.exit(4) (leaving_mod.py, line 1)",
        ),
        (
            "mute_mod",
            "x = (",
            "cannot import mute_mod: SyntaxError: '(' was never closed (mute_mod.py, line 1)",
        ),
    ],
)
def test_a_module_that_cannot_be_imported(name: str, text: str, said: str, theirs: Path) -> None:
    (theirs / f"{name}.py").write_text(text)
    for words in (f"env={name}:Foo-v0", f"modules=[{name}]"):
        answer = pgrun(words)
        assert answer.code == 2
        assert said in answer.err


def test_a_file_of_the_users_hides_nothing_installed(tmp_path: Path) -> None:
    """Not a package without ``__init__.py`` either, which Python itself would pass over, and no module of the
    standard library that this system lacks; with its negative control.
    """
    installed, folder = tmp_path / "installed", tmp_path / "here"
    for place in (installed / "space", folder):
        place.mkdir(parents=True)
    (installed / "space" / "inner.py").write_text("print('installed')")
    (folder / "theirs.py").write_text("import helper")
    for name in ("space", "nt", "helper"):
        (folder / f"{name}.py").write_text(f"print('{name} of the folder')")

    def imported(first: str) -> list[str]:
        code = (
            f"{first}\nfor x in ('space.inner', 'nt'):\n    try: __import__(x)\n    except ImportError: pass"
        )
        environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    own = "from pgrun.config.user_modules import import_user_module; import_user_module('theirs')"
    assert imported(own) == ["helper of the folder", "installed"]
    assert imported("import sys; sys.path.append('.')") == ["space of the folder", "nt of the folder"]


def test_the_users_folder_is_off_the_path_for_new_processes(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    import_user_module("their_mod")
    assert sys.path[-1] == str(theirs)
    with hiding_user_folders() as folders:
        assert str(theirs) in folders
        assert str(theirs) not in sys.path
    assert sys.path[-1] == str(theirs)


@pytest.mark.parametrize(
    ("name", "said"), [("Closing", "RuntimeError: already closed"), ("Leaving", "sys.exit(3)")]
)
def test_a_close_that_fails_is_one_warning(
    name: str, said: str, theirs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of all columns together, and none of the one that was made to be looked at."""
    sys.path.append(str(theirs))
    try:
        envs = make_envs(EnvSettings(f"their_mod:{name}-v0", 3), 3)
    finally:
        sys.path.remove(str(theirs))
    with caplog.at_level(logging.WARNING):
        envs.close()
    (message,) = caplog.messages
    assert message.startswith(f"env=their_mod:{name}-v0: close raised {said} (their_mod.py, line ")
    assert message.endswith(", in 3 of 3 columns")


def test_entries_that_are_no_numbers_are_named_wherever_they_are() -> None:
    box, odd = spaces.Box(0, 1, (2,)), spaces.Text(5)
    with pytest.raises(InvalidCommand, match=r"its entry a\.b is Text, .*FilterObservation\(env, \['c'\]\)"):
        observation_encoder(spaces.Dict({"a": spaces.Dict({"b": odd}), "c": box}))
    with pytest.raises(InvalidCommand, match=r"its entry 1 is Sequence, .*FilterObservation\(env, \[0\]\)"):
        observation_encoder(spaces.Tuple([box, spaces.Sequence(box)]))
    with pytest.raises(InvalidCommand, match=r"its entry a is Text, .*TransformObservation"):
        observation_encoder(spaces.Dict({"a": odd}))


class FiveFromStep(gym.Env):
    """Its step returns its five observed numbers alone, which would come apart as the five values do."""

    observation_space = spaces.Box(-1, 1, (5,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(5, np.float32), {}

    def step(self, action):
        return np.zeros(5, np.float32)


def test_an_array_is_not_taken_apart() -> None:
    columns = Loop(FiveFromStep, 1)
    columns.reset([0])
    with pytest.raises(ColumnFault, match=r"step must return \(observation, reward, .*, not ndarray array"):
        columns.step(np.zeros(1, np.int64))
    values = [np.zeros(2), 1.0, False, False, {}]
    assert values_from_step(values) is values, "a list of them is fine"


# --- options of the user's ----------------------------------------------------------------------------------

OPTIONS = {
    "tab": ("name: ppo\n\tclip: 0.2\n", "/algo/tab.yaml, line 2: a tab, and YAML is indented with spaces"),
    "twice": ("name: ppo\nname: a2c\n", "/algo/twice.yaml, line 2: found duplicate key name"),
    "colon": ("name: a: b\n", "/algo/colon.yaml, line 1: mapping values are not allowed here"),
    "latin": ("name: ppo # \xe9\n", "/algo/latin.yaml: 'utf-8' codec can't decode byte 0xe9"),
    "open": ("name: ${foo\n", "/algo/open.yaml: no viable alternative at input '${foo'"),
    "empty": ("", "algo=empty: its file must say which class it sets, such as name: ppo"),
    "items": ("- 1\n", "algo=items: its file must say which class it sets, such as name: ppo"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_of_options_that_is_none(name: str, here: Path) -> None:  # noqa: F811
    """Its name and line; and it stands in nobody's way who does not choose it."""
    text, said = OPTIONS[name]
    place = here.parent / "own" / "algo" / f"{name}.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(text, encoding="latin-1")
    answer = pgrun(f"--config-dir ../own algo={name}")
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert "algo.nonsense: no such setting" in pgrun("--config-dir ../own algo.nonsense=1").err
