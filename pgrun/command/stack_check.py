"""What ``trainer.stack_seeds=true`` goes with: runs whose rollouts and updates do the same in every seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgrun.command.overrides import CliOverride
from pgrun.errors import Mistake

NAME = "trainer.stack_seeds"
ALLOWED = {  # choices that such runs can have, by group
    "algo": ("ppo", "a2c"),
    "sampler": ("steps",),
    "policy": ("gaussian",),
    "network": ("separate", "shared", "joint"),
    "critic": ("fitted",),
    "variance": ("value_baseline", "td0", "n_step", "gae"),
}
SCHEDULES = ("optimizer.schedule", "algo.clip_schedule", "algo.entropy_schedule")
OF_CRITIC = ("critic.optimizer.schedule",)  # read with network=separate alone
NEEDED: dict[str, Any] = {"algo.ratio": "token", "algo.target_kl": None, "critic.fit": "after"}


def find_stacked_in_sweep(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """Why a job of a sweep, which has a process of its own for every run, cannot have it."""
    if (settings.get("trainer") or {}).get("stack_seeds"):
        yield Mistake(NAME, "true", "stays in one process, and a sweep has one for each run", "leave -m out")


def find_unstackable(settings: Mapping[str, Any], words: Sequence[CliOverride]) -> Iterator[Mistake]:
    """Why the runs of ``seeds`` cannot be one tensor program, each with what to type.

    One of these runs that is resumed by itself has the setting, too, and no word names it.
    """
    if not (settings.get("trainer") or {}).get("stack_seeds"):
        return
    if not settings.get("seeds") and any(word.key == NAME for word in words):
        yield Mistake(NAME, "true", "no seeds are named", "add seeds=[0,1,2]")
    for group, names in ALLOWED.items():
        if (name := settings[group]["name"]) not in names:
            yield Mistake(NAME, "true", f"{group}={name} is not among {', '.join(names)}", "leave it out")
    schedules = SCHEDULES + OF_CRITIC * (settings["network"]["name"] == "separate")
    for key, value in {**NEEDED, **dict.fromkeys(schedules, "constant")}.items():
        if (given := value_of(settings, key, value)) != value:
            shown = "null" if value is None else value
            yield Mistake(
                NAME,
                "true",
                f"{key}={given} makes updates that are not always the same",
                f"add {key}={shown}",
            )
    if settings.get("seeds") and "wandb" in value_of(settings, "logger.also", ()):
        yield Mistake(
            NAME,
            "true",
            "all seeds would be one run of W&B, which has one in a process",
            "leave wandb out of logger.also, or leave it out",
        )
    yield from find_untensored(settings)


def find_untensored(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """Environments that are no tensor program, and rollouts that may be nothing but resets."""
    from pgrun.envs.tensor_motion import MOTIONS

    env = settings["env"]
    if env["id"] not in MOTIONS or env["kwargs"] or env.get("wrappers") or env.get("vector") == "loop":
        tasks = ", ".join(MOTIONS)
        yield Mistake(
            NAME, "true", f"its environments are {tasks}, as gymnasium has them", "take one, or leave it out"
        )
    if settings["sampler"].get("steps") == 1:
        yield Mistake(NAME, "true", "a rollout needs two steps", "set sampler.steps=2 or more")
    if (settings.get("reference") or {}).get("policy"):
        yield Mistake(NAME, "true", "no reference policy can be stacked", "leave reference.policy out")


def value_of(settings: Mapping[str, Any], key: str, default: Any) -> Any:
    """A setting by its whole name; the default where there is none of it."""
    value: Any = settings
    for name in key.split("."):
        value = (value or {}).get(name, default)
    return value
