"""What ``hydra.launcher.*`` and ``hydra.sweeper.*`` may be: the launchers' own errors come when the sweep's
folders are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import OmegaConf

from pgrun.config.schema import Form, NonNegativeInt, Positive, PositiveInt, Range, find_violations
from pgrun.errors import Mistake
from pgrun.terminal.writable import reason_unwritable

if TYPE_CHECKING:
    from pgrun.command.compose import Job

Once = Literal[1]


@dataclass(frozen=True)
class AtOnce(Range):
    """Jobs at once: a number, or −1 for as many as there are CPUs, −2 for one less."""

    low: float = -1024
    high: float = 1024

    def __contains__(self, x: float) -> bool:
        return x != 0 and super().__contains__(x)

    def __str__(self) -> str:
        return "≥ 1, or −1 for as many as there are CPUs"


@dataclass(frozen=True)
class Joblib:
    """joblib's ``Parallel``: jobs in processes, since a job's signals and settings are its process's."""

    n_jobs: Annotated[int, AtOnce()] = -1
    backend: Literal["loky"] | None = None
    prefer: Literal["processes"] = "processes"
    require: Literal[None] = None
    verbose: NonNegativeInt = 0
    timeout: Positive | None = None
    pre_dispatch: Annotated[
        str, Form(r"all|[1-9]\d*|([1-9]\d*\*)?n_jobs", "all, or a number such as 2*n_jobs")
    ] = "2*n_jobs"
    batch_size: Annotated[str, Form(r"auto|[1-9]\d*", "auto or ≥ 1")] = "auto"
    temp_folder: str | None = None
    max_nbytes: Annotated[str, Form(r"\d+[KMG]", "a size such as 100M")] | None = None
    mmap_mode: Literal["r+", "r", "w+", "c"] = "r"


@dataclass(frozen=True)
class Submitit:
    """One task a job: several would be as many runs in one folder."""

    submitit_folder: str = ""
    timeout_min: PositiveInt = 60
    cpus_per_task: PositiveInt | None = None
    gpus_per_node: NonNegativeInt | None = None
    tasks_per_node: Once = 1
    mem_gb: PositiveInt | None = None
    nodes: Once = 1
    name: str = "pgrun"
    stderr_to_stdout: bool = False


@dataclass(frozen=True)
class Slurm(Submitit):
    """What sbatch is told. Strings are the cluster's own names."""

    partition: str | None = None
    qos: str | None = None
    comment: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    cpus_per_gpu: PositiveInt | None = None
    gpus_per_task: NonNegativeInt | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    account: str | None = None
    signal_delay_s: NonNegativeInt = 120
    max_num_timeout: NonNegativeInt = 0
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    array_parallelism: PositiveInt = 256
    setup: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Basic:
    """Hydra's own sweeper."""

    max_batch_size: PositiveInt | None = None
    params: dict[str, Any] | None = None


KNOWN = {  # by the class that Hydra makes
    "JoblibLauncher": Joblib,
    "LocalLauncher": Submitit,
    "SlurmLauncher": Slurm,
    "BasicSweeper": Basic,
}


def find_wrong_launcher(job: Job) -> Iterator[Mistake]:
    """What is wrong with a sweep's launcher and sweeper.

    Those that are not pgrun's extras look after themselves.
    """
    for part in ("launcher", "sweeper"):
        given: Any = OmegaConf.to_container(job.hydra[part], resolve=True)
        known = KNOWN.get(str(given.pop("_target_", "")).rpartition(".")[2])
        if known is None:
            continue
        yield from find_violations(f"hydra.{part}.", given, known)
        for name in ("submitit_folder", "temp_folder"):
            folder = given.get(name)
            if folder is not None and (reason := reason_unwritable(Path(str(folder).replace("%j", "0")))):
                yield Mistake(
                    f"hydra.{part}.{name}", folder, f"cannot be written: {reason}", "choose another folder"
                )
