"""Whether an update on a device made finite numbers, before the host has looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgrun.training.counters import Counters
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class UnreadCheck:
    """``finite``, and what tells more where it turns out to be false."""

    finite: Tensor  # []
    rollout: Rollout
    batch: Batch
    counters: Counters
