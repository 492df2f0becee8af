"""The final policy as data: policy.safetensors (θ, normaliser, a fitted critic) and policy.json (spaces, configuration). No pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file
from torch import Tensor

from pgrun.log import write_json

if TYPE_CHECKING:
    from pgrun.build import Run


def save_policy(folder: Path, run: Run) -> None:
    """``critic.phi`` is there where the critic has parameters of its own; its V times ``reward_scale`` is in raw rewards."""
    policy, envs = run.policy, run.envs
    tensors = {k: v.cpu().contiguous() for k, v in policy.state_dict().items()}
    phi = run.learner.critic.state_dict().get("phi")
    if isinstance(phi, Tensor):  # of V; of Q where the algorithm learns that
        tensors["critic.phi"] = phi.cpu().contiguous()
    save_file(tensors, folder / "policy.safetensors")
    content = {
        "observation_space": str(envs.observation_space),
        "action_space": str(envs.action_space),
        "obs_size": envs.obs_size,
        "value_head": bool(policy.first),
        "reward_scale": run.scale.scale,
        "config": dict(run.settings),
    }
    write_json(folder / "policy.json", content)
