"""The jobs of a long sweep without composing each."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import reduce

from pgrun.command.app import App
from pgrun.command.compose import Job, compose_one, composing_with_hydra, drop_seed_words, split_sweep
from pgrun.command.overrides import CliOverride, Command


def compose_options(command: Command, app: App) -> Iterator[Job]:
    """The jobs of a command, one of several seeds: composed where they choose other options, and the values
    put in where they only set others, which takes a tenth of the time.
    """
    composed: dict[tuple[str, ...], Job] = {}
    with composing_with_hydra(None, app):
        sets = {drop_seed_words(words): words for words in split_sweep(command, [])}
        swept = {word for words in sets for word in words} - set.intersection(*map(set, sets))
        for words in sets.values():
            others = [
                word for word in words if word.text in swept and "." in word.key and "/" not in word.text
            ]
            kind = tuple(word.text for word in words if word not in others and word.key != "seed")
            if kind not in composed:
                composed[kind] = compose_one(words, command.multirun, 0, app.config)
            yield with_values(composed[kind], others)


def with_values(job: Job, words: list[CliOverride]) -> Job:
    """The job with other values of settings that it has."""
    settings = deepcopy(job.settings)
    for word in words:
        *path, last = word.key.split(".")
        section = reduce(lambda tree, key: tree[key], path, settings)
        assert last in section, word
        section[last] = word.value
    return replace(job, settings=settings, words=words)
