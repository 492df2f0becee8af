"""The experiments in the order of the lecture."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgrun.errors import InvalidCommand
from pgrun.tools.lab.experiment import Experiment


@dataclass(frozen=True)
class Group:
    """A page of the laboratory book."""

    name: str
    title: str
    chinese: str
    about: str


GROUPS = (
    Group(
        "variance",
        "Why the gradient is noisy",
        "方差",
        "One number multiplies every score: what its size does, and what averaging does.",
    ),
    Group(
        "reward_to_go",
        "Reward-to-go",
        "因果性",
        "An action cannot change what came before it: what leaving that out changes, and what it does not.",
    ),
    Group(
        "baselines",
        "Baselines",
        "基线",
        "What may be subtracted without changing the mean, and how much it helps.",
    ),
    Group(
        "critics",
        "Critics: bias against variance",
        "偏差与方差的权衡",
        "A learned value in place of sampled returns: less variance, and a bias wherever it is wrong.",
    ),
    Group(
        "actor_critic", "Actor and critic", "Actor-Critic", "Who is fitted to what, when, and on which data."
    ),
    Group(
        "off_policy",
        "Old data",
        "离策略",
        "Importance weights and replay: what may be reused, and for how long.",
    ),
    Group(
        "natural",
        "Natural gradients",
        "自然梯度",
        "The same distance in parameters is not the same change of the policy.",
    ),
    Group(
        "trust_region",
        "TRPO and PPO",
        "信任区域",
        "Steps that are kept near, by a constraint, a clip or a penalty.",
    ),
    Group(
        "language_models",
        "From REINFORCE to GRPO",
        "语言模型",
        "Groups of answers to one prompt, on a language model that is a table: all answers are summed over.",
    ),
    Group(
        "tricks",
        "Tricks of the implementations",
        "实现技巧",
        "What the papers do not say and the programs do.",
    ),
)


def list_experiments() -> list[Experiment]:
    """All, by group and row."""
    order = {group.name: number for number, group in enumerate(GROUPS)}
    here = Path(__file__).parent / "experiments"
    names = [path.stem for path in here.glob("*.py") if path.stem != "__init__"]
    experiments = [
        importlib.import_module(f"pgrun.tools.lab.experiments.{name}").EXPERIMENT for name in names
    ]
    return sorted(experiments, key=lambda e: (order[e.group], e.row, e.name))


def choose_experiments(names: Sequence[str]) -> list[Experiment]:
    """The experiments of these names, in the order of the book; all without a name.

    A group's name stands for its experiments.
    """
    every = list_experiments()
    known = {e.name for e in every} | {g.name for g in GROUPS}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
            hint = f"nearest: {', '.join(near)}" if near else "pgrun-lab without a name lists them"
            raise InvalidCommand(name, None, f"there is no such experiment; {hint}")
    return [e for e in every if not names or e.name in names or e.group in names]
