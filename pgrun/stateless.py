"""Saving and loading, for objects that have nothing to save."""

from __future__ import annotations

from typing import Any


class Stateless:
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
