"""Python's garbage collector in a command's own process.

Imports make a million objects that live to the end. The collector looks through them again and again while
they are made, and once more at the end: a second of a run's processor time, for nothing.
"""

from __future__ import annotations

import atexit
import gc

RARELY = 1_000_000  # objects made since the last look: more than a command's imports make
USUAL = gc.get_threshold()


def spare_collector() -> None:
    """Look rarely, while imports are under way, and not once more when the process ends."""
    gc.set_threshold(RARELY, *USUAL[1:])
    atexit.register(gc.freeze)


def leave_what_is_there() -> None:
    """Never again look at what exists now, and at the rest as often as usual."""
    gc.freeze()
    gc.set_threshold(*USUAL)
