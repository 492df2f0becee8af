"""YAML from anywhere as plain data: no tags of Python's, and no more of it than its text is worth."""

from __future__ import annotations

from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, ten times as fast
DEPTH = 20  # of collections in collections: more overflows C's stack
NODES = 100_000


def load_yaml(text: str | bytes, nodes: int = NODES) -> Any:
    """Raises ``ValueError`` where it could exhaust whoever reads it, and
    ``yaml.YAMLError`` where it is no YAML.
    """
    refuse_bombs(text, nodes)
    return yaml.load(text, LOADER)


def refuse_bombs(text: str | bytes, most: int) -> None:
    """An alias counts with all that it stands for, since it is read again wherever it stands: aliases of
    aliases multiply, and so do the merge keys that name them.
    """
    sizes: dict[str, int] = {}  # of what an anchor names, once it is complete
    under_way: list[tuple[str | None, int]] = []  # (anchor, nodes before it) of the collections that are open
    count = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"an alias, {event.anchor}, of what it is in itself")
            count += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            under_way.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = under_way.pop()
            sizes |= {anchor: count - before} if anchor else {}
        if len(under_way) > DEPTH:
            raise ValueError("nested too deeply")
        if count > most:
            raise ValueError(f"more than {most:,} entries, with what its aliases stand for")
