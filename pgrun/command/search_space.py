"""What is searched: the swept words of a command, as Hydra's grammar has them.

``interval(a,b)`` is a number in [a, b], ``int(interval(a,b))`` an integer, ``tag(log,interval(a,b))`` uniform
in its logarithm; ``range(a,b,step)`` one of a, a + step, … below b; ``x,y,z`` and ``choice(x,y,z)`` one of
these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from pgrun.command.sweep_values import count_word_values
from pgrun.errors import InvalidCommand

if TYPE_CHECKING:
    from optuna import Trial as Proposal

MOST = 32  # combinations of choices that are all checked before the first trial
GOLDEN = (3 - math.sqrt(5)) / 2  # of an interval: no round number
Value = float | str
Trial = dict[str, Value]  # by the parameter's key


@dataclass(frozen=True)
class Numbers:
    """Integers where ``low`` is one."""

    key: str
    typed: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def ends(self) -> tuple[Value, ...]:
        """What is checked before: all between is allowed where these are; one inside
        says whether fractions are.
        """
        inside = self.low + (self.step or GOLDEN * (self.high - self.low))
        return (self.low, self.high) if self.whole else (self.low, inside, self.high)

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    def propose(self, trial: Proposal) -> Value:
        """Optuna's value for the trial."""
        if self.whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.key, low, high, step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def __contains__(self, value: Any) -> bool:
        kind = int if self.whole else float
        return type(value) is kind and self.low <= value <= self.high


@dataclass(frozen=True)
class Choices:
    key: str
    typed: str
    texts: tuple[str, ...]  # values as typed

    @property
    def ends(self) -> tuple[Value, ...]:
        return self.texts

    def propose(self, trial: Proposal) -> Value:
        """Optuna's value for the trial."""
        return str(trial.suggest_categorical(self.key, self.texts))

    def __contains__(self, value: Any) -> bool:
        return value in self.texts


Parameter = Numbers | Choices


@dataclass(frozen=True)
class Space:
    words: tuple[
        str | Parameter, ...
    ]  # of the command in its order: those that stay, and those that are searched

    @property
    def parameters(self) -> list[Parameter]:
        return [word for word in self.words if not isinstance(word, str)]

    def typed(self, trial: Trial) -> list[str]:
        """The words of one trial."""
        return [word if isinstance(word, str) else f"{word.key}={trial[word.key]}" for word in self.words]

    def corners(self) -> list[Trial]:
        """What is checked before the first trial: every combination of choices if there are few, else each
        choice; both ends.
        """
        first = {p.key: p.ends[0] for p in self.parameters}
        alone = [{**first, p.key: value} for p in self.parameters for value in p.ends]
        choices = [p for p in self.parameters if isinstance(p, Choices)]
        together: list[Trial] = []
        if math.prod(len(p.texts) for p in choices) <= MOST:
            keys = [p.key for p in choices]
            together = [
                {**first, **dict(zip(keys, values, strict=True))}
                for values in product(*(p.texts for p in choices))
            ]
        return list({tuple(trial.items()): trial for trial in [first, *alone, *together]}.values())


def read_search_space(overrides: Sequence[Override]) -> Space:
    """The space that a command's words span, without Hydra's own.

    The last of several with one key counts. Raises ``InvalidCommand``.
    """
    words: dict[str, str | Parameter] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            words[key] = f"{key}={override.get_value_element_as_str()}"
            continue
        if override.key_or_group in ("seed", "seeds"):
            raise InvalidCommand(
                override.input_line,
                None,
                "a search takes the mean over seeds",
                "type seeds=[0,1,2] for these",
            )
        parameter = make_parameter(key, override)
        alone = isinstance(parameter, Choices) and len(parameter.texts) == 1
        words[key] = f"{key}={parameter.ends[0]}" if alone else parameter
    return Space(tuple(words.values()))


def make_parameter(key: str, override: Override) -> Parameter:
    typed, given = str(override.input_line), override._value
    if getattr(given, "shuffle", False):
        raise InvalidCommand(typed, None, "a search has no order to shuffle")
    if isinstance(given, IntervalSweep):
        return make_interval_parameter(key, typed, given)
    if tags := getattr(given, "tags", ()):
        raise InvalidCommand(
            typed, None, f"tag({','.join(tags)},…) goes with an interval", "tag(log,interval(1e-4,1e-2))"
        )
    if isinstance(given, RangeSweep):
        return make_stepped_parameter(key, typed, given, count_word_values(override))
    texts = tuple(override.sweep_string_iterator())
    if not texts:
        raise InvalidCommand(typed, None, "no option fits this pattern")
    return Choices(key, typed, texts)


def make_stepped_parameter(key: str, typed: str, given: RangeSweep, count: int) -> Parameter:
    assert given.start is not None
    low, high = sorted((given.start, given.start + given.step * (count - 1)))
    if count == 1:
        return Choices(key, typed, (str(low),))
    whole = isinstance(low, int) and isinstance(high, int)
    return Numbers(key, typed, *((low, high) if whole else (float(low), float(high))), abs(given.step))


def make_interval_parameter(key: str, typed: str, given: IntervalSweep) -> Numbers:
    low, high = given.start, given.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidCommand(typed, None, "an interval goes from a number to a greater one")
    if given.tags - {"log"}:
        raise InvalidCommand(
            typed, None, "the only tag of an interval is log", "tag(log,interval(1e-4,1e-2))"
        )
    log = "log" in given.tags
    if log and low <= 0:
        raise InvalidCommand(typed, None, "uniform in the logarithm it must begin above 0")
    return Numbers(key, typed, low, high, log=log)
