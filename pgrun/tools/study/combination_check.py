"""Which parts of a study do not go together: with the environment, with each other, with this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gymnasium as gym

from pgrun.command.environment_check import find_wrong_start
from pgrun.config.schema import construct_from_settings
from pgrun.envs.wrappers import changing_wrappers
from pgrun.errors import Mistake
from pgrun.tools.study.settings import Behaviour, Decompose, KlReference, Step, Study, Table

MEMORY = 8  # GB
WRITTEN_OUT = 3000  # parameters, of a Fisher matrix that is written out


def find_study_incompatibilities(
    settings: Mapping[str, Any], study: Study, critic: Any, env: gym.Env, saved: Any
) -> Iterator[Mistake]:
    from pgrun.tools.study.policy import find_tabular_problem, propose_table

    table = propose_table(construct_from_settings(Table, settings["policy"]), env)
    p = find_tabular_problem(env)
    if (name := settings["network"]["name"]) in ("shared", "joint") and saved is None:
        yield Mistake("network", name, "nothing is trained here; the policy alone is network=separate")
    if table.wanted:
        yield from find_wrong_table(settings, table, p, env)
    if study.reference == "exact" and not is_reference_exact(settings, env, p):
        yield Mistake(
            "reference",
            "exact",
            f"env={settings['env']['id']} publishes no transition table",
            "take reference=sampled",
        )
    if settings["critic"]["name"] == "run" and saved is None:
        yield Mistake("critic", "run", "is the critic of a run", "add run=DIR, or take critic=fitted")
    yield from check_study_sections(settings, study, p, env)
    yield from wrong_group(settings, study, env)
    if (settings["critic"]["name"], settings["critic"].get("fit")) == ("fitted_q", "before"):
        yield Mistake(
            "critic.fit", "before", "a study fits V alone to the batch it scores", "take critic=fitted"
        )
    if critic.of_actions:
        yield Mistake(
            "critic", settings["critic"]["name"], "learns from replayed transitions", "take critic=fitted"
        )
    pretended = {**settings, "reward_scaling": False, "variance": {"name": "gae"}}
    yield from critic.misfits(pretended, env)


def wrong_group(settings: Mapping[str, Any], study: Study, env: gym.Env) -> Iterator[Mistake]:
    if study.batch % study.group:
        fits = max(study.batch // study.group, 1) * study.group
        yield Mistake(
            "group", study.group, f"must divide batch={study.batch}", f"add batch={fits}, or another group"
        )
    if study.shared == "start":
        if study.group == 1:
            yield Mistake("shared", "start", "it is what the episodes of a group share", "set group")
        pretended = {**settings, "sampler": {"shared": "start"}}
        for one in find_wrong_start(pretended, env):
            yield replace(one, setting="shared", remedy=one.remedy.replace("sampler.shared", "shared"))


def table_of(env: gym.Env) -> Any:
    from pgrun.tools.study.policy import find_tabular_problem

    return find_tabular_problem(env)


def check_study_sections(
    settings: Mapping[str, Any], study: Study, p: Any, env: gym.Env
) -> Iterator[Mistake]:
    """What weights, behaviour, by_step, fisher and step need."""
    from pgrun.tools.study.policy import find_wrong_theta

    behaviour = construct_from_settings(Behaviour, settings["behaviour"])
    step = construct_from_settings(Step, settings["step"])
    name = settings["env"]["id"]
    if behaviour.wanted and study.weights is None:
        yield Mistake(
            "behaviour",
            None,
            "episodes of another policy need weights",
            "add weights=[trajectory,per_decision,per_step]",
        )
    if behaviour.theta is not None and behaviour.distance is not None:
        yield Mistake("behaviour.theta and behaviour.distance", None, "one of them")
    if behaviour.distance is not None and p is None:
        yield Mistake(
            "behaviour.distance",
            None,
            f"env={name} publishes no transition table to measure it on",
            "give behaviour.theta",
        )
    if behaviour.theta is not None:
        yield from find_wrong_behaviour(settings, behaviour, env, find_wrong_theta)
    yield from wrong_kl(settings, p, env, find_wrong_theta)
    if study.pathwise:
        from pgrun.tools.study.pathwise import find_no_derivatives

        yield from find_no_derivatives(env, name)
    yield from find_wrong_decomposition(settings, study, p, env)
    if "state_ratio" in str(study.weights) and p is None:
        yield Mistake(
            "weights",
            None,
            f"state_ratio needs the transition table of env={name}",
            "take per_step, which sets the ratio to 1",
        )
    if study.by_step and study.weights is not None:
        yield Mistake("by_step", None, "the weights Ψ of schemes", "leave weights out, or by_step")
    if (study.fisher or step.wanted) and settings["run"] is None:
        size = (
            count_fresh_parameters(settings, env)
            if not construct_from_settings(Table, settings["policy"]).wanted
            else 0
        )
        if size > WRITTEN_OUT:
            yield Mistake(
                "fisher, step",
                None,
                f"a matrix of {size}² entries is written out",
                "take a smaller network, such as network.hidden=[16]",
            )


def wrong_kl(settings: Mapping[str, Any], p: Any, env: gym.Env, wrong_theta: Any) -> Iterator[Mistake]:
    """A reference is a policy, and the problem one whose episodes can be listed."""
    from pgrun.tools.study.every_episode import MOST, count_episode_rows

    wanted = construct_from_settings(KlReference, settings["kl"])
    if not wanted.wanted:
        return
    if wanted.theta is not None and wanted.distance is not None:
        yield Mistake("kl.theta and kl.distance", None, "one of them")
    if p is None or count_episode_rows(p) > MOST:
        why = "publishes no transition table"
        if p is not None:
            why = f"has more than {MOST:,} steps in all its episodes"
        name = settings["env"]["id"]
        yield Mistake(
            "kl", None, f"every episode is enumerated, and env={name} {why}", "take env=pgrun/TokenTree-v0"
        )
    elif wanted.theta is not None:
        yield from find_wrong_behaviour(settings, wanted, env, wrong_theta, "kl")


def find_wrong_decomposition(
    settings: Mapping[str, Any], study: Study, p: Any, env: gym.Env
) -> Iterator[Mistake]:
    """Episodes that can be listed, or states that can be put back."""
    from pgrun.tools.study.decomposition import can_list_terms
    from pgrun.tools.study.nested_sampling import can_be_put_back
    from pgrun.tools.study.policy import propose_table

    wanted, name = construct_from_settings(Decompose, settings["decompose"]), settings["env"]["id"]
    if wanted.by is None:
        return
    if study.weights is not None:
        yield Mistake("decompose", None, "the terms of schemes", "leave weights out, or decompose")
    table = propose_table(construct_from_settings(Table, settings["policy"]), env)
    size = int(p.reward.numel()) if p is not None and table.wanted else 0
    listed = can_list_terms(p, getattr(env.unwrapped, "P", None), size)
    if wanted.by == "exact" and not listed:
        why = "publishes no transition table" if p is None else "has too many episodes for that"
        yield Mistake(
            "decompose.by",
            "exact",
            f"sums over all episodes, and env={name} {why}",
            "take decompose.by=sampled",
        )
    elif not listed and not can_be_put_back(env):
        yield Mistake(
            "decompose",
            None,
            f"puts visited states back, and env={name} cannot be",
            (
                "take classic control or MuJoCo without wrappers of your own, or an environment with "
                "a transition table"
            ),
        )
    elif not listed and p is None and getattr(env.spec, "max_episode_steps", None) is None:
        yield Mistake(
            "decompose",
            None,
            f"plays episodes to their end, and env={name} has no limit",
            "set env.max_episode_steps",
        )


def find_wrong_behaviour(
    settings: Mapping[str, Any],
    behaviour: Behaviour,
    env: gym.Env,
    wrong_theta: Any,
    section: str = "behaviour",
) -> Iterator[Mistake]:
    """It has the form of the policy: a table."""
    from pgrun.tools.study.policy import propose_table

    spaces = (env.observation_space, env.action_space)
    table = propose_table(construct_from_settings(Table, settings["policy"]), env)
    if settings["run"] is not None or not table.wanted:
        yield Mistake(
            f"{section}.theta",
            None,
            f"a table, as policy.theta; where the policy is a network take {section}.distance",
        )
        return
    sizes = [int(space.n) for space in spaces if isinstance(space, gym.spaces.Discrete)]
    if len(sizes) == 2 and (problem := wrong_theta(behaviour.theta, *sizes)):
        yield Mistake(f"{section}.theta", behaviour.theta, f"{problem}")


def find_too_much_work(
    settings: Mapping[str, Any], study: Study, count: int, env: gym.Env, saved: Any
) -> Iterator[Mistake]:
    """All estimates of all schemes are kept until they are scored."""
    from pgrun.tools.study.policy import propose_table

    if propose_table(construct_from_settings(Table, settings["policy"]), env).wanted:
        return
    size = len(saved.tensors.get("theta", ())) if saved is not None else count_fresh_parameters(settings, env)
    need = 4e-9 * study.estimates * size * count
    if need > MEMORY:
        yield Mistake(
            "batch",
            study.batch,
            (f"{study.estimates} estimates of {size} parameters by {count} schemes take {need:.0f} GB"),
            "take a larger batch, fewer episodes, or fewer schemes",
        )


def count_fresh_parameters(settings: Mapping[str, Any], env: gym.Env) -> int:
    """How many parameters the fresh policy's layers have."""
    from pgrun.envs.spaces import observation_encoder
    from pgrun.policies.policy import distribution_for

    dist, network = distribution_for(env.action_space), settings["network"]
    sizes = [observation_encoder(env.observation_space)[0], *network["hidden"], dist.linear]
    of_layers: int = sum((a + network["bias"]) * b for a, b in pairwise(sizes))
    return of_layers + dist.free


def find_wrong_table(settings: Mapping[str, Any], table: Table, p: Any, env: gym.Env) -> Iterator[Mistake]:
    from pgrun.tools.study.policy import find_wrong_theta

    key = "policy.theta" if table.theta is not None else "policy.ascent"
    spaces = (env.observation_space, env.action_space)
    if not all(isinstance(space, gym.spaces.Discrete) for space in spaces):
        kinds = " and ".join(type(space).__name__ for space in spaces)
        yield Mistake(
            key,
            None,
            (f"a table of logits needs Discrete states and actions; env={settings['env']['id']} has {kinds}"),
        )
        return
    if problem := find_wrong_theta(table.theta, int(spaces[0].n), int(spaces[1].n)):  # type: ignore[attr-defined]
        yield Mistake("policy.theta", table.theta, f"{problem}")
    if table.ascent is not None and p is None:
        yield Mistake(
            "policy.ascent",
            None,
            f"env={settings['env']['id']} publishes no transition table to climb on",
            "give policy.theta",
        )


def is_reference_exact(settings: Mapping[str, Any], env: gym.Env, p: Any) -> bool:
    if p is not None:
        return True
    from pgrun.envs.problems.teaching_continuous import Lq1, TwoGaussians

    linear = not settings["network"]["hidden"] and not settings["network"]["bias"]
    return linear and isinstance(env.unwrapped, Lq1 | TwoGaussians) and not changing_wrappers(env)
