"""How a job's own process ended that could not say it itself: signal, exit code, the last lines of its log,
and whether the system had no more memory.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgrun.errors import escape_line, join_lines

CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)  # by its own doing
VMSTAT = Path("/proc/vmstat")
TAIL = 8192  # bytes of a log that are read
LONGEST = 200  # characters of one of its lines
CRASHED, HERE = "Fatal Python error", "Current thread"  # in Python's own report of a crash


@dataclass(frozen=True)
class Beginning:
    """What is looked at before a job starts, to be compared with at its end."""

    log: Path | None
    log_size: int
    kernel_kills: int | None


def note_beginning(logging: Mapping[str, Any]) -> Beginning:
    """``logging``: Hydra's job_logging."""
    log = log_file(logging)
    there = log is not None and log.is_file()
    return Beginning(log, log.stat().st_size if log is not None and there else 0, count_kernel_kills())


def log_file(logging: Mapping[str, Any]) -> Path | None:
    handlers = logging.get("handlers", {}).values()
    names = [handler["filename"] for handler in handlers if "filename" in handler]
    return Path(names[0]) if names else None


def count_kernel_kills(counters: Path = VMSTAT) -> int | None:
    """Processes that Linux ended for lack of memory, the machine's or a container's; None where it does not
    tell.
    """
    with suppress(OSError, ValueError):
        for line in counters.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def report_crashes(logging: Mapping[str, Any]) -> None:
    """Let Python write where it was into the job's log when this process crashes."""
    if (log := log_file(logging)) is not None:
        with suppress(OSError):
            faulthandler.enable(log.open("a"))  # open until the process ends


def exit_reason(code: int, told: bool, beginning: Beginning) -> tuple[str, str]:
    """(status, reason) of a child that left without a result; ``told`` to stop, it was not quick enough."""
    if told:
        return "interrupted", "ended before it was saved"
    ending = f"its log ends: {end}" if (end := read_log_end(beginning)) else ""
    if code >= 0:
        return "failed", join_reasons(f"its process left with exit code {code}", ending)
    name = f"{signal.Signals(-code).name} (exit code {128 - code})"
    if -code in CRASHES:
        return "failed", join_reasons(f"crashed with {name}", ending)
    return "killed", join_reasons(f"killed by {name}", explain_kill(-code, beginning), ending)


def join_reasons(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def explain_kill(number: int, beginning: Beginning) -> str:
    """Whether the kernel ended it for lack of memory, as far as Linux tells."""
    if number != signal.SIGKILL:
        return ""
    before, now = beginning.kernel_kills, count_kernel_kills()
    if before is None or now is None:
        return "out of memory?"
    return "the system had no more memory for it" if now > before else ""


def read_log_end(beginning: Beginning) -> str:
    """The last two lines that the job wrote, or where Python was when it crashed."""
    try:
        lines = read_tail(beginning)
    except OSError:
        return ""
    starts = [n for n, line in enumerate(lines) if line.startswith(CRASHED)]
    if starts:
        report = lines[starts[-1] :]
        own = next((n for n, line in enumerate(report) if line.startswith(HERE)), 0)
        lines = [report[0], *[line for line in report[own:] if line.startswith("File ")][:1]]
    return " | ".join(escape_line(join_lines(line))[:LONGEST] for line in lines[-2:])


def read_tail(beginning: Beginning) -> list[str]:
    if beginning.log is None:
        return []
    with beginning.log.open("rb") as file:
        file.seek(max(beginning.log_size, beginning.log.stat().st_size - TAIL))
        text = file.read(TAIL).decode(errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]
