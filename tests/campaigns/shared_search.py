"""Shared-search campaign: two commands on one study, one of them killed and continued, the dashboard asked.

    python tests/campaigns/shared_search.py                          a journal file, SQLite and PostgreSQL
    python tests/campaigns/shared_search.py --only journal           one of them
    python tests/campaigns/shared_search.py --dashboard PROGRAM      optuna-dashboard, if not in PATH

PostgreSQL is a cluster of its own in a temporary folder, with a password, started and stopped here; it needs
Debian's ``postgresql`` and psycopg. Exit code 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import optuna

from pgrun.command.folder_names import find_job_folders
from pgrun.runs.search.shared_study import open_storage
from tests.helpers.support_faults import Sweep, until
from tests.helpers.support_search import LINE, MODULE, X, value

TRIALS = 12
SECRET = "correct-horse"
WORDS = f"{LINE.replace(' hydra.sweep.dir=s', '')} {X} seeds=[0,1] hydra.sweeper.n_trials={TRIALS}"
KINDS = ("journal", "sqlite", "postgresql")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def storage_of(kind: str, here: Path) -> Iterator[str]:
    """A new one, as ``hydra.sweeper.storage`` has it."""
    if kind == "postgresql":
        with postgres(here / "db") as url:
            yield url
    else:
        yield {"journal": f"{here}/study.journal", "sqlite": f"sqlite:///{here}/study.db"}[kind]


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of its own; the password is in PGPASSWORD alone."""
    folder.mkdir(mode=0o700)
    (folder / "password").write_text(SECRET)
    if os.geteuid() == 0:  # whom it refuses to serve
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
    auth = ["--auth=scram-sha-256", "--username=me", f"--pwfile={folder}/password"]
    call_postgres("initdb", "-D", f"{folder}/data", *auth)
    port = str(free_port())
    (folder / "data" / "postgresql.auto.conf").write_text(
        f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\n"
    )
    os.environ["PGPASSWORD"] = SECRET
    serve(folder, "start")
    try:
        call_postgres("createdb", "-h", "127.0.0.1", "-p", port, "-U", "me", "trials")
        yield f"postgresql://me@127.0.0.1:{port}/trials"
    finally:
        del os.environ["PGPASSWORD"]
        serve(folder, "stop", "-m", "fast")


def serve(folder: Path, *what: str) -> None:
    call_postgres("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", *what)


def call_postgres(program: str, *words: str) -> None:
    """As the user postgres where this is root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    place = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1] / program
    done = subprocess.run([*prefix, place, *words], cwd="/", stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(words)}: exit code {done.returncode}")


def conduct(kind: str, here: Path, dashboard: str | None) -> list[str]:
    """What is not as it should be."""
    os.chdir(here)
    with storage_of(kind, here) as storage:
        words = f"{WORDS} hydra.sweeper.study=peak hydra.sweeper.storage={storage}"
        (here / "slow").touch()
        one, two = (Sweep(f"{words} hydra.sweep.dir={name}") for name in ("one", "two"))
        one.wait_for(
            lambda: len(finished(here / "one")) >= 2 and list((here / "one").rglob("000000016.json"))
        )
        os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
        (here / "slow").unlink()
        other = two.answer(900)
        wrong = [] if other.code == 0 else [f"the other: exit code {other.code}: {other.err[-800:]}"]
        again = Sweep(f"{words} hydra.sweep.dir=one resume=auto").answer(900)
        wrong += [] if again.code == 0 else [f"continued: exit code {again.code}: {again.err[-800:]}"]
        study = optuna.load_study(study_name="peak", storage=open_storage(storage))
        wrong += check_trials(study, here)
        wrong += ask_dashboard(dashboard, storage) if dashboard else ["no optuna-dashboard to open"]
        wrong += [f"the password is in {path}" for path in here.glob("*/**/*") if holds_secret(path)]
        if kind == "postgresql":
            wrong += lose_server(here, words, storage)
    return wrong


def finished(sweep: Path) -> list[Path]:
    return [folder for folder in find_job_folders(sweep).values() if (folder / "summary.json").exists()]


def check_trials(study: optuna.Study, here: Path) -> list[str]:
    """Every trial ran in one of the folders, once, and is told as what it came to in closed form."""
    trials = study.get_trials(deepcopy=False)
    owners = [set(find_job_folders(here / name)) for name in ("one", "two")]
    wrong = [] if len(trials) == TRIALS else [f"{len(trials)} trials"]
    wrong += [] if not owners[0] & owners[1] else [f"both have {owners[0] & owners[1]}"]
    wrong += [] if owners[0] | owners[1] == set(range(TRIALS)) else [f"folders {owners}"]
    wrong += [] if all(owners) else ["one of them had nothing to do"]
    values = [trial.params["++env.kwargs.x"] for trial in trials]
    wrong += [] if len(set(values)) == TRIALS else ["a trial was proposed twice"]
    for trial, x in zip(trials, values, strict=True):
        pruned = trial.state.name == "PRUNED"
        expected = value(x, [0] if pruned else [0, 1])
        told = trial.intermediate_values[1] if pruned else trial.value
        if trial.state.name not in ("COMPLETE", "PRUNED") or abs((told or 0.0) - expected) > 1e-6:
            wrong.append(f"trial {trial.number}: {trial.state.name}, {told}, not {expected}")
    print(f"  {len(owners[0])} + {len(owners[1])} trials, best {study.best_value:.6f}", flush=True)
    return wrong


def holds_secret(path: Path) -> bool:
    return path.is_file() and "db" not in path.parts and SECRET.encode() in path.read_bytes()


def ask_dashboard(program: str, storage: str) -> list[str]:
    """Start it on the storage and read the study from it, as its page does."""
    port = free_port()
    place = storage.replace("postgresql://", "postgresql+psycopg://")
    process = subprocess.Popen(
        [program, place, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        seen: list[Any] = []

        def look() -> bool:
            with suppress(OSError):
                seen[:] = read_json(port, "/api/studies")["study_summaries"]
            return bool(seen) or process.poll() is not None

        until(look, 120)
        if process.poll() is not None or not seen:
            return [f"dashboard: {process.communicate()[0][-800:] if process.poll() is not None else seen}"]
        trials = read_json(port, f"/api/studies/{seen[0]['study_id']}?after=0")["trials"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/dashboard/") as page:
            shown = b"<html" in page.read().lower()
        good = seen[0]["study_name"] == "peak" and len(trials) == TRIALS and shown
        return [] if good else [f"dashboard: {seen[0]}, {len(trials)} trials, page {shown}"]
    finally:
        process.terminate()
        process.wait(30)


def read_json(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)


def lose_server(here: Path, words: str, storage: str) -> list[str]:
    """The server goes away while a trial runs: one line, exit code 1; with it back, ``resume=auto``."""
    more = words.replace(f"n_trials={TRIALS}", f"n_trials={TRIALS + 2}")
    (here / "slow").touch()
    sweep = Sweep(f"{more} hydra.sweep.dir=three")
    sweep.wait_for(lambda: list((here / "three").rglob("000000016.json")))
    serve(here / "db", "stop", "-m", "immediate")
    (here / "slow").unlink()
    answer = sweep.answer(900)
    clean = answer.code == 1 and "goes on with resume=auto" in answer.err and "Traceback" not in answer.err
    wrong = [] if clean else [f"without its server: exit code {answer.code}: {answer.err[-900:]}"]
    serve(here / "db", "start")
    again = Sweep(f"{more} hydra.sweep.dir=three resume=auto").answer(900)
    wrong += [] if again.code == 0 else [f"with it back: exit code {again.code}: {again.err[-900:]}"]
    study = optuna.load_study(study_name="peak", storage=open_storage(storage))
    done = [trial.state.is_finished() for trial in study.get_trials(deepcopy=False)]
    wrong += [] if done == [True] * (TRIALS + 2) else [f"trials over: {done}"]
    return wrong


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="KIND", default=list(KINDS), choices=KINDS)
    parser.add_argument("--dashboard", default=shutil.which("optuna-dashboard"))
    given = parser.parse_args(argv)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="shared_") as name:
        Path(name).chmod(0o755)
        (Path(name) / "peak.py").write_text(MODULE)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, os.environ.get("PYTHONPATH", "")])
        for kind in given.only:
            here, begun = Path(name) / kind, time.monotonic()
            here.mkdir()
            wrong = conduct(kind, here, given.dashboard)
            failures += len(wrong)
            print(
                f"{kind:<12}{'; '.join(wrong) or 'as it should be'}  {time.monotonic() - begun:.0f} s",
                flush=True,
            )
            os.chdir("/")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
