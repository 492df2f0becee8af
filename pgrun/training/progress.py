"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from pgrun.terminal.printing import say
from pgrun.terminal.training_time import TRAINING_TIME

LINES = 10  # printed over a run where there is no terminal


class Progress:
    """Steps, steps per second, recent return, time left.

    ``done``: steps of a run that goes on, which took this process no time.
    """

    def __init__(self, total: int, shown: bool, done: int = 0):
        terminal = sys.stderr.isatty()
        self.total, self.done, self.begun = total, done, TRAINING_TIME.now()
        self.paused = TRAINING_TIME.paused  # what the bar knows of it
        self.interval = max(total - done, 1) / LINES
        self.next = done + self.interval
        self.lines = shown and not terminal
        self.bar = tqdm(
            total=total, initial=min(done, total), unit="step", unit_scale=True, miniters=1,
            disable=not (shown and terminal), leave=False,
        )  # fmt: skip
        self.recent = ""

    def update(self, env_steps: int, scalars: Mapping[str, float]) -> None:
        names = {"return/train": "return", "return/eval": "eval"}
        told = {name: scalars[tag] for tag, name in names.items() if tag in scalars}
        if told:
            self.recent = "  ".join(f"{name} {x:.1f}" for name, x in told.items())
            self.bar.set_postfix_str(self.recent, refresh=False)
        self.leave_out_pauses()
        self.bar.update(min(env_steps, self.total) - self.bar.n)
        if self.lines and env_steps >= self.next:
            self.next = env_steps + self.interval
            speed = (env_steps - self.done) / (TRAINING_TIME.now() - self.begun)
            left = max(self.total - env_steps, 0) / speed
            print(
                f"{env_steps:>10} steps  {speed:8.0f} steps/s  {self.recent}  {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def leave_out_pauses(self) -> None:
        """What was compiled since the last update is no time of the bar's either."""
        pause, self.paused = TRAINING_TIME.paused - self.paused, TRAINING_TIME.paused
        if pause and not self.bar.disable:
            self.bar.start_t += pause
            self.bar.last_print_t += pause

    def close(self) -> None:
        self.bar.close()


class CompileProgress:
    """Says once that machine code is made; on a terminal also how many functions are done, in what time.
    The run's own time stands still meanwhile.
    """

    def __init__(self, shown: bool) -> None:
        self.bar: tqdm[None] | None = None
        self.shown, self.functions, self.announced = shown and sys.stderr.isatty(), 0, False

    def begin(self) -> None:
        TRAINING_TIME.pause()
        if not self.announced:
            self.announced = True
            with tqdm.external_write_mode():  # the run's bar makes room
                say("compiling the core for this machine, once: about half a minute of processor time")
        self.bar = tqdm(
            initial=self.functions, bar_format="compiling: {n_fmt} functions, {elapsed}", leave=False,
            disable=not self.shown,
        )  # fmt: skip

    def advance(self) -> None:
        self.functions += 1
        if self.bar is not None:
            self.bar.update()

    def end(self) -> None:
        TRAINING_TIME.go_on()
        if self.bar is not None:
            self.bar.close()


@contextmanager
def telling_compilations(backend: str, shown: bool) -> Iterator[None]:
    """Tell what a run compiles in this block; ``shown``: whether there is a bar of its progress."""
    if backend != "compiled":
        yield
        return
    from pgrun.kernels.compilation import listening_to_compilations

    progress = CompileProgress(shown)
    with listening_to_compilations(progress.begin, progress.advance, progress.end):
        yield
