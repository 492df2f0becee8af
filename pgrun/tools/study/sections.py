"""What a study can measure beside the scores, each a part of study.json."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch

from pgrun.config.schema import construct_from_settings
from pgrun.critics.exact import ExactCritic
from pgrun.tools.study.by_step import ByStep
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.curvature import SampledFisher, Solving, Steps
from pgrun.tools.study.every_episode import list_episodes
from pgrun.tools.study.kl import KlEstimators
from pgrun.tools.study.lab import StudySetup
from pgrun.tools.study.policy import find_tabular_problem
from pgrun.tools.study.score import Reference
from pgrun.tools.study.settings import KlReference, Step
from pgrun.tools.study.weights import Products


class Section(Protocol):
    """A part of study.json beside the scores, from the same rollouts."""

    key: str

    def see(self, seen: Seen) -> None:
        """One rollout."""

    def result(self) -> dict[str, Any]:
        """What it holds in the end."""


def list_sections(lab: StudySetup, reference: Reference) -> list[Section]:
    """What is asked for beside the scores."""
    study, gamma, p = lab.study, lab.settings["gamma"], find_tabular_problem(lab.one)
    step = construct_from_settings(Step, lab.settings["step"])
    found: list[Section] = []
    if study.by_step:
        judge = None if p is None else ExactCritic(p, lab.policy, gamma)
        psis = {
            label: partial(Seen.psi, estimator=lab.estimator(scheme), batch=study.batch)
            for label, scheme in lab.schemes.items()
        }
        found.append(ByStep(study.by_step, psis, judge))
    if lab.weights:
        found.append(Products(lab.policy, lab.source.policy, p, gamma))
    if study.fisher:
        found.append(SampledFisher(gamma, study.fisher, torch.Generator().manual_seed(study.seed)))
    if study.cg:
        found.append(Solving(gamma, study.cg))
    if construct_from_settings(KlReference, lab.settings["kl"]).wanted:
        assert p is not None
        found.append(KlEstimators(list_episodes(p, lab.policy), lab.policy, lab.kl_reference))
    if step.wanted:
        found.append(Steps(gamma, step, reference))
    return found
