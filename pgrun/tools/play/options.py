"""What the words of ``pgrun-play`` ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PlayOptions:
    """What the command line asks for."""

    run: str
    policy: str = "final"
    episodes: int | None = None
    seed: int | None = None
    max_steps: int | None = None
    stochastic: bool = False
    render: bool = False
    video: Path | None = None
    format: str = "mp4"
    export: Path | None = None
    env: str | None = None
    modules: tuple[str, ...] = ()

    @property
    def pictures(self) -> bool:
        return self.render or self.video is not None
