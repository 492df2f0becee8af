"""``pgrun-play`` as a function: the same words, and the episodes as a record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgrun.api.process import borrowed_process
from pgrun.terminal.exit_codes import refuse_gone_folder
from pgrun.tools.play.cli import read_play_options, threads_of


@dataclass(frozen=True)
class PlayResult:
    """The episodes that a saved policy has played, in their order."""

    returns: list[float]  # undiscounted
    lengths: list[int]  # steps
    films: list[Path] = field(default_factory=list)


def play_saved_run(words: Sequence[str | os.PathLike[str]]) -> PlayResult:
    """What ``pgrun-play`` with these words plays. Raises ``InvalidCommand``."""
    wish = read_play_options([os.fspath(word) for word in words])
    if wish.video:
        refuse_gone_folder(os.fspath(wish.video))
    with borrowed_process([f"threads={threads_of(wish)}"]):
        from pgrun.tools.play.play import play_episodes

        _, finished, films = play_episodes(wish)
    return PlayResult([total for total, _ in finished], [length for _, length in finished], films)
