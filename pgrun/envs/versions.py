"""Versions of an environment: ``CartPole-v4`` is none, and ``LunarLander-v2`` is one of before."""

from __future__ import annotations

import re
from collections.abc import Iterable

VERSION = re.compile(r"(.+?)-?v(\d+)")


def newest_version(name: str, ids: Iterable[str]) -> str | None:
    """The newest id that is ``name`` but for its version and its capitals; None if there is none."""
    base = base_of(name).lower()
    same = [known for known in ids if base_of(known).lower() == base and known != name]
    return max(same, key=version_of, default=None)


def base_of(name: str) -> str:
    match = VERSION.fullmatch(name)
    return match[1] if match else name


def version_of(name: str) -> int:
    match = VERSION.fullmatch(name)
    return int(match[2]) if match else -1
