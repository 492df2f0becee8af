"""``ablate=<practice>`` leaves one practice out.

One that the algorithm does not read would only repeat ``ablate=nothing``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gymnasium import Space
from omegaconf import OmegaConf

from pgrun.command.compose import Job
from pgrun.command.overrides import CliOverride
from pgrun.command.unused_settings import find_unused_settings
from pgrun.config.paths import conf_dir
from pgrun.config.settings import flatten_settings
from pgrun.errors import Mistake


def find_ineffective_ablation(
    job: Job, chosen: Mapping[str, Any], space: Space[Any] | None
) -> Iterator[Mistake]:
    """``chosen``: the class of each group. Said where nothing reads any setting of the option's file."""
    path = conf_dir() / "ablate" / f"{job.choices.get('ablate')}.yaml"
    if not path.exists():  # none, or one of the user's own
        return
    settings = flatten_settings(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    changed = [CliOverride(key, key, "changed") for key in settings if key != "ablate"]
    reasons = list(find_unused_settings(changed, job.settings, chosen, space))
    if changed and len(reasons) == len(changed):
        yield Mistake("ablate", path.stem, f"changes nothing here: {reasons[0]}", "leave it out of ablate=…")
