"""What is wrong with the reference policy of a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from pgrun.errors import InvalidCommand, Mistake


def find_wrong_reference(
    settings: Mapping[str, Any], chosen: Mapping[str, Any], env: gym.Env | None
) -> Iterator[Mistake]:
    """``chosen``: the class of each group."""
    wanted = settings.get("reference") or {}
    if wanted.get("policy") is None:
        return
    if not chosen["algo"].takes_reference:
        yield Mistake(
            "reference.policy",
            None,
            f"algo={settings['algo']['name']} knows no price of leaving a policy",
            "take algo=ppo, a2c or reinforce",
        )
    paid = wanted["place"] in ("reward", "both")
    if paid and chosen["variance"].uses_critic and settings["critic"]["name"] in ("exact", "scaled", "vine"):
        yield Mistake(
            "reference.place",
            wanted["place"],
            (f"critic={settings['critic']['name']} knows the values of the environment's own rewards"),
            "add reference.place=loss, or critic=fitted",
        )
    if env is not None and wanted["policy"] != "start":
        yield from find_unfit_reference(settings, env)


def find_unfit_reference(settings: Mapping[str, Any], env: gym.Env) -> Iterator[Mistake]:
    """A run that has no policy, or one of other spaces."""
    folder = settings["reference"]["policy"]
    if not Path(folder).is_dir():  # torch need not be loaded for that
        yield Mistake("reference.policy", folder, "no such folder")
        return
    import torch

    from pgrun.policies.normalization import NoStateNorm
    from pgrun.policies.policy import Policy, distribution_for
    from pgrun.training.members import build_member, family_of
    from pgrun.training.reference import build_reference

    try:
        network = build_member(settings, "network")
        dist = distribution_for(env.action_space, family_of(settings), network.log_std)
        small = build_member({**settings, "network": {"name": "separate", "hidden": []}}, "network")
        policy: Policy = small.policy(1, dist, NoStateNorm(), False, torch.Generator())
        build_reference(settings, policy, env)
    except InvalidCommand as error:
        yield from error.mistakes
