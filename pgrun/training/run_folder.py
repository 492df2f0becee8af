"""The folder of a run, held open while it trains: somebody may delete, move or replace it meanwhile."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from pgrun.errors import RunFilesLost, escape_line

DELETED = " (deleted)"  # behind the name, as Linux tells it


class HeldFolder:
    """To be asked before anything is written into it."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        os.close(self.handle)

    def refuse_if_lost(self, saved_at: int) -> None:
        """Raises ``RunFilesLost`` where the folder is no longer at its place: nothing may be written into
        another one there. ``saved_at``: the environment step of the newest checkpoint.
        """
        held = os.fstat(self.handle)
        try:
            there = self.folder.stat()
        except OSError:
            there = None
        if there is not None and os.path.samestat(held, there):
            return
        other = "" if there is None else "; another folder stands in its place, and nothing was written there"
        place = self.find_place()
        if place is None:
            raise RunFilesLost(
                f"{self.folder} was deleted while the run trained: its log and its checkpoints are gone, and "
                f"nothing of the run is saved: start it again{other}"
            )
        raise RunFilesLost(
            f"{self.folder} was moved to {place} while the run trained: it is saved there up to step "
            f"{saved_at}; to go on: pgrun {shlex.quote(f'resume={place}')}{other}"
        )

    def find_place(self) -> str | None:
        """Where the folder is now, as far as the system tells; None where it was deleted."""
        try:
            name = os.readlink(f"/proc/self/fd/{self.handle}")
        except OSError:  # a system without /proc
            return None if os.fstat(self.handle).st_nlink == 0 else "another place"
        return None if name.endswith(DELETED) else escape_line(name)
