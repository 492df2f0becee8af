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
    found = VERSION.fullmatch(name)
    return found[1] if found else name


def version_of(name: str) -> int:
    found = VERSION.fullmatch(name)
    return int(found[2]) if found else -1
