"""When a run is saved, and what of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun import __version__
from pgrun.config.own_code import require_state
from pgrun.config.own_state import OwnState
from pgrun.envs.faults import Unrepeatable
from pgrun.errors import EnvironmentFault, InvalidCommand, escape_line, join_lines
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.identity import describe_run, refuse_other_spaces
from pgrun.training.nonfinite import watch_state
from pgrun.training.run_folder import HeldFolder

if TYPE_CHECKING:
    import numpy as np

    from pgrun.algorithms.base import Algorithm
    from pgrun.training.build import Run
    from pgrun.training.counters import Clock, Counters

SHARE = 0.02  # of the wall time that saving takes at most, where no cadence is set
LEAST = 5.0  # seconds between two saves: so much a crash may cost
LATER = ("continued",)  # counters that checkpoints of earlier days do not have
log = logging.getLogger(__name__)


class Saver:
    """Every ``every`` environment steps; without it as often as ``SHARE`` of the time allows.

    Saving changes nothing in the run.
    """

    def __init__(self, folder: Path, every: int | None):
        self.held, self.checkpoints = HeldFolder(folder), Checkpoints(folder / "checkpoints")
        self.every, self.saved_at = every, 0
        self.next_time = time.monotonic() + LEAST
        self.own_state, self.told = OwnState(), False  # what a resumed run would begin anew

    def close(self) -> None:
        self.held.close()

    def refuse_lost_folder(self) -> None:
        """Before anything is written. Raises ``RunFilesLost``."""
        self.held.refuse_if_lost(self.saved_at)

    def due(self, env_steps: int) -> bool:
        if self.every is not None:
            return env_steps // self.every > self.saved_at // self.every
        return time.monotonic() >= self.next_time

    def save(
        self,
        run: Run,
        counters: Counters,
        clock: Clock,
        position: Mapping[str, int],
        final: np.ndarray | None = None,
        row: Mapping[str, float] | None = None,
    ) -> None:
        """``position``: of the log. ``final``: returns of the final evaluation, of a run that is over.

        ``row``: of an update that is trained and not logged, scalars that wait for the evaluation that comes
        next.
        """
        start = time.monotonic()
        own = run.state_dict()
        self.look_at_own_state(run.algorithm, own["algorithm"])
        state = {
            "settings": dict(run.settings),
            "identity": describe_run(run),
            "run": own,
            "counters": asdict(counters),
            "clock": asdict(clock),
            "log": dict(position),
            "final": final,
            "row": None if row is None else dict(row),
        }
        watch_state(state["run"], counters)
        self.checkpoints.save(counters.env_steps, state)
        self.saved_at = counters.env_steps
        self.next_time = time.monotonic() + max(LEAST, (time.monotonic() - start) / SHARE)

    def look_at_own_state(self, algorithm: Algorithm, state: Any) -> None:
        """Raise ``OwnCodeFault`` where an algorithm's ``state_dict`` gave what no checkpoint can hold; say
        once what it keeps and does not give.
        """
        require_state(algorithm.state_dict, state)
        if not self.told and (forgotten := self.own_state.find_forgotten(algorithm, state)):
            self.told = True
            log.warning(
                "%s changes %s, which its state_dict does not give: a run that is resumed begins anew with "
                "what it was at the start, and is another run",
                type(algorithm).__name__,
                ", ".join(forgotten),
            )


def restore_run(state: Mapping[str, Any], run: Run, counters: Counters, clock: Clock) -> bool:
    """Everything as it was when ``state`` was saved; False where episodes had to begin anew.

    Raises ``InvalidCommand`` where that is no state of such a run, or where episodes would have to begin anew
    and nobody has allowed it.
    """
    with refusing_bad_data("its checkpoint does not belong to its configuration", state):
        refuse_other_spaces(state, run)
        for problem in find_state_mismatches(run.state_dict(), state["run"], ""):
            raise OtherLayout(problem)
        if not all(type(size) is int for size in state["log"].values()):
            raise ValueError(f"log={state['log']}")
        if not (state["final"] is None or (state["final"].ndim == 1 and len(state["final"]))):
            raise ValueError("its final evaluation is no list of returns")
        if not all(type(x) is float for x in (state["row"] or {}).values()):
            raise ValueError(f"row={state['row']}")
        for record, name in ((counters, "counters"), (clock, "clock")):
            restore_counters(record, state[name])
        try:
            run.load_state_dict(state["run"])
        except Unrepeatable as error:
            restart_episodes(run, counters, error)
            return False
    return True


def restart_episodes(run: Run, counters: Counters, error: Unrepeatable) -> None:
    """With fresh episodes, where ``env.restart`` allows it; else raises the error with what to type."""
    if not run.settings["env"].get("restart"):
        remedy = "to go on with fresh episodes add env.restart=true"
        raise InvalidCommand(run.envs.name, None, error, remedy) from error
    log.warning(
        "%s: %s; it goes on with fresh episodes (env.restart=true): not the run that never stopped",
        run.envs.name,
        error,
    )
    counters.restarts.append((counters.env_steps, run.envs.num_envs))
    run.begin_episodes_anew(len(counters.restarts))


def restore_counters(record: Counters | Clock, given: Mapping[str, Any]) -> None:
    """Numbers for numbers, none of them negative but the best return; pairs of numbers for the episodes."""
    for name, now in vars(record).items():
        value = given.get(name, now) if name in LATER else given[name]
        if isinstance(now, list):
            right = all(isinstance(x + y, float | int) for x, y in value)
        else:
            right = type(value) is type(now) and (value >= 0 or name == "best")
        if not right:
            raise ValueError(f"{name}={value}")
        setattr(record, name, value)


def find_state_mismatches(expected: Any, given: Any, path: str) -> Iterator[str]:
    """Places where ``given`` has another type, shape or name than ``expected``;
    numbers may differ, and lists in length.
    """
    if isinstance(expected, Mapping):
        for name in expected:
            if not isinstance(given, Mapping) or name not in given:
                yield f"{path}/{name} is not in it"
            else:
                yield from find_state_mismatches(expected[name], given[name], f"{path}/{name}")
    elif hasattr(expected, "shape"):
        there = (type(given), getattr(given, "dtype", None), tuple(getattr(given, "shape", ())))
        if there != (type(expected), expected.dtype, tuple(expected.shape)):
            yield f"{path}: {expected.dtype} {list(expected.shape)} wanted, not {there[1]} {list(there[2])}"


class OtherLayout(ValueError):
    """A checkpoint does not hold what this pgrun saves."""


@contextmanager
def refusing_bad_data(what: str, saved: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Raise ``InvalidCommand`` where a file, which is data from anywhere, makes no sense in any way.

    ``saved``: the checkpoint that it is about; what it lacks may be new since it was written.
    """
    try:
        yield
    except (InvalidCommand, EnvironmentFault, OSError):
        raise
    except (KeyError, OtherLayout) as error:
        if saved is None:
            raise InvalidCommand(what, None, f"{type(error).__name__}: {join_lines(error)}") from error
        missing = isinstance(error, KeyError)
        lack = f"{error.args[0]} is not in it" if missing else str(error)
        raise InvalidCommand(
            what,
            None,
            f"{join_lines(lack)}: it was saved by {name_writer(saved)}, which keeps other things of a run",
            "go on with the pgrun that saved it, or start a new run",
        ) from error
    except Exception as error:
        raise InvalidCommand(what, None, f"{type(error).__name__}: {join_lines(error)}") from error


def name_writer(saved: Mapping[str, Any]) -> str:
    """The pgrun that wrote a checkpoint, as far as that says."""
    identity = saved.get("identity")
    versions = identity.get("versions") if isinstance(identity, Mapping) else None
    version = versions.get("pgrun") if isinstance(versions, Mapping) else None
    if version is None:
        return "an earlier pgrun"
    earlier = "an earlier state of " if version == __version__ else ""
    return f"{earlier}pgrun {escape_line(str(version))[:40]}"
