from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pgrun.policies.networks.cnn import Cnn


@dataclass(frozen=True)
class SharedCnn(Cnn):
    """One trunk of convolutions and ``hidden`` with two heads, on the joint loss −L + c_v·value loss."""

    shared: ClassVar[bool] = True
    one_trunk: ClassVar[bool] = True
