"""Whether this machine has what a job computes and records with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from pgrun.config.pages import install_command
from pgrun.errors import Mistake


def refuse_unknown_to_kernels(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    from pgrun.training.backends import find_unknown_to_kernels

    if isinstance(settings.get("network"), Mapping) and "name" in settings["network"]:
        for choice in find_unknown_to_kernels(settings):
            yield Mistake(
                "backend", "compiled", f"{choice} has no kernels", "take backend=auto, which is torch with it"
            )


def check_trackers(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """Whether what ``logger.also`` names is installed, before anything trains."""
    logger = settings.get("logger")
    names = logger.get("also") if isinstance(logger, Mapping) else None
    if isinstance(names, list):
        from pgrun.storage.trackers.base import find_missing_trackers

        for name in find_missing_trackers([name for name in names if isinstance(name, str)]):
            yield Mistake("logger.also", f"[{name}]", f'needs the extra "{name}": {install_command(name)}')


def check_films(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """Whether ``trainer.film_every`` can write a film here."""
    trainer = settings.get("trainer")
    if isinstance(trainer, Mapping) and trainer.get("film_every") and find_spec("imageio_ffmpeg") is None:
        needs = f'needs the extra "video": {install_command("video")}'
        yield Mistake("trainer.film_every", trainer["film_every"], needs)


def check_device(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """What computes, and whether it can here."""
    from pgrun.kernels import missing_packages

    if settings.get("backend") == "compiled":
        if settings["device"] != "cpu":
            yield Mistake(
                "backend",
                "compiled",
                f"compiled is for the CPU, and device={settings['device']}",
                "take backend=auto",
            )
        if missing := missing_packages():
            names = " and ".join(missing)
            yield Mistake(
                "backend",
                "compiled",
                f"{names} is not installed",
                f"pip install {' '.join(missing)}, or take backend=torch",
            )
        yield from refuse_unknown_to_kernels(settings)
    if settings["device"] == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield Mistake(
                "device",
                "cuda",
                "no CUDA device is available here",
                "take device=cpu, or device=auto for whichever there is",
            )
