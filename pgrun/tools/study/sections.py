"""What a study can measure beside the scores, each a part of study.json."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch

from pgrun.config.schema import construct_from_settings
from pgrun.critics.exact import ExactCritic
from pgrun.exact import Problem
from pgrun.tools.study.by_step import ByStep
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.curvature import SampledFisher, Solving, Steps
from pgrun.tools.study.decomposition import (
    Decomposition,
    Parts,
    can_list_terms,
    decompose_exactly,
    explain_undivided,
)
from pgrun.tools.study.every_episode import list_episodes
from pgrun.tools.study.kl import KlEstimators
from pgrun.tools.study.lab import StudySetup
from pgrun.tools.study.nested_sampling import decompose_by_sampling, make_nested_sampler
from pgrun.tools.study.policy import find_tabular_problem
from pgrun.tools.study.progress import EpisodeProgress
from pgrun.tools.study.score import Reference
from pgrun.tools.study.settings import Decompose, KlReference, Step
from pgrun.tools.study.weights import Products

Say = Callable[[str], None]


class Section(Protocol):
    """A part of study.json beside the scores, from the same rollouts."""

    key: str

    def see(self, seen: Seen) -> None:
        """One rollout."""

    def result(self) -> dict[str, Any]:
        """What it holds in the end."""


def make_decomposition(lab: StudySetup, wanted: Decompose, p: Problem | None, say: Say) -> Decomposition:
    """Of the schemes whose terms can be taken apart, exactly or from samples."""
    norm = lab.study.advantage_norm
    reasons = {label: explain_undivided(scheme, norm) for label, scheme in lab.schemes.items()}
    estimators = {
        label: lab.estimator(scheme) for label, scheme in lab.schemes.items() if reasons[label] is None
    }
    table = getattr(lab.one.unwrapped, "P", None)
    exact = wanted.by == "exact" or (wanted.by == "auto" and can_list_terms(p, table, len(lab.policy.theta)))

    def divide() -> dict[str, Parts]:
        if exact:
            assert p is not None
            every = list_episodes(p, lab.policy, table)
            return {
                label: decompose_exactly(every, lab.policy, lab.critic, one)
                for label, one in estimators.items()
            }
        progress = EpisodeProgress(say, wanted.states, "states that are put back")
        sampler = make_nested_sampler(lab.env, lab.policy, wanted, p is not None, lab.study.seed)
        try:
            return decompose_by_sampling(sampler, lab.critic, estimators, wanted.states, progress.add)
        finally:
            sampler.close()

    left_out = {label: reason for label, reason in reasons.items() if reason is not None}
    return Decomposition("exact" if exact else "sampled", divide, left_out)


def list_sections(lab: StudySetup, reference: Reference, say: Say) -> list[Section]:
    """What is asked for beside the scores."""
    study, gamma, p = lab.study, lab.settings["gamma"], find_tabular_problem(lab.one)
    step = construct_from_settings(Step, lab.settings["step"])
    sections: list[Section] = []
    if study.by_step:
        judge = None if p is None else ExactCritic(p, lab.policy, gamma)
        psis = {
            label: partial(Seen.psi, estimator=lab.estimator(scheme), batch=study.batch)
            for label, scheme in lab.schemes.items()
        }
        sections.append(ByStep(study.by_step, psis, judge))
    if lab.weights:
        sections.append(Products(lab.policy, lab.source.policy, p, gamma))
    if study.fisher:
        sections.append(SampledFisher(gamma, study.fisher, torch.Generator().manual_seed(study.seed)))
    if study.cg:
        sections.append(Solving(gamma, study.cg))
    if construct_from_settings(KlReference, lab.settings["kl"]).wanted:
        assert p is not None
        sections.append(KlEstimators(list_episodes(p, lab.policy), lab.policy, lab.kl_reference))
    decompose = construct_from_settings(Decompose, lab.settings["decompose"])
    if decompose.by is not None:
        sections.append(make_decomposition(lab, decompose, p, say))
    if step.wanted:
        sections.append(Steps(gamma, step, reference))
    return sections
