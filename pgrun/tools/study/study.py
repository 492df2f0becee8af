"""A study from checked settings to its result: freeze, collect, score."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from pgrun.config.schema import construct_from_settings, setting_kinds
from pgrun.storage.versions import installed_versions
from pgrun.terminal.portable_torch import set_torch_up
from pgrun.tools.study import reference as truth
from pgrun.tools.study.collect import Seen, Tally
from pgrun.tools.study.lab import Maker, StudySetup, build_study_setup
from pgrun.tools.study.progress import EpisodeProgress
from pgrun.tools.study.schemes import ZERO
from pgrun.tools.study.score import Reference, summarise_estimates
from pgrun.tools.study.sections import Section, list_sections
from pgrun.tools.study.settings import Study
from pgrun.tools.study.weights import Weighted
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


Say = Callable[[str], None]


def run_study(settings: Mapping[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """The content of study.json. ``settings``: plain data that ``check`` has been through."""
    begun = time.time()
    study = construct_from_settings(Study, {key: settings[key] for key in setting_kinds(Study)})
    set_torch_up(study.threads)
    torch.set_grad_enabled(False)
    lab = build_study_setup(study, settings)
    try:
        reference, objective = compute_reference(lab, say)
        observers = list_sections(lab, reference, say)
        tally, estimates, costs = measure_estimates(lab, say, observers)
    finally:
        lab.close()
    claims = lab.claims(tally.truncated > 0)
    scores = {
        label: score_estimates(g, reference, claims[label] == ZERO)
        | known_bias(lab.weights.get(label), reference)
        | {"microseconds": costs[label], "claim": claims[label]}
        for label, g in estimates.items()
    }
    gamma = lab.settings["gamma"]
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
        "policy": study_summary(lab, tally, objective),
        "reference": reference.kind,
        "reference_norm": float(reference.gradient.norm()),
        "reference_se": math.sqrt(reference.variance),
        "reference_episodes": lab.spare.episodes if reference.kind == "sampled" else 0,
        "schemes": scores,
        "left_out": lab.left_out,
        **{one.key: one.result() for one in observers},
        "settings": {**lab.settings, "modules": list(study.modules)},
        "wall_seconds": round(time.time() - begun, 3),
        "versions": dict(installed_versions()),
    }


def score_estimates(g: Tensor, reference: Reference, zero: bool) -> dict[str, Any]:
    """A term of mean 0 is scored along ∇J too, against 0; it has no direction to agree with."""
    if not zero:
        return asdict(summarise_estimates(g, reference))
    shifted = asdict(summarise_estimates(g.double() + reference.gradient, reference))
    return shifted | {"cosine": None, "agreement": None}


def known_bias(one: Weighted | None, reference: Reference) -> dict[str, Any]:
    """Along ∇J and as a whole, where it can be computed."""
    mean = None if one is None else one.mean()
    if mean is None or reference.kind != "exact":
        return {}
    off = mean.double().cpu() - reference.gradient
    along = off @ reference.gradient / reference.gradient.norm()
    return {"bias_exact": float(off.norm()), "bias_along_exact": float(along)}


def measure_estimates(
    lab: StudySetup, say: Say, observers: Sequence[Section] = ()
) -> tuple[Tally, dict[str, Tensor], dict[str, float]]:
    """(the episodes, ĝ [M, P] of every scheme, microseconds of one ĝ): one pass, all
    schemes see the same trajectories.
    """
    study, tally, makers = lab.study, Tally(), lab.makers()
    estimates: dict[str, list[Tensor]] = {label: [] for label in makers}
    first: Rollout | None = None
    progress = EpisodeProgress(say, study.estimates * study.batch, "episodes")
    for rollout in lab.source.rollouts(study.estimates, study.batch):
        tally.add(rollout, lab.settings["gamma"])
        seen = Seen(lab.policy, rollout, lab.critic)
        for label, make in makers.items():
            estimates[label].append(make(seen).cpu())
        for one in observers:
            one.see(seen)
        first = rollout if first is None else first
        progress.add(rollout.mask.shape[1])
    assert first is not None
    costs = {label: seconds_per_estimate(lab, first, make) for label, make in makers.items()}
    return tally, {label: torch.cat(parts) for label, parts in estimates.items()}, costs


def seconds_per_estimate(lab: StudySetup, rollout: Rollout, make: Maker) -> float:
    """Microseconds of one estimate, critic, Ψ, scores and sums: the median over groups of the
    first rollout.
    """
    batch = lab.study.batch
    groups = rollout.mask.shape[1] // batch
    times = []
    for i in range(lab.study.repeats):
        one = trim_padding(rollout.columns(torch.arange(batch) + i % groups * batch))
        start = time.perf_counter()
        make(Seen(lab.policy, one, lab.critic))
        times.append(1e6 * (time.perf_counter() - start))
    return round(median(times), 1)


def trim_padding(rollout: Rollout) -> Rollout:
    """Without rows that are padding in every column."""
    steps = int(rollout.mask.any(1).sum())
    kept = {
        name: x[: steps + (len(x) > len(rollout.mask))]
        for name, x in vars(rollout).items()
        if isinstance(x, torch.Tensor)
    }
    return type(rollout)(**{**vars(rollout), **kept})


def compute_reference(lab: StudySetup, say: Say) -> tuple[Reference, float | None]:
    """(∇J, J where it is known)"""
    study, gamma = lab.study, lab.settings["gamma"]
    known = truth.exact_reference(lab.one, lab.policy, gamma)
    objective = None if known is None else known[1]
    if known is not None and study.reference != "sampled":
        return Reference("exact", known[0]), objective
    episodes = study.reference_episodes or 4 * study.episodes
    progress = EpisodeProgress(say, episodes, "episodes for the reference")
    return truth.sample_reference(lab.policy, lab.spare, gamma, episodes, progress.add), objective


def study_summary(lab: StudySetup, tally: Tally, objective: float | None) -> dict[str, Any]:
    """Figures of the policy: undiscounted return, and J_γ."""
    returns, discounted = torch.cat(tally.returns), torch.cat(tally.discounted)
    return {
        "parameters": len(lab.policy.theta),
        "return_mean": float(returns.mean()),
        "return_se": standard_error_of_mean(returns, lab.study.group),
        "objective_mean": float(discounted.mean()),
        "objective_se": standard_error_of_mean(discounted, lab.study.group),
        "objective_exact": objective,
        "length_mean": tally.steps / len(returns),
    }


def standard_error_of_mean(x: Tensor, group: int) -> float:
    """The standard error of the mean of episodes [N], of which ``group`` side by side begin alike."""
    means = x.view(-1, max(group, 1)).mean(1)
    return float(means.std()) / math.sqrt(len(means))
