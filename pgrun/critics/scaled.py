from __future__ import annotations

from dataclasses import dataclass

from pgrun.critics.base import Context
from pgrun.critics.exact import Exact, ExactCritic
from pgrun.schema import Positive


@dataclass(frozen=True)
class Scaled(Exact):
    """``factor`` times the exact values: a critic whose error is known, so that the bias it makes can be seen."""

    factor: Positive = 1.2

    def build(self, context: Context) -> ExactCritic:
        return self.of(context, self.factor)
