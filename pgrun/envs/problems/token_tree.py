"""A language model that is a table: ``pgrun/TokenTree-v0``, whose state is the text so far.

A prompt is drawn evenly; each step appends one of ``words`` words, numbered from 0, or the end token, action
``words``, until a text has ``length`` tokens. Earned is the grade of the text, at its end. ``rule``:

    table   a standard normal number for each prompt and text, drawn by ``seed``
    answer  1 where the last word is the prompt's own, word (prompt mod words), however long the text
            before it is; 0 for other texts, the empty one among them

``level``: prompt p's texts are graded level·(p + 1) higher, all alike, so that some prompts are easier; ∇J
does not feel it. ``noise``: each token earns that much more or less, at even odds: a judge's mood, which
leaves J and ∇J alone.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from pgrun.envs.problems.teaching import MOST, Outcomes, Table, Tabular, require_counts

Text = tuple[int, ...]
RULES = ("table", "answer")


def token_tree(
    words: int = 2,
    length: int = 3,
    prompts: int = 1,
    rule: str = "table",
    seed: int = 0,
    noise: float = 0.0,
    level: float = 0.0,
) -> Tabular:
    """Raises ``ValueError`` where it cannot be made."""
    require_counts(words=words, length=length, prompts=prompts)
    if rule not in RULES:
        raise ValueError(f"rule={rule}: must be one of {', '.join(RULES)}")
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise={noise}: must be a finite number ≥ 0")
    if not np.isfinite(level):
        raise ValueError(f"level={level}: must be a finite number")
    count = prompts * count_prefixes(words, length)
    if count > MOST:
        raise ValueError(f"words={words}, length={length}, prompts={prompts}: more than {MOST} states")
    prefixes = [(p, text) for p in range(prompts) for n in range(length) for text in texts_of(words, n)]
    number = {prefix: state for state, prefix in enumerate(prefixes)}
    grade = Grades(words, rule, seed)

    def outcomes(prompt: int, text: Text, action: int) -> Outcomes:
        longer = text if action == words else (*text, action)
        over = action == words or len(longer) == length
        after = number[prompt, text] if over else number[prompt, longer]
        reward = grade(prompt, longer) + level * (prompt + 1) if over else 0.0
        moods = (reward + noise, reward - noise) if noise else (reward,)
        return [(1 / len(moods), after, earned, over) for earned in moods]

    table: Table = {
        state: {action: outcomes(*prefix, action) for action in range(words + 1)}
        for prefix, state in number.items()
    }
    return Tabular(table, [float(not text) / prompts for _, text in prefixes])


class Grades:
    """The grade of each finished text: told by the rule, or drawn in the order in which it is asked for."""

    def __init__(self, words: int, rule: str, seed: int):
        self.words, self.rule, self.draw = words, rule, np.random.default_rng(seed)

    def __call__(self, prompt: int, text: Text) -> float:
        if self.rule == "table":
            return float(self.draw.normal())
        return float(bool(text) and text[-1] == prompt % self.words)


def texts_of(words: int, length: int) -> list[Text]:
    """All texts of so many words."""
    return list(product(range(words), repeat=length))


def count_prefixes(words: int, length: int) -> int:
    """Texts shorter than ``length``; no more are counted than matter."""
    total = 0
    for n in range(length):
        total += words**n
        if total > MOST:
            break
    return total
