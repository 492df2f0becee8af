"""What a run has left, as far as it must not depend on whether it was ever interrupted."""

from __future__ import annotations

import csv
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from pgrun.compiled.iterations.on_policy import OnPolicyIterations
from pgrun.compiled.iterations.replayed import ReplayedIterations
from pgrun.envs.vector import Envs
from pgrun.kernels import simulators
from pgrun.kernels.iterations import STEPS
from pgrun.rollouts.compiled_player import Player
from pgrun.storage.checkpoint import Checkpoints, pack_tree

TIMES = ("wall_seconds", "eval_seconds", "env_steps_per_second")


def rows(folder: Path) -> list[dict[str, str]]:
    collected = list(csv.DictReader((folder / "metrics.csv").open()))
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in collected]


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    """Of all event files together."""
    collected = []
    for path in sorted(folder.glob("events.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("tensor") and value.tensor.float_val and not value.tag.startswith("time/"):
                    collected.append((event.step, value.tag, value.tensor.float_val[0]))
    return sorted(collected)


def told(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    return {key: x for key, x in summary.items() if key not in TIMES}


def trace(folder: Path) -> dict[str, str]:
    """A hash of each thing that two runs must have in common, bit for bit."""
    state, problems = Checkpoints(folder / "checkpoints").load()
    assert problems == [], problems
    parts: dict[str, Any] = {"summary": told(folder), "metrics": rows(folder), "events": scalars(folder)}
    parts |= {path.name: path.read_bytes() for path in folder.glob("*policy.*")}
    parts |= {f"checkpoint/{name}": content(state[name]) for name in ("run", "counters", "final", "settings")}
    return {name: hashlib.sha256(repr(x).encode()).hexdigest() for name, x in parts.items()}


def content(node: Any) -> tuple[str, list[tuple[str, bytes]]]:
    tensors: dict[str, Any] = {}
    tree = json.dumps(pack_tree(node, "", tensors))
    return tree, [(name, x.numpy().tobytes()) for name, x in sorted(tensors.items())]


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in {**one, **other} if one.get(name) != other.get(name))


class StepCounter:
    """Steps that ``columns`` environments really make, counted where they are made; a reset, or a column that
    waits, is none.
    """

    def __init__(self, columns: int):
        self.columns, self.steps = columns, 0
        real = Envs.step

        def step(envs: Envs, action: np.ndarray) -> Any:
            if envs.num_envs == columns:
                self.steps += int((envs.active & ~envs.ended).sum())
            return real(envs, action)

        Envs.step = step  # type: ignore[method-assign]
        fill = Player.fill

        def fill_and_count(player: Player, records: Any, turns: Any, noise: Any) -> Any:
            """Rows of columns that had not had their share of episodes before."""
            done, share = turns[0].copy(), turns[1]
            actual = fill(player, records, turns, noise)
            if player.envs.num_envs == columns:
                terminated, truncated, mask = records.flags[:, : actual[0]]
                ended = (terminated | truncated).astype(int)
                self.steps += int((mask & (done + ended.cumsum(0) - ended < share)).sum())
            return actual

        Player.fill = fill_and_count  # type: ignore[method-assign]
        play, counting = simulators.play_simulators, threading.Lock()

        def play_and_count(part: tuple[int, int], *given: Any) -> Any:
            """A step makes the clock of its column one more; resets are done before. Other columns are played
            meanwhile.
            """
            elapsed = given[-9]
            before = elapsed[slice(*part)].sum()
            actual = play(part, *given)
            if len(elapsed) == columns:
                with counting:
                    self.steps += int(elapsed[slice(*part)].sum() - before)
            return actual

        simulators.play_simulators = play_and_count
        for kind in (OnPolicyIterations, ReplayedIterations):
            for name in ("call_whole", "call_collect"):
                setattr(kind, name, self.counting(getattr(kind, name)))

    def counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same, of whole iterations, whose kernels count their steps."""

        def call_and_count(*given: Any) -> Any:
            counts, finished = call(*given)
            self.steps += int(counts[STEPS])
            return counts, finished

        return call_and_count
