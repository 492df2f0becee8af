"""What a scheme of the user's own gets wrong is said in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pgrun.command import setting_check
from pgrun.config.schema import find_class
from pgrun.errors import MethodFault
from pgrun.estimator import Estimator
from pgrun.variance.base import Scheme


@dataclass(frozen=True)
class Given(Scheme):
    given: Any = None

    def psi(self, rollout: Any, value: Any, gamma: float) -> Any:
        return self.given


@dataclass(frozen=True)
class Empty(Scheme):
    """Forgets psi."""


ROLLOUT: Any = SimpleNamespace(mask=torch.ones(3, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.ones(2), r"Given.psi returned a tensor \[2\]; .* here \[3, 2\]"),  # would be broadcast
        (torch.ones(2, 3), r"a tensor \[2, 3\]"),
        (torch.ones(3, 2).numpy(), "returned ndarray"),
        (None, "returned NoneType"),
    ],
)
def test_weights_of_another_shape(given: object, said: str) -> None:
    with pytest.raises(MethodFault, match=said):
        Estimator(Given(given), 0.9).psi(ROLLOUT, torch.zeros(4, 2), None)  # type: ignore[arg-type]


def test_weights_of_the_rollout_s_shape() -> None:
    psi, _ = Estimator(Given(torch.ones(3, 2)), 0.9).psi(ROLLOUT, torch.zeros(4, 2), None)  # type: ignore[arg-type]
    assert torch.equal(psi, torch.ones(3, 2))


def test_a_scheme_without_psi(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls, problems in ((Empty, 1), (Given, 0)):
        monkeypatch.setattr(setting_check, "find_class", lambda *_, cls=cls: cls)
        found = list(setting_check.group_values("variance", "variance", {"name": "x"}, {"modules": []}))
        assert len(found) == problems
        assert all("Empty has no psi(self, rollout, value, gamma)" in one.sentence() for one in found)


def test_the_user_s_module_is_asked_for() -> None:
    with pytest.raises(LookupError, match=r"no class Mine in pgrun.variance; .* modules=\[my_module\]"):
        find_class("variance", "mine")
