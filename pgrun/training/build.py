"""From checked settings to the objects of a run: every network and environment is
made here, every random stream begun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.config.random_streams import (
    RESTART,
    SHARED,
    Streams,
    draw_env_seeds,
    make_streams,
    seed_global_generators,
    spawn_child_sequence,
)
from pgrun.config.schema import construct_from_settings
from pgrun.config.settings import Diagnostics, Logger, RunSettings, Trainer
from pgrun.critics.base import Context, Critic, NoCritic, has_values
from pgrun.critics.fitted_q import FittedQCritic
from pgrun.diagnostics.exact_errors import ExactErrors, NoExactErrors, make_exact_errors
from pgrun.diagnostics.gradient_variance import GradientVarianceMeter
from pgrun.envs import Envs, EnvSettings, make_envs
from pgrun.envs.masks import mask_in
from pgrun.optimization.optimizers import Optimizer
from pgrun.optimization.schedules import Schedule
from pgrun.policies.families import Family, connect_actions
from pgrun.policies.normalization import NoRewardScale, NoStateNorm, RewardScale, RunningNorm
from pgrun.policies.policy import Policy, distribution_for
from pgrun.rollouts.samplers.episodes import Episodes, Evaluation
from pgrun.rollouts.samplers.steps import Steps
from pgrun.terminal.cores import CORE_LIMIT
from pgrun.terminal.portable_torch import set_torch_up
from pgrun.training.backends import Twins, choose_backend, choose_envs, twins_of
from pgrun.training.members import build_member, family_of
from pgrun.training.reference import build_reference
from pgrun.training.unread_check import UnreadCheck
from pgrun.variance.base import Scheme

if TYPE_CHECKING:
    from pgrun.compiled.iterations.base import Iterations


@dataclass
class Run:
    """Everything that one run is made of."""

    settings: Mapping[str, Any]
    backend: str  # torch or compiled
    top: RunSettings
    trainer: Trainer
    diagnostics: Diagnostics
    logger: Logger
    envs: Envs
    eval_envs: Envs
    eval_seeds: list[int]
    evaluation: Evaluation
    sampler: Steps | Episodes  # or Replay, which is a kind of Steps
    estimator: Estimator
    algorithm: Algorithm
    learner: Learner
    noise: torch.Generator
    scale: RewardScale | NoRewardScale
    meter: GradientVarianceMeter
    exact_errors: ExactErrors | NoExactErrors
    iterations: Iterations | None = None  # what does whole iterations in one call, if all is compiled
    unread: UnreadCheck | None = None  # of the last update, on a device

    @property
    def policy(self) -> Policy:
        return self.learner.policy

    @property
    def stateful(self) -> dict[str, Any]:
        """Everything that the next update depends on, beside the settings and the counters."""
        learner = self.learner
        near = {} if learner.reference is None else {"reference": learner.reference}
        return near | {
            "policy": learner.policy,
            "optimizer": learner.optimizer,
            "critic": learner.critic,
            "algorithm": self.algorithm,
            "reward_scale": self.scale,
            "envs": self.envs,
            "sampler": self.sampler,
            "meter": self.meter,
        }

    def state_dict(self) -> dict[str, Any]:
        """Nested tensors, arrays and plain data; random generators included."""
        generators = {"noise": self.noise.get_state(), "shuffle": self.learner.generator.get_state()}
        return {name: part.state_dict() for name, part in self.stateful.items()} | generators

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ``Unrepeatable`` where the environments alone could not be brought
        back: all else then is.
        """
        for name, part in self.stateful.items():
            if name != "envs":
                part.load_state_dict(move_tensors(state[name], self.policy.theta.device))
        self.noise.set_state(state["noise"])
        self.learner.generator.set_state(state["shuffle"])
        self.envs.load_state_dict(state["envs"])

    def begin_episodes_anew(self, number: int) -> None:
        """With seeds that no column has had; ``number``: how many times this has been done, with this one."""
        seed_global_generators(spawn_child_sequence(self.top.seed, SHARED, number))
        self.envs.reset(
            draw_env_seeds(spawn_child_sequence(self.top.seed, RESTART, number), self.envs.num_envs)
        )

    def set_progress(self, progress: float) -> None:
        """Move every schedule to this share of the run, in [0, 1]."""
        self.algorithm.set_progress(progress)
        for schedule in self.rates:
            schedule.set_progress(progress)

    @property
    def rates(self) -> list[Schedule]:
        """Schedules of learning rates: the policy's, and the critic's where it has an optimizer."""
        return [self.learner.optimizer.schedule, *self.learner.critic.schedules]

    @property
    def follows_kl(self) -> bool:
        """Whether a schedule asks for the KL of each update."""
        return any(schedule.follows_kl for schedule in (*self.rates, *self.algorithm.schedules.values()))

    def adapt_schedules(self, kl: float) -> None:
        """What the schedules that follow the KL make of an update's."""
        self.algorithm.adapt_schedules(kl)
        for schedule in self.rates:
            schedule.adapt(kl)


def build_run(settings: Mapping[str, Any], backend: str | None = None) -> Run:
    """The run of a resolved configuration, as plain data; ``check`` has been through it."""
    # 1. settings and backend
    top = construct_from_settings(
        RunSettings, {k: v for k, v in settings.items() if k in RunSettings.__dataclass_fields__}
    )
    trainer = construct_from_settings(Trainer, settings["trainer"])
    diagnostics = construct_from_settings(Diagnostics, settings["diagnostics"])
    device = resolve_device(top.device)
    backend = backend or choose_backend(settings, device)
    twins = twins_of(backend)
    set_torch_up(top.threads)
    CORE_LIMIT.most = None if top.cores == "auto" else top.cores
    torch.set_grad_enabled(False)
    # 2. random streams: each use of chance has its own
    random = make_streams(top.seed, device)
    seed_global_generators(spawn_child_sequence(top.seed, SHARED))
    # 3. what collects, what learns, and the estimator of Ψ between them
    parts = build_collecting_parts(settings, top, trainer.stack_seeds, device, random)
    algorithm, sampler, envs, scale = parts.algorithm, parts.sampler, parts.envs, parts.scale
    learner = build_learner(settings, top, parts, device, random, twins)
    estimator = Estimator(parts.scheme, top.gamma, top.advantage_norm)
    # 4. what judges: environments of its own for the evaluation
    eval_envs = make_envs(parts.env, trainer.eval_episodes, " in evaluation")
    parts.normaliser.widen_observations(eval_envs)
    for columns in (envs, eval_envs):
        connect_actions(learner.policy.dist, columns)
    of_actions = algorithm.of_actions or isinstance(learner.critic, FittedQCritic)
    word = has_values(learner.critic, estimator.scheme)
    exact_errors = make_exact_errors(diagnostics.exact, envs, word, top.gamma, of_actions)
    return Run(
        settings=settings,
        backend=backend,
        top=top,
        trainer=trainer,
        diagnostics=diagnostics,
        logger=construct_from_settings(Logger, settings["logger"]),
        envs=envs,
        eval_envs=eval_envs,
        eval_seeds=draw_env_seeds(random.evaluation, trainer.eval_episodes),
        evaluation=Evaluation.of(trainer.eval_episodes, trainer.eval_max_steps),
        sampler=sampler,
        estimator=estimator,
        algorithm=algorithm,
        learner=learner,
        noise=random.noise,
        scale=scale,
        meter=GradientVarianceMeter(),
        exact_errors=exact_errors,
        iterations=twins.iterations(learner, algorithm, estimator, sampler, envs, random.noise, scale),
    )


@dataclass(frozen=True)
class CollectingParts:
    """What collects: the method and its scheme, the environments, and what normalises what they give."""

    algorithm: Algorithm
    scheme: Scheme
    sampler: Steps | Episodes
    family: Family
    env: EnvSettings
    envs: Envs
    mask: slice | None
    normaliser: RunningNorm | NoStateNorm
    scale: RewardScale | NoRewardScale


def build_collecting_parts(
    settings: Mapping[str, Any], top: RunSettings, stacked: bool, device: str, random: Streams
) -> CollectingParts:
    """``stacked``: whether several runs are played in one program."""
    algorithm = build_member(settings, "algo")
    scheme = algorithm.effective_scheme(build_member(settings, "variance"))
    sampler = build_member(settings, "sampler")
    sampler.follow_scheme(scheme.usual_group)
    env, family = construct_from_settings(EnvSettings, settings["env"]), family_of(settings)
    envs = choose_envs(make_envs(env, env.num_envs), device, sampler.name, family, stacked)
    mask = mask_in(envs, env.action_mask)
    normaliser: RunningNorm | NoStateNorm = NoStateNorm()
    if top.state_norm:
        normaliser = RunningNorm(envs.obs_size, device=device, left_alone=mask)
    normaliser.widen_observations(envs)
    envs.reset(draw_env_seeds(random.envs, env.num_envs))
    algorithm.prepare(envs)
    scale = RewardScale(top.gamma, env.num_envs, device) if top.reward_scaling else NoRewardScale()
    return CollectingParts(algorithm, scheme, sampler, family, env, envs, mask, normaliser, scale)


def build_learner(
    settings: Mapping[str, Any],
    top: RunSettings,
    parts: CollectingParts,
    device: str,
    random: Streams,
    twins: Twins,
) -> Learner:
    """Policy, critic, optimizers and the reference that the policy is kept near."""
    envs, scheme, network = parts.envs, parts.scheme, build_member(settings, "network")
    dist = distribution_for(envs.action_space, parts.family, network.log_std)
    head = scheme.uses_critic and network.shared
    policy = twins.policy(
        network.policy(
            envs.obs_size, dist, parts.normaliser, head, random.init, device=device, mask=parts.mask
        )
    )
    critic: Critic = NoCritic()
    if scheme.uses_critic:
        made, drawn = (policy, network, parts.algorithm, envs, top.gamma), (random.init, random.noise)
        context = Context(*made, *drawn, critic_optimizer_factory(settings))
        critic = twins.critic(build_member(settings, "critic").build(context))
    optimizer = Optimizer(policy.theta, build_member(settings, "optimizer"))
    minibatch_norm = top.advantage_norm if top.advantage_scope == "minibatch" else "none"
    reference = build_reference(settings, policy, envs)
    return twins.learner(
        Learner(policy, critic, optimizer, random.shuffle, minibatch_norm, reference=reference)
    )


def critic_optimizer_factory(settings: Mapping[str, Any]) -> Callable[[torch.Tensor], Optimizer]:
    """The critic's own optimizer, for its parameters."""
    return lambda phi: Optimizer(
        phi, build_member({**settings, "optimizer": settings["critic"]["optimizer"]}, "optimizer")
    )


def move_tensors(state: Any, device: torch.device) -> Any:
    """Nested state with its tensors on the device: a checkpoint brings them on the CPU."""
    if isinstance(state, torch.Tensor):
        return state.to(device)
    if isinstance(state, Mapping):
        return {name: move_tensors(part, device) for name, part in state.items()}
    return [move_tensors(part, device) for part in state] if isinstance(state, list) else state


def resolve_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
