from __future__ import annotations

from dataclasses import dataclass

from pgrun.config.schema import NonNegative
from pgrun.critics.base import Context
from pgrun.critics.exact import Exact, ExactCritic


@dataclass(frozen=True)
class Scaled(Exact):
    """``factor`` times the exact values: a critic whose error is known, so that the bias it makes can be
    seen. 0 knows nothing.
    """

    factor: NonNegative = 1.2

    def build(self, context: Context) -> ExactCritic:
        return self.of(context, self.factor)
