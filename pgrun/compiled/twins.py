"""The compiled twin of each object that a run is made of; what has none stays what it is."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pgrun.algorithms.base import Learner
from pgrun.compiled.critics import CompiledActionCritic, CompiledCritic
from pgrun.compiled.distributions import compile_distribution
from pgrun.compiled.iterations import compile_iterations
from pgrun.compiled.learner import CompiledLearner
from pgrun.compiled.mlp import CompiledMlp
from pgrun.compiled.optimizers import CompiledDescent, compile_optimizer
from pgrun.critics.action_value import ActionCritic
from pgrun.critics.fitted import SeparateCritic
from pgrun.kernels.arrays import is_plain
from pgrun.policies.activations import IN_KERNELS
from pgrun.policies.mlp import Mlp, Net
from pgrun.policies.policy import Policy

if TYPE_CHECKING:
    from torch import Tensor


def compile_net(net: Net, theta: Tensor) -> Net:
    """The compiled twin of a network on this θ; one of the user's own stays what it is."""
    if type(net) is Mlp and net.activation in IN_KERNELS and is_plain(theta):
        return CompiledMlp(net)
    return net


def compile_policy(policy: Policy) -> Policy:
    """The compiled twin of a policy, on the same θ and normaliser."""
    if not is_plain(policy.theta):
        return policy
    net, dist = compile_net(policy.net, policy.theta), compile_distribution(policy.dist)
    known = isinstance(net, CompiledMlp)  # a network of the user's own acts as it does
    return Policy(net, dist, policy.theta, policy.normaliser, bool(policy.value_outputs), known)


def compile_critic(critic: Any) -> Any:
    """The compiled twin of a critic, on the same φ and optimizer state.

    In place where only its parts have twins.
    """
    if not isinstance(critic, SeparateCritic | ActionCritic):
        return critic
    critic.net, critic.optimizer = compile_net(critic.net, critic.phi), compile_optimizer(critic.optimizer)
    critic.layers, critic.free = critic.net.layers(critic.phi)
    if isinstance(critic, ActionCritic):
        critic.slow = critic.net.layers(critic.follower)
    if not (isinstance(critic.net, CompiledMlp) and isinstance(critic.optimizer, CompiledDescent)):
        return critic
    twin = {SeparateCritic: CompiledCritic, ActionCritic: CompiledActionCritic}.get(type(critic))
    return critic if twin is None else twin(critic)


def compile_learner(learner: Learner) -> Learner:
    """The compiled twin of a learner, of a policy and a critic that are twins already."""
    given = {f.name: getattr(learner, f.name) for f in fields(learner)}
    return CompiledLearner(**given | {"optimizer": compile_optimizer(learner.optimizer)})


class CompiledTwins:
    """What ``build_run`` makes the objects of a compiled run with."""

    policy = staticmethod(compile_policy)
    critic = staticmethod(compile_critic)
    learner = staticmethod(compile_learner)
    iterations = staticmethod(compile_iterations)
