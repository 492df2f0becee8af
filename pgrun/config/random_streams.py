"""The random streams of a run and the seeds of its environments, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

SEED, STREAM, NUMBER = (
    17,
    4,
    10,
)  # bits of a seed for an environment: the run's seed, which of its streams, which column
RESTART, SHARED, SHARED_IN_EVALUATION = 5, 6, 7  # numbers of children, after the five of ``make_streams``
WHOLE = 2 ** (SEED + STREAM + NUMBER) - 1
ODD = (0x7FEB352D, 0x046CA68B)  # factors of ``scatter_numbers``


@dataclass(frozen=True)
class Streams:
    """Independent random streams of one seed, spawned: no two seeds share one, as seed + i would.

    What an update draws is drawn on the run's device, so that it waits for no copy; the first parameters are
    drawn on the CPU, so that they are the same on every device.
    """

    init: torch.Generator
    noise: torch.Generator
    shuffle: torch.Generator
    envs: np.random.SeedSequence
    evaluation: np.random.SeedSequence


def make_streams(seed: int, device: str) -> Streams:
    init, noise, shuffle, envs, evaluation = np.random.SeedSequence(seed).spawn(5)
    return Streams(
        make_generator(init, "cpu"),
        make_generator(noise, device),
        make_generator(shuffle, device),
        envs,
        evaluation,
    )


def spawn_child_sequence(seed: int, *key: int) -> np.random.SeedSequence:
    """The child that ``spawn`` would give under this number."""
    return np.random.SeedSequence(seed, spawn_key=key)


def make_generator(sequence: np.random.SeedSequence, place: str = "cpu") -> torch.Generator:
    """One of torch's, begun from 63 bits of the sequence."""
    return torch.Generator(place).manual_seed(int(sequence.generate_state(1, np.uint64)[0]) >> 1)


def draw_env_seeds(sequence: np.random.SeedSequence, count: int) -> list[int]:
    """``count`` seeds for environments, of 31 bits: NumPy's old generators, which
    many environments have, take 32.

    For the first 1024 of a stream of a seed below 2¹⁷ they are (seed, stream, number) in another order: no
    two are equal. The others are drawn from the sequence, and equal to another one by chance, 1 in 2³¹.
    """
    env_seeds = sequence.generate_state(count).astype(np.int64) >> 1
    seed, key = sequence.entropy, sequence.spawn_key
    if isinstance(seed, int) and seed < 2**SEED and len(key) == 1 and key[0] < 2**STREAM:
        number = np.arange(min(count, 2**NUMBER))
        env_seeds[: len(number)] = scatter_numbers((seed << STREAM | key[0]) << NUMBER | number)
    numbers: list[int] = env_seeds.tolist()
    return numbers


def seed_global_generators(sequence: np.random.SeedSequence) -> None:
    """Seed the generators that everything in the process shares: nothing of pgrun's draws from them,
    environments of users may.
    """
    python, legacy, tensors = (int(x) for x in sequence.generate_state(3))
    random.seed(python)
    np.random.seed(legacy)
    torch.default_generator.manual_seed(tensors)


@contextmanager
def isolating_global_generators(sequence: np.random.SeedSequence) -> Iterator[None]:
    """With the global generators begun from ``sequence`` in between, and as they were afterwards."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_global_generators(sequence)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])


@contextmanager
def noting_global_draws() -> Iterator[list[str]]:
    """The names of the global generators that were drawn from in between, there at the end."""
    used: list[str] = []
    before = fingerprint_global_generators()
    yield used
    used += [name for name, state in fingerprint_global_generators().items() if state != before[name]]


def fingerprint_global_generators() -> dict[str, object]:
    _, keys, *rest = np.random.get_state(legacy=True)
    return {
        "Python's global generator (random)": random.getstate(),
        "NumPy's global generator (np.random)": (np.asarray(keys).tobytes(), *rest),
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
    }


def scatter_numbers(x: np.ndarray) -> np.ndarray:
    """A permutation of the numbers of 31 bits after which neighbours have nothing in
    common: each step can be undone.
    """
    for factor in ODD:
        x = (x ^ (x >> 16)) * factor & WHOLE
    mixed: np.ndarray = x ^ (x >> 15)
    return mixed
