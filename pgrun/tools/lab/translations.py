"""The Chinese texts of the laboratory, in chinese/: a file a group, and labels.yaml for tables.

Formulas, commands and measured numbers are not written a second time. {0}, {1} … of a translated sentence are
the numbers of the English one, counted from its beginning. ``of`` holds digests of the English texts that a
translation was made from: where they differ, the English has changed since.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pgrun.tools.lab.experiment import Experiment

# no sign of subtraction (K − 1, K−1), and no part of a name (td0)
NUMBER = re.compile(r"(?:(?<![\w)])[-+−])?(?<![A-Za-z_\d.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
PLACEHOLDER = re.compile(r"\{(\d+)\}")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]")
TEXTS = Path(__file__).parent / "chinese"


@dataclass(frozen=True)
class Translation:
    """An experiment in Chinese; ``finding`` is the sentence of its result, without the verdict."""

    claim: str
    finding: str
    shows: str
    next: str
    of: Mapping[str, str]  # digests: ``texts`` of claim, shows and next, ``finding`` of the sentence


@lru_cache
def read_group(group: str) -> tuple[str, dict[str, Translation]]:
    """What a group is about, and the translations of its experiments."""
    entries: dict[str, Any] = read_yaml(group)
    return entries.pop("about"), {name: Translation(**entry) for name, entry in entries.items()}


@lru_cache
def read_labels() -> tuple[dict[str, str], set[str]]:
    """Chinese labels of tables by the English ones, numbers numbered in both; names that stand."""
    entries: dict[str, Any] = read_yaml("labels")
    return entries["labels"], set(entries["names"])


def read_yaml(name: str) -> Any:
    import yaml

    return yaml.safe_load((TEXTS / f"{name}.yaml").read_text(encoding="utf-8"))


def replace_numbers(text: str) -> tuple[str, list[str]]:
    """``at 64 episodes 0.59`` → (``at {0} episodes {1}``, [64, 0.59])."""
    numbers = NUMBER.findall(text)
    counter = iter(range(len(numbers)))
    return NUMBER.sub(lambda _: f"{{{next(counter)}}}", text), numbers


def put_numbers(text: str, numbers: Sequence[str]) -> str:
    return PLACEHOLDER.sub(lambda place: numbers[int(place[1])], text)


def translate_label(label: str) -> str:
    """A cell of a table in Chinese; numbers, names and formulas stand as they are."""
    numbered, numbers = replace_numbers(label)
    chinese = read_labels()[0].get(numbered)
    return label if chinese is None else put_numbers(chinese, numbers)


def translate_finding(translation: Translation, finding: str) -> str | None:
    """The sentence of a result in Chinese; None where it says something else than the one translated."""
    numbered, numbers = replace_numbers(finding)
    return (
        put_numbers(translation.finding, numbers)
        if hash_texts(numbered) == translation.of["finding"]
        else None
    )


def split_verdict(sentence: str) -> tuple[str, str]:
    """``Supported: so it is.`` → (``Supported``, ``so it is.``)."""
    verdict, _, finding = sentence.partition(": ")
    return verdict, finding


def hash_texts(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]


def hash_english(e: Experiment, sentence: str) -> dict[str, str]:
    """What ``of`` has to say of these texts."""
    numbered, _ = replace_numbers(split_verdict(sentence)[1])
    return {"texts": hash_texts(e.claim, e.shows, e.next), "finding": hash_texts(numbered)}


def find_translation_faults(
    e: Experiment, translation: Translation, result: Mapping[str, Any]
) -> Iterator[str]:
    """What is out of date or incomplete in the Chinese of an experiment with this result."""
    numbered, numbers = replace_numbers(split_verdict(result["sentence"])[1])
    wanted = hash_english(e, result["sentence"])
    for part, text in (("texts", "claim, shows, next"), ("finding", f"finding: {numbered}")):
        if wanted[part] != translation.of[part]:
            remedy = f"read the Chinese again, then write {part}: {wanted[part]}"
            yield f"the English has changed ({text}): {remedy}"
    if any(int(place) >= len(numbers) for place in PLACEHOLDER.findall(translation.finding)):
        yield f"finding: there are {len(numbers)} numbers in the English"
    if stray := NUMBER.findall(PLACEHOLDER.sub("", translation.finding)):
        yield f"finding: {stray} are written out; numbers of a result are placeholders"
    for field in ("claim", "shows", "next"):
        english = NUMBER.findall(getattr(e, field))
        if stray := [n for n in NUMBER.findall(getattr(translation, field)) if n not in english]:
            yield f"{field}: {stray} are not in the English"
    labels, names = read_labels()
    for label in sorted({replace_numbers(cell)[0] for row in result["table"] for cell in row} - set(labels)):
        if not names.issuperset(WORD.findall(label)):
            yield f"labels.yaml has no {label!r}"
