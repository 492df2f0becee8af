"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

LINES = 10  # printed over a run where there is no terminal


class Progress:
    """Steps, steps per second, recent return, time left.

    ``done``: steps of a run that goes on, which took this process no time.
    """

    def __init__(self, total: int, shown: bool, done: int = 0):
        terminal = sys.stderr.isatty()
        self.total, self.done, self.begun = total, done, time.perf_counter()
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
        self.bar.update(min(env_steps, self.total) - self.bar.n)
        if self.lines and env_steps >= self.next:
            self.next = env_steps + self.interval
            speed = (env_steps - self.done) / (time.perf_counter() - self.begun)
            left = max(self.total - env_steps, 0) / speed
            print(
                f"{env_steps:>10} steps  {speed:8.0f} steps/s  {self.recent}  {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        self.bar.close()
