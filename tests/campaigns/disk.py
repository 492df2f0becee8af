"""Disk campaign: every call by which a run changes a file fails in turn, and a small disk is really filled.

    python tests/campaigns/disk.py               all: some ten minutes on one core; the filled disk needs root
    python tests/campaigns/disk.py --calls 20    so many of the calls, at random
    python tests/campaigns/disk.py --only NAME … some of the sections
    python tests/campaigns/disk.py --backend torch

Each time the command must end in one line and exit code 1, the checkpoint that was there must still be, and
after the disk is well again ``pgrun resume=DIR`` must come to the same end, bit for bit. Exit code 1 if
anything does not.
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgrun.cli import main as cli
from pgrun.storage.checkpoint import Checkpoints
from tests.helpers.support_disk import Disk, Strike, fail_at, move_away_at, never
from tests.helpers.support_fork import End, folder_in_memory, forked
from tests.helpers.support_resume import differences, trace

WORDS = [
    *(
        "algo=ppo",
        "env=CartPole-v1",
        "tuned=none",
        "network.hidden=[8]",
        "state_norm=true",
        "logger.progress=false",
    ),
    *("env.num_envs=2", "sampler.steps=16", "trainer.total_steps=90", "trainer.checkpoint_every=1"),
    *("trainer.eval_every=40", "trainer.eval_episodes=1"),
]
FAULTS = {
    "full": errno.ENOSPC,
    "read-only": errno.EROFS,
    "failing": errno.EIO,
    "over its quota": errno.EDQUOT,
    "forbidden": errno.EACCES,
}
BEGINS = r"[^\n]+(?:; writes to |; watch it: )[^\n]+\n"  # what a run says first, new or resumed
SAID = re.compile(rf"(?:{BEGINS})?pgrun: [^\n]+\n?")


def command(words: Sequence[str]) -> int:
    return cli.run_guarded(lambda: cli.dispatch_command(list(words)), "pgrun")


def run(folder: Path) -> int:
    return command([*WORDS, f"hydra.run.dir={folder}"])


def resume(folder: Path) -> int:
    return command([f"resume={folder}"])


def on(folder: Path, strike: Strike, work: Callable[[], int]) -> int:
    with Disk(folder, strike).watched():
        return work()


@dataclass
class Reference:
    """The run on a disk that is well, and the calls by which it changed files."""

    trace: dict[str, str]
    calls: list[tuple[str, Path]]
    size: int  # bytes at the end

    @classmethod
    def made(cls, top: Path) -> Reference:
        folder, note = top / "reference", top / "calls"

        def work() -> None:
            disk = Disk(folder, never)
            with disk.watched():
                assert run(folder) == 0
            note.write_text("\n".join(f"{call}\t{path}" for call, path in disk.calls))

        end = forked(work)
        assert end.code == 0, end.out
        pairs = (line.split("\t") for line in note.read_text().splitlines())
        calls = [(call, Path(path).relative_to(folder)) for call, path in pairs]
        return cls(
            trace(folder), calls, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        )


@dataclass
class Tally:
    faults: int = 0
    resumed: int = 0
    unsaved: int = 0  # before the first checkpoint was complete
    failures: list[str] = field(default_factory=list)


def judge(end: End, folder: Path, reference: Reference, tally: Tally, where: str) -> None:
    """One line, exit code 1, and nothing lost."""
    tally.faults += 1
    harmless = end.code == 0 and trace(folder) == reference.trace  # mkdir of what is there
    if harmless:
        tally.resumed += 1
        shutil.rmtree(folder)
        return
    wrong = [] if end.code == 1 or is_refused_in_time(end, folder) else [f"exit code {end.code}"]
    wrong += [] if SAID.fullmatch(end.out) else [f"said: {end.out[-1500:]}"]
    try:
        Checkpoints(folder / "checkpoints").load()
    except LookupError:
        tally.unsaved += 1
    else:
        again = forked(partial(resume, folder))
        over = again.code == 2 and "is finished" in again.out
        wrong += [] if again.code == 0 or over else [f"resume: {again.code}: {again.out[-500:]}"]
        wrong += [] if wrong else differences(reference.trace, trace(folder))
        tally.resumed += not wrong
    tally.failures += [f"{where}: {', '.join(wrong)}"] if wrong else []
    shutil.rmtree(folder, ignore_errors=True)


def is_refused_in_time(end: End, folder: Path) -> bool:
    """The fault met the second look whether the place can be written, which comes once the folder is locked:
    nothing of the run is there.
    """
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    return end.code == 2 and "cannot be written" in end.out and files <= {".lock"}


def at_a_call(
    reference: Reference, top: Path, number: int, fault: str, dice: random.Random, tally: Tally
) -> None:
    call, path = reference.calls[number - 1]
    folder = top / f"{fault}_{number}"
    strike = fail_at(number, FAULTS[fault], dice.random(), once=fault == "failing")
    end = forked(partial(on, folder, strike, partial(run, folder)))
    judge(end, folder, reference, tally, f"{fault} disk at call {number}, {call} of {path}")


def at_calls(reference: Reference, top: Path, calls: int, dice: random.Random) -> Iterator[tuple[str, Tally]]:
    """Faults put in between Python and the system."""
    numbers = range(1, len(reference.calls) + 1)
    for fault in FAULTS:
        tally = Tally()
        for number in sorted(dice.sample(numbers, min(calls, len(numbers)))):
            at_a_call(reference, top, number, fault, dice, tally)
        yield f"{fault} disk, at a call", tally


def moved_away(
    reference: Reference, top: Path, calls: int, dice: random.Random
) -> Iterator[tuple[str, Tally]]:
    """The run's folder is somewhere else at a call after its first checkpoint: nothing is made in its place,
    and where it is now it goes on to the same end.
    """
    tally = Tally()
    moves = [n for n, (call, path) in enumerate(reference.calls, 1) if call == "replace" and is_saved(path)]
    numbers = range(moves[1] + 2, len(reference.calls) + 1)  # moves[1]: of the first manifest, then flushed
    for number in sorted(dice.sample(numbers, min(calls, len(numbers)))):
        folder, away = top / f"here_{number}", top / f"away_{number}"
        end = forked(partial(on, folder, move_away_at(number, away), partial(run, folder)))
        call, path = reference.calls[number - 1]
        where = f"moved away at call {number}, {call} of {path}"
        if folder.exists():
            tally.failures.append(f"{where}: {sorted(map(str, folder.rglob('*')))} stand in its place")
        judge(end, away, reference, tally, where)
    yield "folder moved away", tally


def is_saved(path: Path) -> bool:
    return path.parent.name == "checkpoints"


def mount(folder: Path, *options: str) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)],
        check=True,
        capture_output=True,
    )


@contextmanager
def small_disk(top: Path, size: int) -> Iterator[Path]:
    """Raises ``CalledProcessError`` where mounting is not permitted."""
    place = top / "disk"
    place.mkdir(exist_ok=True)
    mount(place, f"size={size}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def really_full(
    reference: Reference, top: Path, calls: int, _dice: random.Random
) -> Iterator[tuple[str, Tally]]:
    """Disks of all sizes up to what the run needs, in pages, given more room before the run goes on."""
    tally, page = Tally(), 4096
    most = 2 * reference.size // page  # a page a file is lost at least
    for pages in range(2, most, max(most // calls, 1)):
        with small_disk(top, pages * page) as place:
            folder = place / "run"
            end = forked(partial(run, folder))
            mount(place, "remount", f"size={64 * reference.size}")
            if is_refused_in_time(end, folder):
                continue
            if end.code == 0:
                break
            judge(end, folder, reference, tally, f"a disk of {pages} pages")
    yield "filled disk", tally


def really_read_only(
    reference: Reference, top: Path, _calls: int, dice: random.Random
) -> Iterator[tuple[str, Tally]]:
    """A run that was interrupted, resumed on a disk that has become read-only, and again when it is well."""
    tally = Tally()
    with small_disk(top, 64 * reference.size) as place:
        folder = place / "run"
        middle = len(reference.calls) // 2
        forked(partial(on, folder, fail_at(middle, errno.EIO, dice.random()), partial(run, folder)))
        mount(place, "remount", "ro")
        end = forked(partial(resume, folder))
        mount(place, "remount", "rw")
        judge(end, folder, reference, tally, "a disk mounted read-only")
    yield "read-only disk", tally


SHORT = (
    "-m algo=a2c tuned=none env=CartPole-v1 network.hidden=[2] sampler.steps=8 env.num_envs=2 "
    "trainer.total_steps=32 trainer.eval_every=null trainer.eval_episodes=1 logger.progress=false"
)
SEVERAL = {  # commands of several runs
    "search": "hydra/sweeper=optuna optimizer.lr=interval(1e-3,1e-1) hydra.sweeper.n_trials=3 "
    "hydra.sweeper.seed=3",
    "sweep": "seed=0,1,2",
}
TIMES = ("wall_seconds", "eval_seconds", "env_steps_per_second")


def several(what: str, folder: Path, backend: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [*SHORT.split(), *SEVERAL[what].split(), f"backend={backend}", f"hydra.sweep.dir={folder}", *more]
    return subprocess.run(
        [sys.executable, "-m", "pgrun", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def found_by(folder: Path) -> list[dict[str, Any]]:
    """What several runs leave, but times: how each ended, and the trials of a search."""
    records = [json.loads(path.read_text()) for path in folder.glob("search.json")]
    summaries = [json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))]
    return [*records, *({k: x for k, x in one.items() if k not in TIMES} for one in summaries)]


def several_on_a_full_disk(
    what: str, _reference: Reference, top: Path, calls: int, _dice: random.Random
) -> Iterator[tuple[str, Tally]]:
    """Runs whose disk fills at several points, continued where there is room again: they are those that
    never stopped.
    """
    tally, backend = Tally(), WORDS[-1].partition("=")[2]
    whole = top / f"whole_{what}"
    end = several(what, whole, backend)
    assert end.returncode == 0, end.stdout
    needed = sum(path.stat().st_blocks * 512 for path in whole.rglob("*"))
    for share in [0.3, 0.5, 0.15, 0.4][: max(calls // 5, 2)]:
        with small_disk(top, round(share * needed)) as place:
            end = several(what, place / "s", backend)
            mount(place, "remount", f"size={64 * needed}")
            again = several(what, place / "s", backend, "resume=retry")
            wrong = [] if end.returncode in (0, 1) else [f"exit code {end.returncode}"]  # 0: it fitted
            wrong += [] if "Traceback" not in end.stdout else [f"said {end.stdout[-1500:]}"]
            wrong += [] if again.returncode == 0 else [f"continued: {again.stdout[-1500:]}"]
            wrong = wrong or ([] if found_by(place / "s") == found_by(whole) else ["it found something else"])
        tally.faults += end.returncode != 0
        tally.resumed += end.returncode != 0 and not wrong
        where = f"a {what} on a disk of {share:.0%} of what it needs"
        tally.failures += [f"{where}: {', '.join(wrong)}"] if wrong else []
    yield f"{what} on a full disk", tally


SECTIONS: dict[str, Callable[..., Iterator[tuple[str, Tally]]]] = {
    "at_calls": at_calls,
    "moved_away": moved_away,
    "really_full": really_full,
    "really_read_only": really_read_only,
    "search": partial(several_on_a_full_disk, "search"),
    "sweep": partial(several_on_a_full_disk, "sweep"),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="for each fault; disks of so many sizes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--backend", default="auto", choices=["auto", "torch", "compiled"])
    given = parser.parse_args(argv)
    WORDS.append(f"backend={given.backend}")
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="disk_", dir=folder_in_memory()) as name:
        reference = Reference.made(Path(name))
        print(f"{len(reference.calls)} calls that change files, {reference.size} bytes")
        print(f"\n{'':<24}{'faults':>9}{'too early':>11}{'resumed':>9}{'failed':>9}")
        for section in given.only:
            begun = time.monotonic()
            try:
                for label, tally in SECTIONS[section](
                    reference, Path(name), given.calls, random.Random(given.seed)
                ):
                    failures += tally.failures
                    counts = (tally.faults, tally.unsaved, tally.resumed, len(tally.failures))
                    shown = "{:>9}{:>11}{:>9}{:>9}".format(*counts)
                    print(f"{label:<24}{shown}{time.monotonic() - begun:>8.0f} s", flush=True)
            except subprocess.CalledProcessError as error:
                print(f"{section}: left out, no disk can be mounted here: {error.stderr.decode().strip()}")
    print("", *failures, sep="\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
