"""What a checkpoint is of: the settings of its run, the versions that it was made
with, the spaces of its environment.

Compared on every resume, before anything is done: a checkpoint of another run may fit into this one without a
word.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gymnasium import spaces

from pgrun.config.schema import GROUPS, setting_kinds
from pgrun.config.settings import RunSettings, flatten_settings
from pgrun.envs.wrappers import find_user_modules, format_wrappers
from pgrun.errors import InvalidCommand, escape_line
from pgrun.storage.versions import installed_versions
from pgrun.terminal.printing import shorten_folder
from pgrun.training.backends import refuse_missing_backend

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from pgrun.training.build import Run

MAY_CHANGE = (  # when a run is resumed
    "trainer.total_steps",
    "trainer.checkpoint_every",
    "trainer.eval_max_steps",
    "env.restart",
    "cores",
    "logger.progress",
    "logger.also",
    "logger.project",
)
FEW = 6  # bounds that are written out


def describe_run(run: Run) -> dict[str, Any]:
    """For a checkpoint of it."""
    return {
        "settings": hash_settings(run.settings),
        "backend": run.backend,
        "versions": dict(installed_versions()),
        "observation": describe_space(run.envs.observation_space),
        "action": describe_space(run.envs.action_space),
    }


def hash_settings(settings: Mapping[str, Any]) -> str:
    """A hash of all settings but ``MAY_CHANGE``; numbers that are equal are, however they were typed."""
    flat = {key: value for key, value in flatten_settings(settings).items() if key not in MAY_CHANGE}
    numbers = {key: float(x) for key, x in flat.items() if isinstance(x, int) and abs(x) < 2**53}
    return hashlib.sha256(json.dumps({**flat, **numbers}, sort_keys=True).encode()).hexdigest()


def check_settings(state: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` where the settings in a checkpoint are not those that it was saved with, and
    ``KeyError`` where one is missing that every run has.
    """
    for name in (*setting_kinds(RunSettings), *GROUPS):
        state["settings"][name]
    if hash_settings(state["settings"]) != state["identity"]["settings"]:
        raise ValueError("its settings are not those that it was saved with")


def backend_of(state: Mapping[str, Any]) -> str:
    """The backend that the run was saved with, which it goes on with.

    Raises ``ValueError``, and ``InvalidCommand`` where it needs what is not installed.
    """
    backend = state["identity"]["backend"]
    if backend not in ("torch", "compiled"):
        raise ValueError(f"backend={backend}")
    refuse_missing_backend(backend, "the run was begun with backend=compiled")
    return str(backend)


def refuse_other_spaces(state: Mapping[str, Any], run: Run) -> None:
    """Raises ``InvalidCommand`` where the environment has other observations or actions than when the
    run was saved.
    """
    now = describe_run(run)
    for name, plural in (("observation", "observations"), ("action", "actions")):
        before = escape_line(str(state["identity"][name]))
        if before != now[name]:
            raise InvalidCommand(
                run.envs.name,
                None,
                f"its {plural} are {now[name]}, and were {before} when the run was saved: the "
                "environment has changed",
                "put back what it was, or start a new run",
            )


def describe_space(space: Any) -> str:
    """Kind, size, type and bounds, the same under every version of gymnasium."""
    match space:
        case spaces.Box():
            return (
                f"Box {list(space.shape)} {space.dtype} from {summarise_numbers(space.low)} to "
                f"{summarise_numbers(space.high)}"
            )
        case spaces.Discrete():
            return f"Discrete {int(space.n)} from {int(space.start)}"
        case spaces.MultiDiscrete():
            return f"MultiDiscrete {summarise_numbers(space.nvec)} from {summarise_numbers(space.start)}"
        case spaces.MultiBinary():
            return f"MultiBinary {list(space.shape)}"
        case spaces.Tuple():
            return f"({'; '.join(map(describe_space, space.spaces))})"
        case spaces.Dict():
            return f"{{{'; '.join(f'{key}: {describe_space(part)}' for key, part in space.spaces.items())}}}"
    return type(space).__name__


def summarise_numbers(numbers: np.ndarray) -> str:
    """One number where all are the same; many numbers by a hash."""
    flat = numbers.ravel()
    if flat.size and (flat == flat[0]).all():
        return str(flat[0].item())
    return str(flat.tolist()) if flat.size <= FEW else f"#{hashlib.sha256(flat.tobytes()).hexdigest()[:12]}"


def find_code_to_name_again(settings: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[str]:
    """What the command has to say again."""
    env = str(settings["env"]["id"])
    if ":" in env and "env" not in named and "env.id" not in named:
        yield f"env={env}"
    wrappers = settings["env"].get("wrappers") or ()
    if find_user_modules(wrappers) and "env.wrappers" not in named:
        yield f"env.wrappers={format_wrappers(wrappers)}"
    if settings["modules"] and "modules" not in named:
        yield f"modules=[{','.join(settings['modules'])}]"


def format_resume_command(settings: Mapping[str, Any], folder: Path) -> str:
    """The command that resumes the run, as it is typed in a shell, with the user's code that has to be named
    again.
    """
    return shlex.join(["pgrun", f"resume={shorten_folder(folder)}", *find_code_to_name_again(settings, {})])
