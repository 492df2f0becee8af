"""Which objects a run is made of: torch's, or their compiled twins. Nothing else asks which it is."""

from __future__ import annotations

from typing import Any

from pgrun import returns


class TorchTwins:
    """Everything as it is."""

    def policy(self, policy: Any) -> Any:
        return policy

    def critic(self, critic: Any) -> Any:
        return critic

    def learner(self, learner: Any) -> Any:
        return learner


def twins_of(backend: str) -> Any:
    """What makes a run's objects into those of the backend: ``policy``, ``critic`` and ``learner``, functions of one each."""
    if backend == "torch":
        returns.loops = None
        return TorchTwins()
    from pgrun.compiled import returns as loops
    from pgrun.compiled.twins import CompiledTwins

    returns.loops = loops
    return CompiledTwins()
