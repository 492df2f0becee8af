"""What is heard of compilations while they are under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from numba.core.event import Listener, install_listener

from pgrun.kernels.stored_code import MISSING

COMPILED = "numba:compile"  # of each function, of whichever kernel


class CompilationListener(Listener):
    """Calls ``begin`` when machine code is missing, ``advance`` with every function that was compiled and
    ``end`` when the code is there.
    """

    def __init__(self, begin: Callable[[], None], advance: Callable[[], None], end: Callable[[], None]):
        self.begin, self.advance, self.end = begin, advance, end
        self.depth = 0  # a kernel's compilation is that of the functions in it, too

    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.begin()
        self.depth += 1

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if event.kind == COMPILED:
            self.advance()
        if self.depth == 0:
            self.end()


@contextmanager
def listening_to_compilations(
    begin: Callable[[], None], advance: Callable[[], None], end: Callable[[], None]
) -> Iterator[None]:
    """Call them, as ``CompilationListener`` says, for all that is compiled in this block."""
    listener = CompilationListener(begin, advance, end)
    with ExitStack() as stack:
        for kind in (MISSING, COMPILED):
            stack.enter_context(install_listener(kind, listener))
        yield
