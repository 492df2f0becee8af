"""What follows from the settings together: bias, variance, truncation, normalisation.

Each fact is one sentence.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym

from pgrun.command.combination_check import gives_constant_baseline
from pgrun.command.unused_settings import explain_unused_by_class
from pgrun.config.settings import CENTERING, SCALING
from pgrun.critics.exact import Exact
from pgrun.diagnostics.gradient_variance import BLOCKS
from pgrun.envs.spaces import action_decoder
from pgrun.policies.normalization import RewardScale, RunningNorm
from pgrun.variance.advantage_norm import normalise_advantages

Settings = Mapping[str, Any]
Classes = Mapping[str, Any]


def explain_bias(settings: Settings, chosen: Classes) -> Iterator[str]:
    """Sentences about the bias of ĝ as an estimate of ∇J, beside what the scheme says of itself."""
    scheme, critic, algo = chosen["variance"], chosen["critic"], settings["algo"]
    name = settings["critic"]["name"]
    if not scheme.uses_critic:
        yield "No critic: nothing that is learned enters Ψ."
    elif issubclass(critic, Exact):
        factor = settings["critic"].get("factor", 1.0)
        yield f"critic={name} knows the values of the present policy" + (
            (f" and multiplies them by {factor:g}: an error of known "
                "size.") if factor != 1 else ": no error of its own."
        )  # fmt: skip
    else:
        yield (
            f"critic={name} is learned. What is subtracted as a baseline of the state biases nothing; what "
            "stands in for rewards still to come biases as far as it is wrong."
        )
    yield from explain_discounting(settings, chosen)
    if settings["critic"].get("fit") == "before" and scheme.uses_critic:
        yield "critic.fit=before: the baseline has seen the returns that it is subtracted from, which biases."
    yield from explain_normalisation_bias(settings, chosen)
    if algo.get("entropy"):
        yield f"algo.entropy={algo['entropy']:g}: the objective is not J alone."
    steps = algo.get("epochs", 1) * algo.get("minibatches", 1) * algo.get("reuses", 1)
    if steps > 1:
        yield (
            f"{steps:,} steps on each batch, with the same Ψ: only a first step on all of it would be along "
            "ĝ."
        )
    if settings["sampler"]["name"] == "replay":
        yield "The states come from a buffer that older policies filled."


def explain_normalisation_bias(settings: Settings, chosen: Classes) -> Iterator[str]:
    norm, rows = settings["advantage_norm"], settings["advantage_scope"]
    if norm in SCALING:
        yield f"advantage_norm={norm}: Ψ is divided by a number from the same {rows}, which biases."
    if norm in CENTERING:
        yield (
            f"advantage_norm={norm}: the mean of the same {rows} is subtracted from Ψ, which shrinks ĝ a "
            "little."
        )
        if gives_constant_baseline(settings, chosen):
            name = settings["variance"]["name"]
            yield (
                f"That cancels the constant baseline of variance={name}: none, mean_baseline and "
                "leave_one_out become the same estimator, up to a factor (advantage_norm=scale keeps them "
                "apart)."
            )


def explain_discounting(settings: Settings, chosen: Classes) -> Iterator[str]:
    kind = settings["variance"].get("discounting")
    if (
        kind is None
        or settings["gamma"] == 1
        or explain_unused_by_class("variance.discounting", settings, chosen)
    ):
        return
    if kind == "from_start":
        yield "With the factor γ^t, as the gradient of the discounted objective J_γ has it."
    else:
        yield (
            "Without the factor γ^t, as is usual: later states weigh more than in ∇J_γ "
            "(variance.discounting=from_start adds it)."
        )


def explain_variance(settings: Settings, chosen: Classes) -> Iterator[str]:
    sampler, columns = settings["sampler"], settings["env"]["num_envs"]
    kind = sampler["name"]
    if kind == "episodes":
        episodes, group = sampler["episodes"], sampler["group"] or chosen["variance"].usual_group
        n, unit = episodes // group, "episodes" if group == 1 else f"groups of {group} episodes"
        yield (
            f"ĝ is a mean over {n:,} independent {unit}: its variance falls as one over their number."
            if n > 1
            else f"ĝ comes from one group of {group} episodes."
            if group > 1
            else "ĝ comes from one episode."
        )
        units = f"the {unit}" if n > 1 else ""
    elif kind == "replay":
        yield f"ĝ is a mean over {sampler['batch']:,} transitions drawn from the buffer."
        units = "the rows, given the buffer"
    else:
        steps = sampler["steps"]
        yield (
            f"ĝ is a mean over {steps * columns:,} steps: {steps:,} in a row, which are correlated, × "
            f"{columns} environments."
        )
        units = "the environments" if columns > 1 else "blocks of time" if steps >= BLOCKS else "64 updates"
    if chosen["variance"].compares_episodes:
        yield "The baseline is made from the batch itself, and has its noise."
    every = settings["diagnostics"]["gradient_every"]
    if not units:
        alone = "group" if kind == "episodes" and sampler["episodes"] > 1 else "episode"
        yield f"From a single {alone} it cannot be estimated: gradient/variance stays blank."
    elif every != 0:
        often = "about 60 times in the run" if every is None else f"every {every} updates"
        yield f"It is measured {often}, as gradient/variance, by the differences between {units}."


def explain_truncation(settings: Settings, chosen: Classes, env: gym.Env | None) -> Iterator[str]:
    scheme, kind = chosen["variance"], settings["sampler"]["name"]
    limit = settings["env"]["max_episode_steps"] or getattr(
        getattr(env, "spec", None), "max_episode_steps", None
    )
    yield f"An episode is cut after {limit:,} steps." if limit else "The environment sets no time limit."
    if kind == "replay":
        yield "Only a termination ends the backup (d = 1): the state after a cut is valued as any other."
    elif not scheme.uses_critic:
        yield "Without a critic V ≡ 0: beyond a cut nothing counts, as after a termination."
    elif issubclass(chosen["critic"], Exact):
        yield "The critic counts the steps that are left before the limit: after it there is nothing to come."
    else:
        yield "A cut is no termination: the last state counts γV(s') after a cut, and 0 after a termination."
    if kind == "steps" and scheme.uses_critic:
        yield "The end of a rollout is a cut too, and the episode goes on in the next one."
    yield "The step after an episode's end only resets: it has mask 0, and enters no sum."


def explain_normalisation(settings: Settings, chosen: Classes, env: gym.Env | None) -> Iterator[str]:
    if settings["advantage_norm"] != "none":
        yield f"Ψ: {join_docstring(normalise_advantages)}"
    if settings["state_norm"]:
        yield f"states: {join_docstring(RunningNorm)}"
    if settings["reward_scaling"]:
        yield f"rewards: {join_docstring(RewardScale)}"
    limits = {
        "the gradient": not chosen["algo"].takes_own_step and settings["optimizer"].get("max_grad_norm")
    }
    if chosen["variance"].uses_critic and not chosen["network"].shared and chosen["critic"].learns:
        limits["the critic's gradient"] = (settings["critic"].get("optimizer") or {}).get("max_grad_norm")
    yield from (
        f"{name}: one longer than {limit:g} is shortened to that" for name, limit in limits.items() if limit
    )
    if isinstance(getattr(env, "action_space", None), gym.spaces.Box):
        text = inspect.getdoc(action_decoder) or ""
        yield f"actions: {' '.join(text.split(chr(10) * 2)[1].split())}"


def join_docstring(of: Any) -> str:
    """The whole docstring on one line; semicolons between the lines of a formula."""
    parts = []
    for block in re.split(r"\n\s*\n", inspect.getdoc(of) or ""):
        lines = [" ".join(line.split()) for line in block.splitlines()]
        parts.append("; ".join(lines) + "." if block.startswith(" ") else " ".join(lines))
    return " ".join(parts).replace("``", "")
