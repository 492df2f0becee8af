"""What an algorithm of the user's keeps from update to update, and whether its ``state_dict`` gives it."""

from __future__ import annotations

import dis
import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import isfunction
from typing import Any

from pgrun.config.user_modules import IMPORTED


class OwnState:
    """Watches the attributes that are the user's, from checkpoint to checkpoint."""

    def __init__(self) -> None:
        self.first: dict[str, str] | None = None  # attributes at the first checkpoint, digested

    def find_forgotten(self, thing: Any, state: Mapping[str, Any]) -> list[str]:
        """Those that are not as they were at the first checkpoint, and that its ``state`` has not: settings
        among them, and what was put into a list. ``recomputed`` names those that each update makes anew.
        """
        present = {name: digest_value(vars(thing)[name]) for name in list_own_attributes(thing)}
        if self.first is None:
            self.first = present
        changed = {name for name, digest in present.items() if self.first.get(name) != digest}
        return sorted(changed - set(state) - set(getattr(thing, "recomputed", ())))


def list_own_attributes(thing: Any) -> set[str]:
    """Attributes that the user's classes declare as no setting, or assign in a method."""
    own = [kind for kind in type(thing).__mro__ if kind.__module__ in IMPORTED]
    if not own:
        return set()
    methods = [item for kind in own for item in vars(kind).values() if isfunction(item)]
    steps = [step for method in methods for step in dis.get_instructions(method)]
    assigned = {str(step.argval) for step in steps if step.opname == "STORE_ATTR"}
    inherited = next((kind for kind in type(thing).__mro__ if kind not in own and is_dataclass(kind)), None)
    known = {each.name for each in fields(inherited)} if inherited else set()
    declared = {each.name for each in fields(thing) if not each.init} - known
    return {name for name in vars(thing) if name in assigned | declared}


def digest_value(value: Any) -> str:
    """The same for what a checkpoint would hold alike."""
    digest = hashlib.sha256()
    for part in iterate_parts(value):
        digest.update(part)
    return digest.hexdigest()


def iterate_parts(value: Any) -> Iterator[bytes]:
    """Its kind and its content, of tensors and arrays to the last bit; of other objects the kind alone."""
    yield type(value).__name__.encode()
    if hasattr(value, "detach"):
        value = value.detach().cpu().contiguous().numpy()
    if hasattr(value, "tobytes"):
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield repr(key).encode()
            yield from iterate_parts(inner)
    elif isinstance(value, list | tuple | deque):
        for inner in value:
            yield from iterate_parts(inner)
    elif isinstance(value, bool | int | float | str | bytes | None):
        yield repr(value).encode()
