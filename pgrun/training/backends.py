"""Which objects a run is made of: torch's, or their compiled twins. Nothing else asks which it is.

torch is the definition, and goes everywhere; the twins are for float32 on the CPU, and equal it to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from pgrun.algorithms.base import Learner
from pgrun.critics.base import Critic
from pgrun.envs import Envs
from pgrun.errors import InvalidCommand
from pgrun.kernels import is_available, missing_packages
from pgrun.policies.activations import IN_KERNELS
from pgrun.policies.families import Family
from pgrun.policies.policy import Policy
from pgrun.training.captured_learner import CapturedLearner

if TYPE_CHECKING:
    from pgrun.compiled.iterations.base import Iterations


class Twins(Protocol):
    """What makes a run's objects into those of the backend."""

    def policy(self, policy: Policy) -> Policy: ...

    def critic(self, critic: Critic) -> Critic: ...

    def learner(self, learner: Learner) -> Learner: ...

    def iterations(self, learner: Learner, *parts: Any) -> Iterations | None: ...


class TorchTwins:
    """Every object as it is; on a device a learner whose updates are captured where they can be."""

    def policy(self, policy: Policy) -> Policy:
        return policy

    def critic(self, critic: Critic) -> Critic:
        return critic

    def learner(self, learner: Learner) -> Learner:
        return learner if learner.policy.theta.device.type == "cpu" else CapturedLearner.of(learner)

    def iterations(self, learner: Learner, *parts: Any) -> None:
        return None


def choose_backend(settings: Mapping[str, Any], device: str) -> str:
    """``torch`` or ``compiled``: what ``backend`` asks for.

    ``auto`` is compiled on the CPU where numba is installed and the kernels know all that was chosen. Chosen
    once, when a run begins, and recorded: a run that goes on has the backend that it had.
    """
    asked = str(settings.get("backend", "auto"))
    if asked == "auto":
        known = device == "cpu" and is_available() and not list(find_unknown_to_kernels(settings))
        return "compiled" if known else "torch"
    return asked


def find_unknown_to_kernels(settings: Mapping[str, Any]) -> Iterator[str]:
    """Choices that have no compiled twin: ``auto`` is torch with them, and ``compiled`` refused."""
    network = settings["network"]
    if network.get("activation", "tanh") not in IN_KERNELS:
        yield f"network.activation={network['activation']}"
    if network["name"] == "joint":
        yield "network=joint"
    if (scale := network.get("logit_scale", 1.0)) != 1.0:
        yield f"network.logit_scale={scale:g}"
    if settings.get("env", {}).get("action_mask"):
        yield "env.action_mask=true"
    if near := (settings.get("reference") or {}).get("policy"):
        yield f"reference.policy={near}"
    if settings.get("trainer", {}).get("stack_seeds"):
        yield "trainer.stack_seeds=true"
    policy = settings.get("policy", {}).get("name", "gaussian")
    if policy != "gaussian":
        yield f"policy={policy}"


def choose_envs(envs: Envs, device: str, sampler: str, family: Family, stacked: bool = False) -> Envs:
    """The environments that a run learns from: tensor programs on the device where they cover it.

    That is the device CUDA, or any where several runs are ``stacked`` in one program; ``sampler=steps`` or
    ``replay``; actions that are drawn there; and an environment whose columns are a compiled program that has
    such a twin. Everything else stays on the host.
    """
    from pgrun.envs.tensor_motion import MOTIONS
    from pgrun.envs.tensor_program import TensorProgram

    one = getattr(envs, "one", None)
    on_host = (device == "cpu" and not stacked) or sampler == "episodes" or family.draws_on_host
    if on_host or not envs.is_program or one is None:
        return envs
    if one.spec.id not in MOTIONS:
        return envs
    on_device = TensorProgram(one, envs.num_envs, device)
    on_device.name = envs.name
    return on_device


def refuse_missing_backend(backend: str, where: str) -> None:
    """Raises ``InvalidCommand`` where a run was, or is to be, compiled and cannot be."""
    if backend == "compiled" and not is_available():
        missing = " and ".join(missing_packages())
        raise InvalidCommand(where, None, f"{missing} is not installed", f"pip install {missing}")


def twins_of(backend: str) -> Twins:
    if backend == "torch":
        return TorchTwins()
    from pgrun.compiled.twins import CompiledTwins

    return CompiledTwins()
