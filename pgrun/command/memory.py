"""Whether a run fits into memory: a rough estimate from below, for commands with a few zeros too many."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym

from pgrun.errors import Mistake

FLOAT = 4
COPIES = 6  # θ, gradient, two moments, and what a checkpoint and an update hold at the same time
COLUMN = 4096  # bytes of one environment, at least


def find_too_large(settings: Mapping[str, Any], env: gym.Env) -> Iterator[Mistake]:
    """What takes most of it, where all together is more than the machine has."""
    parts = estimate_memory(settings, env)
    total, (there, whose) = sum(parts.values()), memory_limit()
    if total > there:
        key = max(parts, key=lambda name: parts[name])
        given = find_requested_value(settings, key)
        yield Mistake(
            key,
            given,
            (
                f"the run would take at least {total / 1000000000.0:,.0f} GB, and {whose} "
                f"{there / 1000000000.0:,.0f} GB: "
                f"{('take an environment with smaller observations' if key == 'env' else 'take less')}"
            ),
        )


def memory_limit(cgroups: Path = Path("/sys/fs/cgroup")) -> tuple[float, str]:
    """(bytes that a run may have, whose limit that is): the least of machine, process and container."""
    limits = [(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")), "this machine has")]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft = resource.getrlimit(kind)[0]
        if soft != resource.RLIM_INFINITY:
            limits.append((float(soft), "this process may have (ulimit)"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroups, version 2 and 1
        try:
            limits.append((float((cgroups / name).read_text()), "this container may have"))
        except (OSError, ValueError):  # none of that version, or "max"
            continue
    return min(limits)


def find_requested_value(settings: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.partition(".")
    return settings[group][name] if name else settings[group]["id"]


def estimate_memory(settings: Mapping[str, Any], env: gym.Env) -> dict[str, float]:
    """Bytes, by the setting that asks for them."""
    from pgrun.envs.spaces import observation_encoder

    size, _ = observation_encoder(env.observation_space)
    hidden = [float(n) for n in settings["network"].get("hidden") or ()]
    sampler, columns = settings["sampler"], float(settings["env"]["num_envs"])
    row = FLOAT * (2 * size + sum(hidden) + 10)
    kept = {f"sampler.{name}": count * row for name, count in count_kept_rows(sampler, columns).items()}
    if columns > sampler.get("steps", columns):  # the larger factor of steps × environments
        kept["env.num_envs"] = kept.pop("sampler.steps")
    kept["env.num_envs"] = kept.get("env.num_envs", 0.0) + columns * (COLUMN + FLOAT * size)
    return {
        "network.hidden": FLOAT * COPIES * sum(a * b for a, b in pairwise([*hidden, 1.0])),
        "env": FLOAT * COPIES * size * (hidden[0] if hidden else 1.0),
        "trainer.eval_episodes": settings["trainer"]["eval_episodes"] * (COLUMN + row),
        **kept,
    }


def count_kept_rows(sampler: Mapping[str, Any], columns: float) -> dict[str, float]:
    """How many rows of the networks' inputs are kept at the same time; of an episode one at least."""
    counts = {
        "steps": sampler.get("steps", 0) * columns,
        "episodes": sampler.get("episodes", 0),
        "batch": sampler.get("batch", 0),
        "capacity": sampler.get("capacity", 0),
    }
    return {name: float(count) for name, count in counts.items() if name in sampler}
