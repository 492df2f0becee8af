"""Slurm campaign: a cluster of one node, started here, used by sweeps and stopped again.

    python tests/campaigns/slurm.py                   all of it: some minutes on two quiet cores
    python tests/campaigns/slurm.py --only NAME …     some of the sections
    python tests/campaigns/slurm.py --root DIR        programs unpacked into DIR instead of installed

It needs root, and the programs of Slurm and MUNGE, which it does not install: where they are missing it says
what to install. The cluster keeps its files, its key and its ports to itself. Exit code 1 if anything is not
as it should be, 2 where it cannot be tried.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgrun.command.folder_names import find_job_folders
from tests.helpers.support_faults import LINE, MODULE, Sweep, results, steps, told, until

INSTALL = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
PROGRAMS = (
    "munged",
    "slurmctld",
    "slurmd",
    "slurmstepd",
    "sbatch",
    "srun",
    "scontrol",
    "squeue",
    "scancel",
    "sinfo",
)
CONF = """
ClusterName=campaign
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
{plugins}
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=120
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10
"""
SLURM = "hydra/launcher=slurm hydra.launcher.partition=low"


def find_programs(root: Path | None) -> dict[str, str]:
    """Each by its name, or by Debian's; those that are not there are missing."""
    places = [root / "usr/bin", root / "usr/sbin"] if root else []
    path = os.pathsep.join([*map(str, places), os.environ["PATH"], "/usr/sbin", "/sbin"])
    found = {
        name: shutil.which(name, path=path) or shutil.which(f"{name}-wlm", path=path) for name in PROGRAMS
    }
    return {name: place for name, place in found.items() if place}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def daemon(*command: str, log: Path) -> Iterator[None]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


@contextmanager
def cluster(folder: Path, programs: dict[str, str], root: Path | None) -> Iterator[None]:
    """The daemons, until the block ends; what they need to be found by is in ``os.environ`` meanwhile."""
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    libraries = root / "usr/lib/x86_64-linux-gnu" if root else None
    plugins = f"PluginDir={libraries}/slurm-wlm" if libraries else ""
    if libraries:
        os.environ["LD_LIBRARY_PATH"] = f"{libraries}:{libraries}/slurm-wlm"
    conf = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    conf.write_text(
        CONF.format(folder=folder, host=host, plugins=plugins, controller=free_port(), daemon=free_port())
    )
    bin_folder = str(Path(programs["srun"]).parent)
    os.environ |= {"SLURM_CONF": str(conf), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    munged = [f"--{name}={folder}/munge.{end}" for name, end in MUNGE_FILES.items()]
    with (
        daemon(programs["munged"], "--foreground", "--force", *munged, log=folder / "munged.out"),
        daemon(programs["slurmctld"], "-D", "-c", log=folder / "slurmctld.out"),
        daemon(programs["slurmd"], "-D", "-d", programs["slurmstepd"], log=folder / "slurmd.out"),
    ):
        if not until(lambda: "idle" in ask("sinfo", "-h", "-o", "%T"), 60):
            raise RuntimeError(read_logs(folder))
        try:
            yield
        finally:
            ask("scancel", "--state=PENDING,RUNNING", "--user=root")
            until(lambda: not ask("squeue", "-h"), 60)


MUNGE_FILES = {
    "key-file": "key",
    "socket": "sock",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def read_logs(folder: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(folder.glob("*.*o*")))


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


def twenty_jobs(here: Path) -> list[str]:
    """An array of twenty, two at a time, on one node."""
    line = LINE.replace("total_steps=128", "total_steps=32")
    reference(here, "range(0,20)", line)
    answer = submitted(here, "range(0,20)", line).answer()
    wrong = [] if answer.code == 0 else [f"exit code {answer.code}: {answer.err[-800:]}"]
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
    host = socket.gethostname().partition(".")[0]

    def lose_node(number: str) -> None:
        ask("scontrol", "update", f"NodeName={host}", "State=DOWN", "Reason=campaign")
        until(lambda: restarts_of(number) > 0)
        ask("scontrol", "update", f"NodeName={host}", "State=RESUME")

    return started_again(here, lose_node)


def started_again(here: Path, take: Callable[[str], object]) -> list[str]:
    """The second of two jobs is taken away by ``take`` once it is saved: what is wrong with the sweep."""
    sweep, number, before = start_slow_job(here)
    take(number)
    sweep.wait_for(lambda: restarts_of(number) > 0)
    saved = sweep.saved(job_folder(here / "s", "1"))
    (here / "fault").unlink()
    answer = sweep.answer()
    wrong = [] if answer.code == 0 else [f"exit code {answer.code}: {answer.err[-800:]}"]
    wrong += [] if 32 <= saved < 128 else [f"it was not interrupted, or not saved: step {saved}"]
    wrong += [] if steps(here, 1) < 3 * before else ["it began again from the start"]
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
    (here / "fault").write_text("1 slow")
    sweep = submitted(here, "0,1", LINE)
    sweep.wait_for(lambda: sweep.saved(job_folder(here / "s", "1")) >= 32)
    return sweep, next(job for task, _, job in state_of_jobs() if task == "1"), whole


def job_folder(sweep: Path, number: str) -> Path:
    """The folder of a sweep's job; before it is made, one that is not there."""
    return find_job_folders(sweep).get(int(number), sweep / number)


def restarts_of(number: str) -> int:
    found = [word for word in ask("scontrol", "show", "job", number).split() if word.startswith("Restarts=")]
    return int(found[0].partition("=")[2]) if found else 0


SECTIONS: dict[str, Callable[[Path], list[str]]] = {
    "preempted": preempted,
    "requeued": requeued,
    "cancelled": cancelled,
    "node_lost": node_lost,
    "twenty_jobs": twenty_jobs,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, help="where packages were unpacked (dpkg -x), if not installed")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(SECTIONS), choices=list(SECTIONS))
    given = parser.parse_args(argv)
    programs = find_programs(given.root)
    if missing := [name for name in PROGRAMS if name not in programs]:
        print(f"not here: {', '.join(missing)}; to try it: {INSTALL}")
        return 2
    if os.geteuid() != 0:
        print("the daemons of a cluster that runs jobs need root")
        return 2
    failures = 0
    with tempfile.TemporaryDirectory(prefix="slurm_") as name:
        (Path(name) / "cluster").mkdir()
        (Path(name) / "faulty.py").write_text(MODULE)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, os.environ.get("PYTHONPATH", "")])
        with cluster(Path(name) / "cluster", programs, given.root):
            print(ask("sinfo"), flush=True)
            for section in given.only:
                here, begun = Path(name) / section, time.monotonic()
                here.mkdir()
                wrong = SECTIONS[section](here)
                failures += len(wrong)
                print(
                    f"{section:<14}{'; '.join(wrong) or 'equal'}  {time.monotonic() - begun:.0f} s",
                    flush=True,
                )
            os.chdir("/")
    return int(bool(failures))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
