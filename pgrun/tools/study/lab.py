"""What a study is made of: the frozen policy, who collects, a critic that has not seen what is scored, and
what makes estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.config.random_streams import (
    SHARED,
    draw_env_seeds,
    make_generator,
    seed_global_generators,
    spawn_child_sequence,
)
from pgrun.config.schema import construct_from_settings, find_class
from pgrun.critics.base import Context, Critic, NoCritic
from pgrun.critics.fitted import Fitted, SeparateCritic
from pgrun.critics.fitted_q import FittedQ, FittedQCritic
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.faults import close_all
from pgrun.envs.make import make_one
from pgrun.errors import InvalidCommand
from pgrun.policies.families import connect_actions
from pgrun.policies.policy import Policy
from pgrun.tools.study.behaviour import make_behaviour_policy
from pgrun.tools.study.collect import Seen, Source
from pgrun.tools.study.critics import load_run_critic
from pgrun.tools.study.pathwise import Pathwise
from pgrun.tools.study.policy import find_tabular_problem, freeze_policy, resolve_saved_run, settings_of
from pgrun.tools.study.refit import Refitted
from pgrun.tools.study.schemes import (
    NORMALISED,
    UNBIASED,
    claim_of_scheme,
    equally_long,
    fits_first,
    select_schemes,
)
from pgrun.tools.study.settings import OWN, Behaviour, KlReference, Study
from pgrun.tools.study.weights import Weighted, make_weighted_estimators
from pgrun.training.build import critic_optimizer_factory
from pgrun.training.members import build_member
from pgrun.variance.base import Scheme
from pgrun.variance.value_baseline import ValueBaseline

if TYPE_CHECKING:
    from torch import Tensor

ROUNDS = 20  # of fitting, with targets anew in each
Maker = Callable[[Seen], "Tensor"]  # ĝ of each group [G, P]


@dataclass
class StudySetup:
    """Everything that is made once for a study."""

    study: Study
    settings: dict[str, Any]  # resolved
    env: EnvSettings
    one: gym.Env
    policy: Policy
    critic: Critic
    schemes: dict[str, Scheme]
    weights: dict[str, Weighted]  # instead of schemes
    left_out: dict[str, str]
    source: Source  # of the behaviour, which is the policy itself where no other is asked for
    spare: Source  # another random stream: the reference's
    kl_reference: Policy  # the policy itself, where no other is asked for
    pathwise: Pathwise | None = None  # beside the schemes

    def estimator(self, scheme: Scheme) -> Estimator:
        return Estimator(scheme, self.settings["gamma"], self.study.advantage_norm)

    def makers(self) -> dict[str, Maker]:
        """What turns a rollout into estimates, by label."""
        batch = self.study.batch
        makers: dict[str, Maker] = {
            label: partial(Seen.estimates, estimator=self.estimator(scheme), batch=batch)
            for label, scheme in self.schemes.items()
        }
        others: dict[str, Weighted | Pathwise] = {**self.weights}
        if self.pathwise is not None:
            others["pathwise"] = self.pathwise
        return makers | {label: partial(one.estimates, batch=batch) for label, one in others.items()}

    def claims(self, truncated: bool) -> dict[str, str]:
        critic, gamma = self.settings["critic"], self.settings["gamma"]
        normalised = self.study.advantage_norm != "none"
        claims = {
            label: NORMALISED
            if normalised
            else claim_of_scheme(scheme, critic["name"], gamma, truncated, fits_first(critic))
            for label, scheme in self.schemes.items()
        }
        through = {} if self.pathwise is None else {"pathwise": UNBIASED}
        return claims | through | {label: one.claim for label, one in self.weights.items()}

    def close(self) -> None:
        for envs in (self.source.envs, self.spare.envs):
            envs.close()
        close_all([self.one], f"env={self.env.id}")


def build_study_setup(study: Study, settings: Mapping[str, Any]) -> StudySetup:
    """All that a study is made of; each use of chance has a stream of its own."""
    settings, saved = resolve_saved_run(settings)
    settings["modules"] = [*settings["modules"], OWN]
    init, noise, envs, spare_noise, spare_envs, fit_noise, fit_envs, shuffle, away, from_ = (
        np.random.SeedSequence(study.seed).spawn(10)
    )
    seed_global_generators(spawn_child_sequence(study.seed, SHARED))
    # 1. the frozen policy, the schemes that suit it, and who collects
    env, gamma = settings_of(study, settings), settings["gamma"]
    one = make_one(env)
    policy, network = freeze_policy(settings, saved, one, make_generator(init))
    kind = find_class("critic", settings["critic"]["name"], tuple(settings["modules"]))
    p = find_tabular_problem(one)
    schemes, left_out = select_schemes(settings, study, kind, equally_long(p))
    behaviour = make_behaviour_policy(
        policy, construct_from_settings(Behaviour, settings["behaviour"]), p, make_generator(away)
    )
    own = open_source(env, behaviour, noise, envs)
    own.group, own.shared = study.group, study.shared
    if p is not None:
        own.envs.follow_states()
    # 2. a critic, fitted on what is not scored
    critic: Critic = NoCritic()
    if any(scheme.uses_critic for scheme in schemes.values()):
        made, first = (policy, network, None, own.envs, gamma), make_generator(init)
        context = Context(*made, first, own.noise, make_critic_optimizer(settings))
        critic = build_study_critic(context, settings, saved)
        if isinstance(critic, SeparateCritic | FittedQCritic) and kind in (Fitted, FittedQ):
            apart = open_source(env, policy, fit_noise, fit_envs)
            fit_before_scoring(critic, apart, study.critic_episodes, gamma, make_generator(shuffle))
            apart.envs.close()
        if isinstance(critic, SeparateCritic) and critic.fits_first:
            critic = Refitted(critic, policy, study.batch, gamma, make_generator(shuffle))  # type: ignore[assignment]
    # 3. what the schemes are compared with
    spare = open_source(env, policy, spare_noise, spare_envs)
    weights = make_weighted_estimators(study.weights, policy, behaviour, p, gamma)
    near = make_behaviour_policy(
        policy, construct_from_settings(KlReference, settings["kl"]), p, make_generator(from_), "kl"
    )
    through = Pathwise(policy, one.unwrapped.problem, gamma) if study.pathwise else None  # type: ignore[attr-defined]
    return StudySetup(
        study, settings, env, one, policy, critic, schemes, weights, left_out, own, spare, near, through
    )


def open_source(
    env: EnvSettings, policy: Policy, noise: np.random.SeedSequence, seeds: np.random.SeedSequence
) -> Source:
    """Environments of its own, in which the policy collects."""
    columns = make_envs(env, env.num_envs)
    policy.normaliser.widen_observations(columns)
    connect_actions(policy.dist, columns)
    columns.reset(draw_env_seeds(seeds, env.num_envs))
    return Source(policy, columns, make_generator(noise), draw_env_seeds(seeds, env.num_envs))


def build_study_critic(context: Context, settings: Mapping[str, Any], saved: Any) -> Critic:
    """The run's own where ``critic=run``, or one that has not learned yet. Raises ``InvalidCommand``."""
    if saved is not None and settings["critic"]["name"] == "run":
        return saved_critic(context, saved)
    critic: Critic = build_member(settings, "critic").build(context)
    return critic


def make_critic_optimizer(settings: Mapping[str, Any]) -> Callable[[Tensor], Any]:
    """The optimizer of a critic that has one."""
    if settings["critic"].get("optimizer"):
        return critic_optimizer_factory(settings)
    usual = {"name": "adam", "lr": 1e-3}
    return critic_optimizer_factory({**settings, "critic": {**settings["critic"], "optimizer": usual}})


def saved_critic(context: Context, saved: Any) -> Critic:
    try:
        if saved.config["critic"]["name"] != "fitted":
            raise LookupError(f"its critic={saved.config['critic']['name']} is no V that can be loaded")
        critic: Critic = load_run_critic(context, saved.tensors, saved.reward_scale)
        return critic
    except LookupError as error:
        raise InvalidCommand("critic", "run", error, "take critic=fitted") from error


def fit_before_scoring(
    critic: SeparateCritic | FittedQCritic,
    source: Source,
    episodes: int,
    gamma: float,
    shuffle: torch.Generator,
) -> None:
    """On episodes of its own; nothing that is scored has been seen by it."""
    estimator = Estimator(ValueBaseline(), gamma)
    rollouts = list(source.rollouts(episodes, 1))
    for _ in range(ROUNDS):
        for rollout in rollouts:
            batch = estimator.batch(rollout, critic.values(rollout), critic, source.policy).for_critic
            critic.fit(batch.rows(batch.mask > 0), shuffle)
