"""Checkpoints: nested state as one safetensors file and one JSON file, without
pickle; complete or not there at all.

    checkpoints/000012345.safetensors    every tensor and array, by its path in the tree;
                                         the tree itself as JSON metadata
    checkpoints/000012345.json           the manifest: size and SHA-256 of the other;
                                         written last, so that it says "complete"

The number is the environment steps. Each file is written beside its place, flushed to disk and moved there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError

from pgrun import atomic_files
from pgrun.errors import join_lines

if TYPE_CHECKING:
    from torch import Tensor


FORMAT = 2  # of what is written here
UNLIKE = "not what its manifest says: truncated or changed"
NAME = re.compile(r"\d{9,}\.json")
UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError, SafetensorError
)  # fmt: skip


KEPT = 2  # of a run's checkpoints


class Checkpoints:
    """The checkpoints of one run: the ``KEPT`` newest."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, env_steps: int, state: Mapping[str, Any]) -> None:
        """Raises ``OSError`` and leaves the earlier ones as they are where the disk refuses."""
        from safetensors.torch import save  # loads torch, which a resume that is refused does without

        atomic_files.refuse_links(self.folder)
        self.folder.mkdir(exist_ok=True)
        tensors: dict[str, Tensor] = {}
        tree = json.dumps(pack_tree(state, "", tensors))
        content = save(tensors, {"tree": tree})
        place = self.folder / f"{env_steps:09d}.safetensors"
        atomic_files.write_bytes(place, content)
        manifest = {
            "format": FORMAT,
            "size": len(content),
            "sha256": hash_content(content),
            "env_steps": env_steps,
        }
        atomic_files.write_bytes(place.with_suffix(".json"), json.dumps(manifest).encode())
        self.forget(env_steps)

    def complete(self) -> list[Path]:
        """Manifests, oldest first."""
        paths = [path for path in self.folder.glob("*.json") if NAME.fullmatch(path.name)]
        return sorted(paths, key=lambda path: int(path.stem))

    def load(self) -> tuple[dict[str, Any], list[str]]:
        """(the newest state that is whole, what is wrong with newer ones).

        Raises ``LookupError`` where there is none.
        """
        problems: list[str] = []
        try:
            atomic_files.refuse_links(self.folder)
        except OSError as error:
            raise LookupError(describe_read_error(error)) from error
        for manifest in reversed(self.complete()):
            try:
                return read_checkpoint(manifest), problems
            except UNREADABLE as error:
                problems.append(f"{manifest.with_suffix('.safetensors')}: {describe_read_error(error)}")
        raise LookupError("; ".join(problems) or f"no checkpoint in {self.folder}")

    def forget(self, env_steps: int) -> None:
        """All but the newest up to ``env_steps``: later ones are of a future that was given up, and cannot be
        read or trusted.

        The manifest goes first: what is left without one does not count. So do remains of an interrupted
        save.
        """
        complete = self.complete()
        kept = [path for path in complete if int(path.stem) <= env_steps][-KEPT:]
        for manifest in set(complete).difference(kept):
            manifest.unlink(missing_ok=True)
        stems = {path.stem for path in kept}
        for path in [*self.folder.glob("*.safetensors"), *self.folder.glob(".*.part")]:
            if path.stem not in stems:
                path.unlink(missing_ok=True)


def read_checkpoint(manifest: Path) -> dict[str, Any]:
    """The state that a manifest vouches for. Raises where anything is not as it says."""
    told = atomic_files.read_json(manifest)
    if told["format"] != FORMAT:
        raise ValueError(f"format {told['format']}, this pgrun reads {FORMAT}")
    data = manifest.with_suffix(".safetensors")
    if data.lstat().st_size != told["size"]:  # before a terabyte is read
        raise ValueError(UNLIKE)
    content = atomic_files.read_bytes(data)
    if len(content) != told["size"] or hash_content(content) != told["sha256"]:
        raise ValueError(UNLIKE)
    from safetensors.torch import load  # loads torch, which nothing damaged is worth

    tensors = load(content)
    length = int.from_bytes(content[:8], "little")
    tree = json.loads(content[8 : 8 + length])["__metadata__"]["tree"]
    state = unpack_tree(json.loads(tree), tensors)
    if not isinstance(state, dict):
        raise ValueError("no state of a run")
    return state


def describe_read_error(error: BaseException) -> str:
    return (
        f"{error.strerror}: {error.filename}"
        if isinstance(error, OSError)
        else join_lines(error) or type(error).__name__
    )


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack_tree(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The tree as JSON; tensors and arrays go to ``tensors`` and leave their path."""
    if isinstance(node, torch.Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(node, np.ndarray):
        tensors[path] = torch.from_numpy(np.array(node, order="C"))
        return {"array": path}
    if isinstance(node, Mapping):
        return {"items": [[key, pack_tree(x, f"{path}/{key}", tensors)] for key, x in node.items()]}
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [pack_tree(x, f"{path}/{i}", tensors) for i, x in enumerate(node)]}
    if isinstance(node, np.generic):
        return node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"{path}: {type(node).__name__} cannot be saved")


def unpack_tree(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse."""
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "items":
        return {key: unpack_tree(x, tensors) for key, x in content}
    made: Iterator[Any] = (unpack_tree(x, tensors) for x in content)
    return {"list": list, "tuple": tuple}[kind](made)
