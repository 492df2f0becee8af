"""Words that set something of Hydra's own: those that a run takes, and what is wrong with others."""

from __future__ import annotations

from typing import Any

from pgrun.errors import PROGRAM, Mistake

# Hydra's settings that a command or a file may change, with what lies below them. Any other would be read by
# nothing, or break a run.
CHANGEABLE = (
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.launcher",
    "hydra.sweeper",
    "hydra.searchpath",
    "hydra.verbose",
    "hydra.mode",
    "hydra.output_subdir",
    "hydra.job.name",
    "hydra.job.chdir",
    "hydra.job.config.override_dirname.kv_sep",
    "hydra.job.config.override_dirname.item_sep",
    "hydra.job.config.override_dirname.exclude_keys",
    "hydra.job.env_set",
    "hydra.job.env_copy",
    "hydra.job_logging.root.level",
)
NOT_OURS = f"not for pgrun; of Hydra's own settings there are {', '.join(CHANGEABLE)}"
PARAMS = "hydra.sweeper.params"


def is_changeable(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE)


def find_wrong_hydra_word(text: str, key: str, value: Any, multirun: bool) -> Mistake | None:
    """What can be said of a word before Hydra composes with it, which it may not get through."""
    if problem := find_ineffective(text, key, multirun):
        return problem
    if key == "hydra" or any(name.startswith(f"{key}.") for name in CHANGEABLE):
        return Mistake(text, None, NOT_OURS)
    if key == PARAMS or key.startswith(f"{PARAMS}."):
        return Mistake(text, None, "it is for files", "type the words themselves: seed=0,1")
    if key == "hydra.job.env_copy" and not (isinstance(value, list) and all(map(is_name, value))):
        return Mistake(text, None, "must be a list of environment variables such as [HOME]")
    return None


def is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def find_ineffective(text: str, key: str, multirun: bool) -> Mistake | None:
    """Hydra's settings of sweeps in a run, and of runs in a sweep: nothing would read them."""
    if key in ("hydra.run.dir", "hydra.sweep.dir") and text.endswith("="):
        return Mistake(text, None, "the name of a folder is needed; . is this one")
    if key.startswith("hydra.run.") and multirun:
        return Mistake(text, None, "a sweep's directory is set by hydra.sweep.dir=…")
    if key.startswith("hydra.sweep.") and not multirun:
        return Mistake(text, None, "that is a sweep's", f"type {PROGRAM} -m, or for one run hydra.run.dir=…")
    if key.replace(".", "/").startswith(("hydra/launcher", "hydra/sweeper")):
        if "." in key and key.count(".") == 1:
            return Mistake(text, None, "chosen as a whole", text.replace(".", "/", 1))
        return None if multirun else Mistake(text, None, "it is for sweeps", f"type {PROGRAM} -m")
    return None
