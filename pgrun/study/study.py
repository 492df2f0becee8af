"""A study from checked settings to its result: freeze, collect, score."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

from pgrun import __version__
from pgrun.build import descent, integers, member
from pgrun.critics.base import Context, Critic, NoCritic
from pgrun.critics.fitted import Fitted, SeparateCritic
from pgrun.envs import EnvSettings, make
from pgrun.envs.make import make_one
from pgrun.errors import Refused
from pgrun.estimator import Estimator
from pgrun.policies import Policy
from pgrun.schema import construct, fields, lookup
from pgrun.study import reference as truth
from pgrun.study.collect import Seen, Source, Tally
from pgrun.study.critics import of_run
from pgrun.study.policy import freeze, resolved, settings_of
from pgrun.study.schemes import NORMALISED, UNBIASED, claim, fitting
from pgrun.study.score import Reference, score
from pgrun.study.settings import OWN, Study
from pgrun.types import Rollout
from pgrun.variance.base import Scheme
from pgrun.variance.value_baseline import ValueBaseline

if TYPE_CHECKING:
    from torch import Tensor


ROUNDS = 20  # of fitting, with targets anew in each
Say = Callable[[str], None]


@dataclass
class Lab:
    """Everything that is made once for a study."""

    study: Study
    settings: dict[str, Any]  # resolved
    env: EnvSettings
    one: gym.Env
    policy: Policy
    critic: Critic
    schemes: dict[str, Scheme]
    left_out: dict[str, str]
    source: Source
    spare: Source  # another random stream: the reference's

    def estimator(self, scheme: Scheme) -> Estimator:
        return Estimator(scheme, self.settings["gamma"], self.study.advantage_norm)

    def close(self) -> None:
        for envs in (self.source.envs, self.spare.envs):
            envs.close()
        self.one.close()


def conduct(settings: Mapping[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """The content of study.json. ``settings``: plain data that ``check`` has been through."""
    begun = time.time()
    study = construct(Study, {key: settings[key] for key in fields(Study)})
    torch.set_num_threads(study.threads)
    torch.set_grad_enabled(False)
    lab = build(study, settings)
    try:
        tally, found, costs = measure(lab, say)
        reference, objective = refer(lab, say)
    finally:
        lab.close()
    scores = {label: asdict(score(g, reference)) for label, g in found.items()}
    gamma = lab.settings["gamma"]
    for label, scheme in lab.schemes.items():
        scores[label] |= {
            "microseconds": costs[label],
            "claim": NORMALISED
            if study.advantage_norm
            else claim(scheme, settings["critic"]["name"], gamma, tally.truncated > 0),
        }
    return {
        "status": "finished",
        "env": lab.env.id,
        "seed": study.seed,
        "gamma": gamma,
        "critic": settings["critic"]["name"],
        "episodes": study.estimates * study.batch,
        "batch": study.batch,
        "estimates": study.estimates,
        "env_steps": tally.steps,
        "truncated": tally.truncated,
        "policy": describe(lab, tally, objective),
        "reference": reference.kind,
        "reference_norm": float(reference.gradient.norm()),
        "reference_se": math.sqrt(reference.variance),
        "reference_episodes": lab.spare.episodes if reference.kind == "sampled" else 0,
        "schemes": scores,
        "left_out": lab.left_out,
        "settings": {**lab.settings, "modules": list(study.modules)},
        "wall_seconds": round(time.time() - begun, 3),
        "versions": {"python": platform.python_version(), "pgrun": __version__}
        | {name: version(name) for name in ("torch", "gymnasium", "numpy", "hydra-core")},
    }


def build(study: Study, settings: Mapping[str, Any]) -> Lab:
    settings, saved = resolved(settings)
    settings["modules"] = [*settings["modules"], OWN]
    init, noise, envs, spare_noise, spare_envs, fit_noise, fit_envs, shuffle = np.random.SeedSequence(
        study.seed
    ).spawn(8)
    env = settings_of(study, settings)
    one = make_one(env)
    policy, network = freeze(settings, saved, one, generator(init))
    kind = lookup("critic", settings["critic"]["name"], tuple(settings["modules"]))
    schemes, left_out = fitting(settings, study, kind)  # type: ignore[arg-type]

    def source(noise: np.random.SeedSequence, seeds: np.random.SeedSequence) -> Source:
        columns = make(env, env.num_envs)
        columns.reset(integers(seeds, env.num_envs))
        return Source(policy, columns, generator(noise), integers(seeds, env.num_envs))

    own = source(noise, envs)
    critic: Critic = NoCritic()
    if any(scheme.uses_critic for scheme in schemes.values()):
        context = Context(
            policy, network, None, own.envs, settings["gamma"], generator(init), own.noise, learning(settings)
        )
        if saved is not None and settings["critic"]["name"] == "run":
            critic = saved_critic(context, saved)
        else:
            critic = member(settings, "critic").build(context)
        if isinstance(critic, SeparateCritic) and kind is Fitted:
            apart = source(fit_noise, fit_envs)
            fit(critic, apart, study.critic_episodes, settings["gamma"], generator(shuffle))
            apart.envs.close()
    spare = source(spare_noise, spare_envs)
    return Lab(study, settings, env, one, policy, critic, schemes, left_out, own, spare)


def learning(settings: Mapping[str, Any]) -> Callable[[Tensor], Any]:
    """The optimizer of a critic that has one."""
    if settings["critic"].get("optimizer"):
        return descent(settings)
    usual = {"name": "adam", "lr": 1e-3}
    return descent({**settings, "critic": {**settings["critic"], "optimizer": usual}})


def saved_critic(context: Context, saved: Any) -> Critic:
    try:
        if saved.config["critic"]["name"] != "fitted":
            raise LookupError(f"its critic={saved.config['critic']['name']} is no V that can be loaded")
        return of_run(context, saved.tensors, saved.reward_scale)
    except LookupError as error:
        raise Refused(f"critic=run: {error}; take critic=fitted") from error


def generator(sequence: np.random.SeedSequence) -> torch.Generator:
    return torch.Generator().manual_seed(integers(sequence, 1)[0])


def fit(
    critic: SeparateCritic, source: Source, episodes: int, gamma: float, shuffle: torch.Generator
) -> None:
    """On episodes of its own; nothing that is scored has been seen by it."""
    estimator = Estimator(ValueBaseline(), gamma)
    rollouts = list(source.rollouts(episodes, 1))
    for _ in range(ROUNDS):
        for rollout in rollouts:
            batch = estimator.batch(rollout, critic.values(rollout), critic, source.policy)
            critic.fit(batch.rows(batch.mask > 0), shuffle)


def measure(lab: Lab, say: Say) -> tuple[Tally, dict[str, Tensor], dict[str, float]]:
    """(the episodes, ĝ [M, P] of every scheme, microseconds of one ĝ): one pass, all schemes see the same trajectories."""
    study, tally = lab.study, Tally()
    found: dict[str, list[Tensor]] = {label: [] for label in lab.schemes}
    first: Rollout | None = None
    say(f"{study.estimates * study.batch} episodes")
    for rollout in lab.source.rollouts(study.estimates, study.batch):
        tally.add(rollout, lab.settings["gamma"])
        seen = Seen(lab.policy, rollout, lab.critic)
        for label, scheme in lab.schemes.items():
            found[label].append(seen.estimates(lab.estimator(scheme), study.batch).cpu())
        first = rollout if first is None else first
    assert first is not None
    costs = {label: cost(lab, first, scheme) for label, scheme in lab.schemes.items()}
    return tally, {label: torch.cat(parts) for label, parts in found.items()}, costs


def cost(lab: Lab, rollout: Rollout, scheme: Scheme) -> float:
    """Microseconds of one estimate, critic, Ψ, scores and sums: the median over groups of the first rollout."""
    estimator, batch = lab.estimator(scheme), lab.study.batch
    groups = rollout.mask.shape[1] // batch
    times = []
    for i in range(lab.study.repeats):
        one = trimmed(rollout.columns(torch.arange(batch) + i % groups * batch))
        start = time.perf_counter()
        Seen(lab.policy, one, lab.critic).estimates(estimator, batch)
        times.append(1e6 * (time.perf_counter() - start))
    return round(median(times), 1)


def trimmed(rollout: Rollout) -> Rollout:
    """Without rows that are padding in every column."""
    steps = int(rollout.mask.any(1).sum())
    kept = {
        name: x[: steps + (len(x) > len(rollout.mask))]
        for name, x in vars(rollout).items()
        if isinstance(x, torch.Tensor)
    }
    return type(rollout)(**{**vars(rollout), **kept})


def refer(lab: Lab, say: Say) -> tuple[Reference, float | None]:
    """(∇J, J where it is known)"""
    study, gamma = lab.study, lab.settings["gamma"]
    known = truth.exact(lab.one, lab.policy, gamma)
    objective = None if known is None else known[1]
    if known is not None and study.reference != "sampled":
        return Reference("exact", known[0]), objective
    episodes = study.reference_episodes or 4 * study.episodes
    say(f"{episodes} more for the reference")
    return truth.sampled(lab.policy, lab.spare, gamma, episodes), objective


def describe(lab: Lab, tally: Tally, objective: float | None) -> dict[str, Any]:
    """Of the policy: undiscounted return, and J_γ."""
    returns, discounted = torch.cat(tally.returns), torch.cat(tally.discounted)
    return {
        "parameters": len(lab.policy.theta),
        "return_mean": float(returns.mean()),
        "return_se": error_of(returns),
        "objective_mean": float(discounted.mean()),
        "objective_se": error_of(discounted),
        "objective_exact": objective,
        "length_mean": tally.steps / len(returns),
    }


def error_of(x: Tensor) -> float:
    return float(x.std()) / math.sqrt(len(x))


def unbiased(result: Mapping[str, Any]) -> Sequence[str]:
    """The schemes of a result that claim to be."""
    return [label for label, entry in result["schemes"].items() if entry["claim"] == UNBIASED]
