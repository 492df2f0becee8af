"""Slurm campaign: a cluster of one node, and one of two, started here, used by sweeps and stopped again.

    python tests/campaigns/slurm.py                   all of it: some minutes on two quiet cores
    python tests/campaigns/slurm.py --only NAME …     some of the sections
    python tests/campaigns/slurm.py --root DIR        programs unpacked into DIR instead of installed

It needs root, and the programs of Slurm and MUNGE, which it does not install: where they are missing it says
what to install. The cluster keeps its files, its key and its ports to itself; two nodes are network
namespaces with host names of their own on one bridge. Exit code 1 if anything is not
as it should be, 2 where it cannot be tried.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgrun.command.folder_names import find_job_folders
from tests.helpers.support_cluster import INSTALL, PROGRAMS, Node, ask, cluster, find_programs, host_name
from tests.helpers.support_faults import LINE, MODULE, Sweep, results, steps, told, until

SLURM = "hydra/launcher=slurm hydra.launcher.partition=low"


def state_of_jobs() -> list[tuple[str, str, str]]:
    """(number of the array's task, state, restarts) of those that are not over."""
    lines = ask("squeue", "-h", "-r", "-o", "%K %T %i").splitlines()
    return [tuple(line.split()) for line in lines]  # type: ignore[misc]


def reference(here: Path, seeds: str, line: str) -> None:
    """The same sweep without Slurm."""
    done = subprocess.run(
        [sys.executable, "-m", "pgrun", "-m", f"seed={seeds}", *line.replace("dir=s", "dir=whole").split()],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def submitted(here: Path, seeds: str, line: str) -> Sweep:
    os.chdir(here)
    return Sweep(f"-m {SLURM} seed={seeds} {line}")


def compare(here: Path, names: Sequence[str]) -> list[str]:
    """What is not as in the sweep that nobody stopped."""
    status = [result["status"] for result in results(here / "s")]
    wrong = [] if status == ["finished"] * len(names) else [f"ended as {status}"]
    return wrong or [
        f"job {name} differs"
        for name in names
        if told(job_folder(here / "s", name)) != told(job_folder(here / "whole", name))
    ]


def twenty_jobs(here: Path, *words: str) -> list[str]:
    """An array of twenty; every job's output is found by its number."""
    line = " ".join([LINE.replace("total_steps=128", "total_steps=32"), *words])
    reference(here, "range(0,20)", LINE.replace("total_steps=128", "total_steps=32"))
    answer = submitted(here, "range(0,20)", line).answer(900)
    wrong = [] if answer.code == 0 else [f"exit code {answer.code}: {answer.err[-800:]}"]
    logs = [path for path in find_logs(here / "s") if "evaluation" in path.read_text()]
    wrong += [] if len(logs) == 20 else [f"{len(logs)} logs tell of an evaluation"]
    return wrong or compare(here, [str(n) for n in range(20)])


def preempted(here: Path) -> list[str]:
    """A job pushed aside by one of a more important partition: USR2 from Slurm, saved, queued again by
    submitit.
    """
    high = ("--partition=high", "--exclusive", "--wrap=sleep 5", "--output=/dev/null")
    return started_again(here, lambda _number: ask("sbatch", *high))


def requeued(here: Path) -> list[str]:
    """A job put back into the queue by hand (SIGTERM without submitit's doing) goes on where it was saved."""
    return started_again(here, lambda number: ask("scontrol", "requeue", number))


def node_lost(here: Path) -> list[str]:
    """The node is declared dead while a job runs on it, and comes back: Slurm starts the job again."""
    host = host_name()

    def lose_node(number: str) -> None:
        ask("scontrol", "update", f"NodeName={host}", "State=DOWN", "Reason=campaign")
        until(lambda: restarts_of(number) > 0)
        ask("scontrol", "update", f"NodeName={host}", "State=RESUME")

    return started_again(here, lose_node)


def started_again(here: Path, take: Callable[[str], object], elsewhere: bool = False) -> list[str]:
    """The second of two jobs is taken away by ``take`` once it is saved: what is wrong with the sweep.

    ``elsewhere``: it has to go on on another node.
    """
    sweep, number, before = start_slow_job(here)
    first = node_of(number)
    take(number)
    sweep.wait_for(lambda: restarts_of(number) > 0)
    saved, second = sweep.saved(job_folder(here / "s", "1")), ""
    (here / "fault").unlink()
    if elsewhere:
        sweep.wait_for(lambda: ("1", "RUNNING") in {(task, state) for task, state, _ in state_of_jobs()})
        second = node_of(number)
    answer = sweep.answer(900)
    wrong = [] if answer.code == 0 else [f"exit code {answer.code}: {answer.err[-800:]}"]
    wrong += [] if 32 <= saved < 128 else [f"it was not interrupted, or not saved: step {saved}"]
    wrong += [] if steps(here, 1) < 3 * before else ["it began again from the start"]
    wrong += [f"it went on on {second}"] if elsewhere and second in (first, "") else []
    return wrong or compare(here, ["0", "1"])


def cancelled(here: Path) -> list[str]:
    """A job taken away by ``scancel`` is saved and told; ``resume=auto`` goes on with it."""
    sweep, number, _ = start_slow_job(here)
    ask("scancel", number)
    sweep.wait_for(lambda: "1" not in {task for task, state, _ in state_of_jobs() if state == "RUNNING"})
    (here / "fault").unlink()
    answer = sweep.answer()
    wrong = [] if answer.code == 1 else [f"exit code {answer.code}: {answer.err[-800:]}"]
    wrong += [] if "interrupted: stopped by SIGTERM" in answer.err else [answer.err[-800:]]
    again = submitted(here, "0,1", f"{LINE} resume=auto").answer()
    wrong += [] if again.code == 0 else [f"resumed: exit code {again.code}: {again.err[-800:]}"]
    return wrong or compare(here, ["0", "1"])


def start_slow_job(here: Path) -> tuple[Sweep, str, int]:
    """A sweep of two jobs, the second of which is slow and has been saved; Slurm's number of it, and how many
    steps it takes without a stop.
    """
    reference(here, "0,1", LINE)
    whole = steps(here, 1)
    (here / "fault").write_text("1 crawl")
    sweep = submitted(here, "0,1", LINE)
    sweep.wait_for(lambda: sweep.saved(job_folder(here / "s", "1")) >= 32)
    return sweep, next(job for task, _, job in state_of_jobs() if task == "1"), whole


def job_folder(sweep: Path, number: str) -> Path:
    """The folder of a sweep's job; before it is made, one that is not there."""
    return find_job_folders(sweep).get(int(number), sweep / number)


def restarts_of(number: str) -> int:
    collected = [
        word for word in ask("scontrol", "show", "job", number).split() if word.startswith("Restarts=")
    ]
    return int(collected[0].partition("=")[2]) if collected else 0


def preempted_from_its_node(here: Path, nodes: dict[str, Node]) -> list[str]:
    """A job of higher priority takes the node, and keeps it: the job goes on on the other one."""

    def take(number: str) -> None:
        high = ("--partition=high", "--exclusive", "--wrap=sleep 240", "--output=/dev/null")
        ask("sbatch", *high, f"--nodelist={node_of(number)}")

    wrong = started_again(here, take, elsewhere=True)
    ask("scancel", "--partition=high", "--user=root")
    return wrong


def requeued_from_its_node(here: Path, nodes: dict[str, Node]) -> list[str]:
    """The node is drained and the job queued again: it goes on on the other one."""
    drained: list[str] = []

    def take(number: str) -> None:
        drained.append(node_of(number))
        ask("scontrol", "update", f"NodeName={drained[0]}", "State=DRAIN", "Reason=campaign")
        ask("scontrol", "requeue", number)

    wrong = started_again(here, take, elsewhere=True)
    ask("scontrol", "update", f"NodeName={drained[0]}", "State=RESUME")
    return wrong


def node_dies(here: Path, nodes: dict[str, Node]) -> list[str]:
    """Every process of a node is gone and its network dead; Slurm finds out, and starts its jobs elsewhere
    from what they saved last.
    """
    dead: list[Node] = []

    def take(number: str) -> None:
        dead.append(nodes[node_of(number)])
        dead[0].die()

    wrong = started_again(here, take, elsewhere=True)
    revive(dead)
    return wrong


def node_dies_for_good(here: Path, nodes: dict[str, Node]) -> list[str]:
    """The same, and nobody waits for the second start: ``resume=auto`` goes on on the node that is left."""
    sweep, number, before = start_slow_job(here)
    dead = [nodes[node_of(number)]]
    dead[0].die()
    sweep.wait_for(lambda: restarts_of(number) > 0)
    for _, _, job in state_of_jobs():
        ask("scancel", job)
    (here / "fault").unlink()
    answer = sweep.answer(900)
    wrong = [] if answer.code == 1 else [f"exit code {answer.code}: {answer.err[-800:]}"]
    again = submitted(here, "0,1", f"{LINE} resume=auto").answer(900)
    wrong += [] if again.code == 0 else [f"resumed: exit code {again.code}: {again.err[-800:]}"]
    wrong += [] if steps(here, 1) < 3 * before else ["it began again from the start"]
    revive(dead)
    return wrong or compare(here, ["0", "1"])


def twenty_jobs_on_both(here: Path, nodes: dict[str, Node]) -> list[str]:
    """An array of twenty over both nodes."""
    seen: set[str] = set()
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(0.5):
            seen.update(ask("squeue", "-h", "-t", "RUNNING", "-o", "%N").split())

    thread = threading.Thread(target=watch)
    thread.start()
    wrong = twenty_jobs(here)
    watching.set()
    thread.join()
    return wrong + ([] if seen == set(nodes) else [f"they ran on {sorted(seen)}"])


def revive(dead: Sequence[Node]) -> None:
    """Boot them, and wait for Slurm to have all nodes again."""
    for node in dead:
        node.boot()
    until(lambda: set(ask("sinfo", "-h", "-N", "-p", "low", "-o", "%T").split()) == {"idle"}, 120)


def node_of(number: str) -> str:
    """Where a job runs, or ran last."""
    collected = [
        word for word in ask("scontrol", "show", "job", number).split() if word.startswith("BatchHost=")
    ]
    return collected[0].partition("=")[2] if collected else ""


def find_logs(sweep: Path) -> list[Path]:
    """What jobs said, where submitit puts it: one file for each of the array."""
    return sorted((sweep / ".submitit").glob("*/*_log.out"))


ONE_NODE: dict[str, Callable[[Path], list[str]]] = {
    "preempted": preempted,
    "requeued": requeued,
    "cancelled": cancelled,
    "node_lost": node_lost,
    "twenty_jobs": twenty_jobs,
}
TWO_NODES: dict[str, Callable[[Path, dict[str, Node]], list[str]]] = {
    "preempted_from_its_node": preempted_from_its_node,
    "requeued_from_its_node": requeued_from_its_node,
    "node_dies": node_dies,
    "node_dies_for_good": node_dies_for_good,
    "twenty_jobs_on_both": twenty_jobs_on_both,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [*ONE_NODE, *TWO_NODES]
    parser.add_argument("--root", type=Path, help="where packages were unpacked (dpkg -x), if not installed")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=names, choices=names)
    given = parser.parse_args(argv)
    programs = find_programs(given.root)
    if missing := [name for name in PROGRAMS if name not in programs]:
        print(f"not here: {', '.join(missing)}; to try it: {INSTALL}")
        return 2
    if os.geteuid() != 0:
        print("the daemons of a cluster that runs jobs need root")
        return 2
    failures = 0
    for count, sections in ((1, ONE_NODE), (2, TWO_NODES)):
        if chosen := [name for name in sections if name in given.only]:
            failures += try_cluster(count, chosen, programs, given.root)
    return int(bool(failures))


def try_cluster(count: int, names: Sequence[str], programs: dict[str, str], root: Path | None) -> int:
    """How much was wrong in these sections, on a cluster of so many nodes."""
    failures = 0
    with tempfile.TemporaryDirectory(prefix="slurm_") as name:
        (Path(name) / "cluster").mkdir()
        (Path(name) / "faulty.py").write_text(MODULE)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, os.environ.get("PYTHONPATH", "")])
        with cluster(Path(name) / "cluster", programs, root, count) as nodes:
            print(ask("sinfo", "-N"), flush=True)
            for section in names:
                here, begun = Path(name) / section, time.monotonic()
                here.mkdir()
                wrong = ONE_NODE[section](here) if count == 1 else TWO_NODES[section](here, nodes)
                failures += len(wrong)
                said = "; ".join(wrong) or "equal"
                print(f"{section:<25}{said}  {time.monotonic() - begun:.0f} s", flush=True)
            os.chdir("/")
    return failures


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
