"""Settings typed on the command line that nothing in the job reads: they are refused, not ignored.

A class says what it reads in ``read_when``: {"alpha": ("step", "fixed")} where ``alpha`` is read with
step=fixed alone; {"lr_end": ("schedule", ("linear", "cosine"))} where it is read with either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gymnasium import Space
from gymnasium.spaces import Box

from pgrun.command.overrides import CliOverride
from pgrun.errors import Mistake


def find_unused_settings(
    words: Sequence[CliOverride],
    settings: Mapping[str, Any],
    chosen: Mapping[str, Any],
    space: Space[Any] | None,
) -> Iterator[Mistake]:
    """``chosen``: the class of each group; ``space``: the environment's actions, if it could be made."""
    for word in words:
        if word.value is None:  # null turns a setting off
            continue
        reason = (
            explain_unused_critic(word.key, settings, chosen, space)
            or explain_unused_optimizer(word.key, settings, chosen)
            or explain_unused_by_class(word.key, settings, chosen)
            or log_std(word.key, settings, chosen)
            or explain_unused_group(word.key, settings, chosen)
            or explain_unused_elsewhere(word.key, settings, space)
        )
        if reason:
            yield Mistake(word.key, None, f"{reason}")


def explain_unused_critic(
    key: str, settings: Mapping[str, Any], chosen: Mapping[str, Any], space: Space[Any] | None
) -> str | None:
    if key == "network" and chosen["network"].shared and not chosen["variance"].uses_critic:
        return f"variance={settings['variance']['name']} has no critic to share it with; take variance=gae"
    if key not in ("critic", "network.critic_hidden") and not key.startswith("critic."):
        return None
    if not chosen["variance"].uses_critic:
        return f"variance={settings['variance']['name']} has no critic; take variance=value_baseline or gae"
    if key == "network.critic_hidden":
        one = chosen["network"].one_trunk
        return "network=shared has one trunk for both; take network=separate or joint" if one else None
    if key.startswith("critic.optimizer") and not chosen["critic"].learns:
        return f"critic={settings['critic']['name']} has nothing to fit; take critic=fitted"
    shared = chosen["network"].shared
    if shared and key.startswith(("critic.optimizer", "critic.epochs", "critic.minibatches")):
        name = settings["network"]["name"]
        return f"network={name} trains the critic with the policy's own steps; take network=separate"
    switch, values = chosen["algo"].own_targets
    if key in ("critic.target", "critic.lam", "critic.n") and settings["algo"].get(switch) in values:
        return f"algo.{switch}={settings['algo'][switch]} fits it to targets of its own"
    if key == "critic.samples" and space is not None and not isinstance(space, Box):
        return f"actions of {space} are listed, and none is drawn to stand for them"
    if key == "critic.coef" and not shared:
        return (
            "it weighs the joint loss of network=shared and joint; "
            "with network=separate set critic.optimizer.lr"
        )
    return None


def explain_unused_optimizer(key: str, settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> str | None:
    if key.split(".")[0] == "optimizer" and chosen["algo"].takes_own_step:
        return f"algo={settings['algo']['name']} takes its own step; critic.optimizer is the critic's"
    return None


def explain_unused_group(key: str, settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> str | None:
    if key != "sampler.shared" or (settings["sampler"]["group"] or chosen["variance"].usual_group) > 1:
        return None
    return "it is what the episodes of a group share: set sampler.group"


def explain_unused_by_class(key: str, settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> str | None:
    where, _, name = key.rpartition(".")
    group = "optimizer" if where == "critic.optimizer" else where  # of one family, with one switch
    given = settings["critic"].get("optimizer") if where == "critic.optimizer" else settings.get(where)
    switch, value = getattr(chosen.get(group), "read_when", {}).get(name, (None, None))
    wanted = value if isinstance(value, tuple) else (value,)
    if switch is None or not given or given.get(switch) in wanted:
        return None
    return f"it is read with {where}.{switch}={' or '.join(wanted)}, not with {given.get(switch)}"


def log_std(key: str, settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> str | None:
    own = chosen["policy"].log_std_setting
    if key == "network.log_std" and own != key:
        why = "has no σ; take policy=gaussian, state_std or squashed" if own is None else f"starts at {own}"
        return f"policy={settings['policy']['name']} {why}"
    return None


def explain_unused_elsewhere(key: str, settings: Mapping[str, Any], space: Space[Any] | None) -> str | None:
    if key == "network.log_std" and space is not None and not isinstance(space, Box):
        return f"actions of {space} have no σ; it is read where they are a Box"
    if key == "trainer.stop_at_return" and settings["trainer"]["eval_every"] is None:
        return "it is compared at evaluations during training: set trainer.eval_every"
    if key == "diagnostics.detail" and settings["diagnostics"]["gradient_every"] == 0:
        return "it is of the meter's readings, and diagnostics.gradient_every=0 takes none"
    if key == "advantage_scope" and settings["advantage_norm"] == "none":
        return "nothing is normalised: set advantage_norm"
    if key.startswith("algo.entropy_") and not settings["algo"].get("entropy"):
        return "there is no bonus that could go anywhere: set algo.entropy"
    near = settings.get("reference") or {}
    if key.startswith("reference.") and key != "reference.policy" and near.get("policy") is None:
        return "there is no reference policy: set reference.policy=start, or to the directory of a run"
    if key == "logger.project" and not settings["logger"]["also"]:
        return "it is where trackers keep the run: add logger.also=[wandb], [mlflow] or [trackio]"
    if key == "algo.target_kl" and settings["algo"].get("epochs") == 1:
        return "it leaves out further epochs, and there is one: set algo.epochs"
    return None
