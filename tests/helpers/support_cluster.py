"""A Slurm cluster started for a campaign: the daemons, their files, and nodes in network namespaces."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.support_faults import until

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
SlurmctldHost={host}({address})
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
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
SlurmdTimeout=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
{nodes}
PartitionName=low Nodes={names} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=120
PartitionName=high Nodes={names} MaxTime=INFINITE State=UP PriorityTier=10
"""
NODE = "NodeName={name} NodeAddr={address} CPUs=2 RealMemory=16000"
BRIDGE, NETWORK = "pgruncamp", "10.231.77."  # of the nodes' network; the controller is its .1
MUNGE_FILES = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def find_programs(root: Path | None) -> dict[str, str]:
    """Each by its name, or by Debian's; those that are not there are missing."""
    places = [root / "usr/bin", root / "usr/sbin"] if root else []
    path = os.pathsep.join([*map(str, places), os.environ["PATH"], "/usr/sbin", "/sbin"])
    programs = {
        name: shutil.which(name, path=path) or shutil.which(f"{name}-wlm", path=path) for name in PROGRAMS
    }
    return {name: place for name, place in programs.items() if place}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def host_name() -> str:
    return socket.gethostname().partition(".")[0]


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


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


@dataclass
class Node:
    """A machine of its own as far as Slurm sees: a host name, an address, and a network that can be cut."""

    name: str
    address: str
    slurmd: tuple[str, ...]
    folder: Path
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def inside(self) -> tuple[str, ...]:
        """What makes a command run on it; ``ip netns exec`` would hide the control groups."""
        named = ("unshare", "--uts", "sh", "-c", f'hostname {self.name} && exec "$@"', "sh")
        return "nsenter", f"--net=/run/netns/{self.name}", *named

    def plug_in(self) -> None:
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self.name, "master", BRIDGE, "up")
        for words in (
            ("addr", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            run("ip", "-n", self.name, *words)

    def start(self) -> None:
        (self.folder / "spool" / self.name).mkdir(exist_ok=True)
        out = self.folder / f"slurmd_{self.name}.out"
        self.running.enter_context(daemon(*self.inside, *self.slurmd, log=out))

    def die(self) -> None:
        """Power off: the cable is dead and every process of it gone, without a word to anybody."""
        run("ip", "link", "set", self.name, "down")
        for pid in ask("ip", "netns", "pids", self.name).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def boot(self) -> None:
        self.running.close()
        run("ip", "link", "set", self.name, "up")
        self.start()

    def remove(self) -> None:
        self.running.close()
        self.die()
        ask("ip", "link", "del", self.name)
        ask("ip", "netns", "del", self.name)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def network(nodes: Sequence[Node]) -> Iterator[None]:
    """A bridge, and a cable from it into the namespace of each node."""
    if not nodes:
        yield
        return
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        run("ip", "addr", "add", f"{NETWORK}1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for node in nodes:
            node.plug_in()
        yield
    finally:
        for node in nodes:
            node.remove()
        run("ip", "link", "del", BRIDGE)


@contextmanager
def cluster(
    folder: Path, programs: dict[str, str], root: Path | None = None, count: int = 1
) -> Iterator[dict[str, Node]]:
    """The daemons, until the block ends; what they need to be found by is in ``os.environ`` meanwhile.

    One node is this machine; several are namespaces of it, yielded by their names.
    """
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
    slurmd = programs["slurmd"], "-D", "-d", programs["slurmstepd"]
    nodes = [Node(f"node{n}", f"{NETWORK}{10 + n}", slurmd, folder) for n in range(1, count + 1) if count > 1]
    places = {node.name: node.address for node in nodes} or {host_name(): "127.0.0.1"}
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(
            folder=folder,
            host=host_name(),
            address=f"{NETWORK}1" if nodes else "127.0.0.1",
            plugins=plugins,
            controller=free_port(),
            daemon=free_port(),
            nodes="\n".join(NODE.format(name=name, address=place) for name, place in places.items()),
            names=",".join(places),
        )
    )
    bin_folder = str(Path(programs["srun"]).parent)
    os.environ |= {"SLURM_CONF": str(conf), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    munged = [f"--{name}={folder}/munge.{end}" for name, end in MUNGE_FILES.items()]
    with (
        network(nodes),
        daemon(programs["munged"], "--foreground", "--force", *munged, log=folder / "munged.out"),
        daemon(programs["slurmctld"], "-D", "-c", log=folder / "slurmctld.out"),
        ExitStack() as here,
    ):
        for node in nodes:
            node.start()
        if not nodes:
            (folder / "spool" / host_name()).mkdir()
            here.enter_context(daemon(*slurmd, log=folder / "slurmd.out"))
        if not until(
            lambda: ask("sinfo", "-h", "-N", "-p", "low", "-o", "%T") == "\n".join(["idle"] * count), 60
        ):
            raise RuntimeError(f"{ask('sinfo', '-N')}\n{read_logs(folder)}")
        try:
            yield {node.name: node for node in nodes}
        finally:
            ask("scancel", "--state=PENDING,RUNNING", "--user=root")
            until(lambda: not ask("squeue", "-h"), 60)


def read_logs(folder: Path) -> str:
    texts = [path for path in sorted(folder.glob("*.*o*")) if path.is_file()]
    return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in texts)
