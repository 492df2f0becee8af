"""The reference policy of a run: its own start, or the policy of another run, loaded as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pgrun.config.schema import construct_from_settings
from pgrun.config.settings import Reference
from pgrun.envs.masks import has_mask_key, mask_in
from pgrun.envs.spaces import observation_encoder
from pgrun.errors import InvalidCommand, join_lines
from pgrun.policies.normalization import NoStateNorm, RunningNorm
from pgrun.policies.policy import Policy, distribution_for
from pgrun.policies.reference import ReferencePenalty
from pgrun.storage.saved_policy import load_saved_policy, restore_policy
from pgrun.training.members import build_member, family_of

START, TYPED = "start", "reference.policy="


def reference_settings(settings: Mapping[str, Any]) -> Reference:
    """Those of a run; one of earlier days has no reference."""
    return construct_from_settings(Reference, settings.get("reference") or {})


def build_reference(settings: Mapping[str, Any], policy: Policy, env: Any) -> ReferencePenalty | None:
    """None where no policy is asked for; ``env``: anything with the spaces that the policy sees."""
    wanted = reference_settings(settings)
    if wanted.policy is None:
        return None
    if wanted.policy == START:
        return ReferencePenalty.of_start(wanted, policy)
    near = load_reference_policy(wanted.policy, env, settings["modules"], policy.theta.device.type)
    if type(near.dist) is not type(policy.dist) or near.dist.size != policy.dist.size:
        ours, theirs = (type(x.dist).__name__ for x in (policy, near))
        raise InvalidCommand(
            f"{TYPED}{wanted.policy}",
            None,
            f"its actions are of a {theirs}, and this run's of a {ours}",
            "take a run with the same policy group",
        )
    return ReferencePenalty(wanted, near)


def load_reference_policy(folder: str, env: Any, modules: Sequence[str], device: str = "cpu") -> Policy:
    """Raises ``InvalidCommand`` where there is none, or none for these observations and actions."""
    saved = load_saved_policy(folder, typed=TYPED)
    config = {**saved.config, "modules": list(modules)}
    if config["env"].get("action_mask") and not has_mask_key(env.observation_space):
        raise InvalidCommand(
            f"{TYPED}{folder}", None, "was trained with masks of actions", "add env.action_mask=true"
        )
    try:
        network, family = build_member(config, "network"), family_of(config)
        size, _ = observation_encoder(env.observation_space)
        mask = mask_in(env, bool(config["env"].get("action_mask")))
        norm = RunningNorm(size, device=device, left_alone=mask) if config["state_norm"] else NoStateNorm()
        dist = distribution_for(env.action_space, family, network.log_std)
        init = torch.Generator().manual_seed(0)
        policy: Policy = network.policy(size, dist, norm, saved.value_head, init, device=device, mask=mask)
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # data from anywhere
        why = f"{type(error).__name__}: {join_lines(error)}"
        raise InvalidCommand(f"{TYPED}{folder}", None, f"its network cannot be built: {why}") from error
    restore_policy(policy, saved, TYPED)
    return policy
