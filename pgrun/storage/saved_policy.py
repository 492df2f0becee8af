"""A saved policy, loaded as data: safetensors and JSON, nothing that could run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from pgrun.atomic_files import read_bytes, read_json
from pgrun.config.paths import POLICY_FILES
from pgrun.errors import InvalidCommand, join_lines
from pgrun.policies.policy import Policy
from pgrun.storage.newest_run import RUN

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Saved:
    """What a run directory holds of its policy."""

    folder: Path
    config: dict[str, Any]
    value_head: bool = False
    reward_scale: float = 1.0
    backend: str = "torch"  # that it was trained with
    tensors: dict[str, Tensor] = field(default_factory=dict, repr=False)
    evaluation: dict[str, Any] = field(default_factory=dict)  # of the best policy: how it was found


def load_saved_policy(folder: str, which: str = "final", typed: str = "") -> Saved:
    """Raises ``InvalidCommand`` where there is no policy, or none that can be read.

    ``typed``: what stands before the folder.
    """
    at, shown = Path(folder), f"{typed}{folder}"
    if not at.is_dir():
        raise InvalidCommand(shown, None, "no such folder")
    stem = POLICY_FILES[which]
    files = at / f"{stem}.json", at / f"{stem}.safetensors"
    if not all(file.is_file() for file in files):
        raise InvalidCommand(shown, None, explain_absent_policy(at, which))
    try:
        content = read_json(files[0], links=True)
        described = Saved(
            at,
            dict(content["config"]),
            bool(content["value_head"]),
            float(content.get("reward_scale", 1.0)),
            str(content.get("backend", "torch")),
            evaluation=dict(content.get("evaluation", {})),
        )
        from safetensors.torch import load as load_tensors  # loads torch, which nothing damaged is worth

        return replace(described, tensors=load_tensors(read_bytes(files[1], links=True)))
    except (ValueError, KeyError, TypeError, AttributeError, OSError, MemoryError, SafetensorError) as error:
        why = f"{type(error).__name__}: {join_lines(error)}"
        raise InvalidCommand(shown, None, f"its policy cannot be read: {why}") from error


def explain_absent_policy(at: Path, which: str) -> str:
    """Why there is no such policy, and where there may be one."""
    stem = POLICY_FILES[which]
    if not ((at / RUN).exists() or (at / "checkpoints").is_dir()):
        reason = "it is no run's folder"
    else:
        reason = "that run did not finish" if which == "final" else "it was not evaluated during training"
    said = f"holds no policy ({stem}.json, {stem}.safetensors): {reason}"
    others = [
        name for name, stem in POLICY_FILES.items() if name != which and (at / f"{stem}.json").is_file()
    ]
    below = sorted(path.parent for path in at.glob("*/policy.json"))
    if below:
        return f"holds no policy; runs below it do: {', '.join(str(path) for path in below[:3])}"
    return f"{said}; it has a {others[0]} one" if others else said


def restore_policy(policy: Policy, saved: Saved, typed: str = "") -> None:
    """θ and the normaliser. Raises ``InvalidCommand`` where they are not those of such a policy."""
    theta = saved.tensors.get("theta")
    if theta is None or theta.shape != policy.theta.shape:
        shape = None if theta is None else tuple(theta.shape)
        raise InvalidCommand(
            f"{typed}{saved.folder}",
            None,
            f"its θ has shape {shape}, and its network {tuple(policy.theta.shape)}",
        )
    try:
        policy.load_state_dict(saved.tensors)
    except (KeyError, RuntimeError) as error:
        raise InvalidCommand(f"{typed}{saved.folder}", None, f"its policy lacks {error}") from error
