"""Security campaign: run directories made to harm, and every command that reads one.

    python tests/campaigns/malice.py                  all of it: a few minutes on one core
    python tests/campaigns/malice.py --every 10       each tenth attack; or a number for each command
    python tests/campaigns/malice.py --only TEXT      attacks whose names contain it

Each command runs in a process of its own, watched by an audit hook: no code from the run directory, no
process, no pickle, no socket, no module that the directory names, no write outside of it; no traceback, no
hang. Exit code 1 if anything is seen.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pickle
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pgrun.tools.study.cli
from pgrun.analysis.compare import cli as compare
from pgrun.analysis.doctor import cli as doctor
from pgrun.cli import main as cli
from pgrun.tools.explain import cli as explained
from pgrun.tools.play import cli as play
from pgrun.tools.study.study import run_study  # noqa: F401  imported once, before the children
from tests.campaigns.attacks import ATTACKS, STRANGE
from tests.helpers.support_fork import End, folder_in_memory, forked
from tests.helpers.support_malice import Watch, watched

RUN = [
    *(
        "algo=ppo",
        "env=CartPole-v1",
        "tuned=none",
        "network.hidden=[8]",
        "env.num_envs=2",
        "sampler.steps=16",
    ),
    *(
        "trainer.total_steps=64",
        "trainer.checkpoint_every=1",
        "trainer.eval_episodes=1",
        "logger.progress=false",
    ),
]
SMALL = [
    *("episodes=4", "batch=2", "critic_episodes=2", "reference_episodes=4", "repeats=1"),
    *("picture=false", "env.num_envs=2"),
]
LONGEST = 1500  # characters of an answer that is a paragraph
MOST_MEMORY = 2e9  # bytes: the attacks offer 3 GB
OBEYED = ("\x1b]", "\x1b[2J", "\u202e", "\npgrun: all is well")
SLOWEST = 20.0  # seconds of computing; what waits, for a pipe say, is ended by a signal


def hydra_command(app: cli.App, words: Sequence[str]) -> int:
    return cli.run_guarded(lambda: cli.dispatch_command(list(words), app), app.name)


def again(run: Path, _own: Path) -> int:
    """The same command with ``resume=auto``, after a death without a word."""
    if not (run / "summary.json").is_dir():
        (run / "summary.json").unlink(missing_ok=True)
    return hydra_command(cli.PGRUN, [*RUN, f"hydra.run.dir={run}", "resume=auto"])


COMMANDS: dict[str, Callable[[Path, Path], int]] = {  # (run directory, where else it may write)
    "resume": lambda run, _: hydra_command(cli.PGRUN, [f"resume={run}", "trainer.total_steps=96"]),
    "auto": again,
    "play": lambda run, _: cli.run_guarded(lambda: play.run_play([str(run)]), "pgrun-play"),
    "study": lambda run, own: hydra_command(
        pgrun.tools.study.cli.STUDY, [f"run={run}", *SMALL, f"hydra.run.dir={own}/study"]
    ),
    "compare": lambda run, own: left(compare.main, "pgrun-compare", run, "--html", own / "page.html"),
    "sweep": lambda run, _: hydra_command(cli.PGRUN, ["-m", *RUN, "seed=0,1", f"hydra.sweep.dir={run}"]),
    "doctor": lambda run, _: cli.run_guarded(lambda: doctor.run_doctor([str(run)]), "pgrun-doctor"),
    "explain": lambda run, own: hydra_command(
        explained.EXPLAIN, [f"from={run}", f"hydra.run.dir={own}/none"]
    ),
    "from": lambda run, own: hydra_command(cli.PGRUN, [f"from={run}", f"hydra.run.dir={own}/new"]),
    "reference": lambda run, own: hydra_command(
        cli.PGRUN, [*RUN, f"reference.policy={run}", f"hydra.run.dir={own}/new"]
    ),
    "export": lambda run, own: cli.run_guarded(
        lambda: play.run_play([str(run), "--export", str(own / "policy.onnx")]), "pgrun-play"
    ),
}


def left(main: Callable[[], None], *words: object) -> int:
    """The exit code of a console script's function."""
    sys.argv = [str(word) for word in words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def load_machine_code(top: Path) -> None:
    """A run, its play and its page in this process, which the watched ones are forked from: numba keeps
    machine code as pickles of its own, beside the package, and a watched process may open none. matplotlib
    makes the folders of its settings and fonts when it is imported, and reads its fonts.
    """
    folder = top / "before"
    with redirect_stdout(io.StringIO()):
        assert hydra_command(cli.PGRUN, [*RUN, f"hydra.run.dir={folder}"]) == 0
        assert play.run_play([str(folder)]) == 0
        assert left(compare.main, "pgrun-compare", folder, "--html", top / "before.html") == 0


def good_run(top: Path) -> Path:
    load_machine_code(top)
    folder = top / "good"
    end = forked(lambda: hydra_command(cli.PGRUN, [*RUN, f"hydra.run.dir={folder}"]))
    assert end.code == 0, end.out
    return folder


def tried(name: str, good: Path, command: str) -> list[str]:
    """What is wrong with the answer of ``command`` to this attack."""
    attack = ATTACKS[name]
    with tempfile.TemporaryDirectory(prefix="attack_", dir=good.parent) as made:
        top = Path(made)
        run, outside, own = top / "run", top / "outside", top / "run" / "own"
        shutil.copytree(good, run)
        outside.mkdir()
        (outside / "victim").write_text("precious\n")
        attack.plant(run, outside)
        own.mkdir()
        before = contents(outside)
        watch = Watch(run, top, STRANGE)
        end = forked(lambda: watched(lambda: COMMANDS[command](run, own), watch, top / "seen"))
        seen = (top / "seen").read_text().splitlines()
        page = own / "page.html"
        marked = page.exists() and ("<script>alert" in page.read_text() or "<img src=x" in page.read_text())
        return [
            *seen,
            *(["something outside was changed"] if contents(outside) != before else []),
            *(["the page has markup of the run's"] if marked else []),
            *answer(end, refused=command in attack.refused_by),
        ]


def blind_to(top: Path) -> list[str]:
    """Negative control: acts that the watch has to see, and does not."""
    return [name for name, act in ACTS.items() if not noticed(act, Path(tempfile.mkdtemp(dir=top)))]


def noticed(act: Callable[[Path], object], top: Path) -> bool:
    (top / "run").mkdir()
    (top / "outside").mkdir()
    (top / "run" / "evil.py").write_text("x = 1\n")
    (top / "run" / "link").symlink_to(top / "outside" / "victim")
    (top / "pickle").write_bytes(pickle.dumps(Path))

    def work() -> int:
        with suppress(OSError, ImportError):
            act(top)
        return 0

    forked(lambda: watched(work, Watch(top / "run", top, STRANGE), top / "seen"))
    return bool((top / "seen").read_text())


ACTS: dict[str, Callable[[Path], object]] = {
    "a shell": lambda _: os.system("true"),
    "a process": lambda _: subprocess.run(["true"], check=False),
    "a fork": lambda _: os.fork() or os._exit(0),
    "a pickle": lambda top: pickle.loads((top / "pickle").read_bytes()),
    "a module": lambda _: importlib.import_module("turtle"),
    "code of the run": lambda top: runpy.run_path(str(top / "run" / "evil.py")),
    "a connection": lambda _: socket.create_connection(("127.0.0.1", 9), 0.1),
    "a write outside": lambda top: (top / "outside" / "x").write_text(""),
    "a write through a link": lambda top: (top / "run" / "link").write_text(""),
    "a move out": lambda top: (top / "run" / "evil.py").rename(top / "outside" / "evil.py"),
    "a link outside": lambda top: (top / "outside" / "x").symlink_to("/etc"),
    "a cut through a link": lambda top: os.truncate(top / "run" / "link", 0),
}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Of every plain file in it, with what else there is."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def answer(end: End, refused: bool) -> list[str]:
    """A paragraph and exit code 1 or 2, or 0 where what was spoilt does not concern the command."""
    collected = []
    if end.code not in ((1, 2) if refused else (0, 1, 2)):
        collected.append(f"exit code {end.code}: {end.out[-600:]}")
    if "Traceback" in end.out or (end.code and len(end.out) > LONGEST):
        collected.append(f"said {end.out[-900:]}")
    if any(text in end.out for text in OBEYED):
        collected.append(f"sent to the terminal what it obeys: {end.out[-300:]!a}")
    if end.peak > MOST_MEMORY:
        collected.append(f"took {end.peak / 1e9:.1f} GB of memory")
    if end.cpu > SLOWEST:
        collected.append(f"computed for {end.cpu:.0f} s")
    return collected


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--every", type=int, nargs="+", default=[1], metavar="N", help="each N-th attack")
    parser.add_argument("--only", default="", metavar="TEXT", help="attacks whose names contain this")
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    given = parser.parse_args(argv)
    every = given.every * len(given.commands) if len(given.every) == 1 else given.every
    failures = 0
    with tempfile.TemporaryDirectory(prefix="malice_", dir=folder_in_memory()) as top:
        if unseen := blind_to(Path(top)):
            print(f"the watch does not see {', '.join(unseen)}")
            return 1
        good = good_run(Path(top))
        for command, step in zip(given.commands, every, strict=True):
            begun = time.monotonic()
            names = [name for name in list(ATTACKS)[::step] if given.only in name]
            names = [name for name in names if ATTACKS[name].on_sweeps == (command == "sweep")]
            for problem in (f"{name}: {told}" for name in names for told in tried(name, good, command)):
                failures += 1
                print(f"{command}: {problem}", flush=True)
            print(f"{len(names)} attacks on {command}: {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{failures} failures")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
