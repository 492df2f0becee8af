"""A user's own MDP from a small file, as
``env=pgrun/Table-v0 env.kwargs.file=my.yaml``: data, nothing in it is executed.

YAML, with P[s][a] = a list of [probability, next state, reward, whether the episode ends there]:

    start: [1, 0]                      # distribution of the first state [S]
    P:
      - - [[1.0, 1, 0.0, false]]       # state 0, action 0
        - [[0.5, 0, 1.0, false], [0.5, 1, 0.0, true]]
      - …
    seen: [0, 0]                       # optional: the observation in each state [S]

NumPy (.npz): ``P`` [S, A, S] the chances of s' (what is missing to 1 ends the episode, reward R too), ``R``
[S, A] or [S, A, S], ``start`` [S], and optionally ``seen`` [S].
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pgrun.atomic_files import read_bytes, show_size
from pgrun.config.plain_yaml import load_yaml
from pgrun.envs.problems.teaching import Outcomes, Table, Tabular
from pgrun.envs.problems.transitions import OUTCOME, ROUNDING, check_transitions

TEXT = 8 * 2**20  # bytes of YAML
ENTRIES = 2_000_000  # numbers and lists in it, or outcomes of arrays: some seconds
UNPACKED = 256 * 2**20  # bytes of arrays


def load_mdp(file: str = "") -> Tabular:
    """Raises ``ValueError`` where the file is no MDP, saying which entry, and
    ``OSError`` where it cannot be read.
    """
    if not file:
        raise ValueError("name the file that holds it: add env.kwargs.file=my_mdp.yaml")
    path = Path(file)
    if path.suffix == ".npz":
        content: Mapping[str, Any] = problem_from_arrays(
            read_arrays(read_bytes(path, links=True, most=UNPACKED))
        )
    else:
        content = load_yaml(read_bytes(path, links=True, most=TEXT), ENTRIES)
    if not isinstance(content, Mapping) or not {"P", "start"} <= set(content):
        raise ValueError(f"{file} must hold P and start, and may hold seen")
    if unknown := [str(name) for name in content if name not in ("P", "start", "seen")]:
        raise ValueError(f"{unknown[0]}: no such entry; there are P, start and seen")
    table, seen = tabulate_lists(content["P"]), content.get("seen")
    check_transitions(table, content["start"], seen)
    return Tabular(table, list(content["start"]), seen)


def tabulate_lists(by_state: Any) -> Table:
    """P[s][a] as lists becomes that of gymnasium. Raises ``ValueError`` where it is not nested so."""
    parts = by_state if isinstance(by_state, list) else [None]
    if not all(isinstance(part, list) and all(isinstance(x, list) for x in part) for part in parts):
        raise ValueError(f"P must be a list by state of lists by action of lists of {OUTCOME}")
    return {s: dict(enumerate(by_action)) for s, by_action in enumerate(by_state)}


def read_arrays(packed: bytes) -> dict[str, np.ndarray]:
    """The arrays of a .npz.

    Raises ``ValueError`` where they are more than is read, which their headers say before they are unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as members:
            sizes = {member.filename: unpacked_size(members, member) for member in members.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise ValueError(f"no .npz: {error}") from error
    if sum(sizes.values()) > UNPACKED:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"unpacked it is larger than {show_size(UNPACKED)}: {largest} has {sizes[largest]:,} bytes"
        )
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def unpacked_size(members: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes, by the archive's list or by the array's own shape: NumPy sets aside what the latter says."""
    with members.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
    return max(member.file_size, math.prod(shape) * dtype.itemsize)


def problem_from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arrays of a .npz as the nested lists of a problem."""
    if not {"P", "R", "start"} <= set(arrays) or arrays["P"].ndim != 3:
        raise ValueError("a .npz must hold P [S, A, S], R [S, A] or [S, A, S], and start [S]")
    chances, reward = arrays["P"], arrays["R"]
    for name, x in arrays.items():
        if x.dtype.kind not in "fiu":
            raise ValueError(f"{name} must be of real numbers, not {x.dtype}")
    if chances.shape[0] != chances.shape[2]:
        raise ValueError(f"P must be [S, A, S], and is {list(chances.shape)}")
    if reward.shape not in (chances.shape, chances.shape[:2]):
        raise ValueError(f"R must be {list(chances.shape[:2])} or {list(chances.shape)}, like P")
    reward = np.broadcast_to(reward if reward.ndim == 3 else reward[:, :, None], chances.shape)

    def outcomes(s: int, a: int) -> Outcomes:
        goes_on = [
            (float(chances[s, a, n]), n, float(reward[s, a, n]), False)
            for n in chances[s, a].nonzero()[0].tolist()
        ]
        left = 1 - float(chances[s, a].sum())
        return goes_on + ([(left, s, float(reward[s, a, s]), True)] if left > ROUNDING else [])

    states, actions, _ = chances.shape
    if (entries := np.count_nonzero(chances) + states * actions) > ENTRIES:
        raise ValueError(f"{entries:,} outcomes: at most {ENTRIES:,} are read")
    rest = {name: x.tolist() for name, x in arrays.items() if name not in ("P", "R")}
    table = [[outcomes(s, a) for a in range(actions)] for s in range(states)]
    return {"P": table, **rest}
