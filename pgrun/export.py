"""The final policy as data: policy.safetensors (θ, normaliser) and policy.json (spaces, configuration). No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from pgrun.envs import Envs
from pgrun.log import write_json
from pgrun.policies import Policy


def save_policy(folder: Path, policy: Policy, settings: Mapping[str, Any], envs: Envs) -> None:
    tensors = {k: v.cpu().contiguous() for k, v in policy.state_dict().items()}
    save_file(tensors, folder / "policy.safetensors")
    content = {
        "observation_space": str(envs.observation_space),
        "action_space": str(envs.action_space),
        "obs_size": envs.obs_size,
        "value_head": bool(policy.first),
        "config": dict(settings),
    }
    write_json(folder / "policy.json", content)
