"""How far a study is: a line now and then, none of a short one."""

from __future__ import annotations

import time
from collections.abc import Callable

from pgrun.terminal.interrupts import raise_if_interrupted

EVERY = 5.0  # seconds between two lines


class EpisodeProgress:
    """Episodes of one part of a study."""

    def __init__(self, say: Callable[[str], None], total: int, what: str):
        self.say, self.total, self.what = say, total, what
        self.done, self.begun = 0, time.monotonic()
        self.next = self.begun + EVERY
        say(f"{total:,} {what}")

    def add(self, episodes: int) -> None:
        raise_if_interrupted()
        self.done += episodes
        now = time.monotonic()
        if now >= self.next and self.done < self.total:
            left = (now - self.begun) * (self.total - self.done) / self.done
            self.say(f"  {self.done:,} of {self.total:,} {self.what}, about {left:.0f} s left")
            self.next = now + EVERY
