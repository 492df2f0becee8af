"""What ``seeds=[…]`` may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgrun.errors import Mistake


def find_wrong_seeds(settings: Mapping[str, Any], typed: Sequence[str]) -> Iterator[Mistake]:
    """What is wrong with ``seeds``; ``typed``: the keys that the command names."""
    seeds = settings.get("seeds")
    if not isinstance(seeds, list):
        return
    shown = f"seeds=[{','.join(map(str, seeds))}]"
    if "seed" in typed:
        yield Mistake(f"seed and {shown}", None, "one of them")
    if not seeds:
        yield Mistake("seeds", "[]", "name at least one, such as seeds=[0,1,2]; seeds=null goes back to seed")
    elif len(set(map(str, seeds))) < len(seeds):
        yield Mistake(shown, None, "the same seed twice is no second sample")
