"""When an evaluation fails: what was learned is there, and the run says how it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgrun.errors import EnvironmentFault

CAP = 1000  # steps, in what is proposed


@contextmanager
def explaining_evaluation_faults(
    settings: Mapping[str, Any], folder: Path, saved_at: int | None
) -> Iterator[None]:
    """Around an evaluation; ``saved_at``: environment steps of the last checkpoint, None where training is
    over and saved.
    """
    try:
        yield
    except EnvironmentFault as fault:
        raise EnvironmentFault(f"{fault}; {describe_way_on(settings, folder, saved_at)}") from fault


def describe_way_on(settings: Mapping[str, Any], folder: Path, saved_at: int | None) -> str:
    from pgrun.training.identity import format_resume_command

    kept = "training is over and saved with its policy"
    if saved_at is not None:
        kept = f"training is saved up to environment step {saved_at}"
    command = format_resume_command(settings, folder)
    return f"{kept}: {command} goes on, and trainer.eval_max_steps={CAP} cuts the episodes of evaluations"
