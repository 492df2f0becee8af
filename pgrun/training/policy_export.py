"""A policy as data: <name>.safetensors (θ, normaliser, a fitted critic) and <name>.json
(spaces, configuration). No pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from pgrun.atomic_files import write_bytes, write_json
from pgrun.config.paths import POLICY_FILES

if TYPE_CHECKING:
    from pgrun.training.build import Run


def save_policy(
    folder: Path, run: Run, which: str = "final", evaluation: Mapping[str, Any] | None = None
) -> None:
    """``critic.phi`` is there where the critic has parameters of its own; its V times
    ``reward_scale`` is in raw rewards.

    Each file is whole or not there at all. ``evaluation``: what the policy was chosen by.
    """
    policy, envs, name = run.policy, run.envs, POLICY_FILES[which]
    tensors = {k: v.cpu().contiguous() for k, v in policy.state_dict().items()}
    phi = run.learner.critic.state_dict().get("phi")
    if isinstance(phi, torch.Tensor):  # of V; of Q where the algorithm learns that
        tensors["critic.phi"] = phi.cpu().contiguous()
    write_bytes(folder / f"{name}.safetensors", save(tensors))
    content = {
        "observation_space": str(envs.observation_space),
        "action_space": str(envs.action_space),
        "obs_size": envs.obs_size,
        "value_head": bool(policy.value_outputs),
        "reward_scale": run.scale.scale,
        "backend": run.backend,
        "config": dict(run.settings),
    }
    if evaluation is not None:
        content["evaluation"] = dict(evaluation)
    write_json(folder / f"{name}.json", content)
