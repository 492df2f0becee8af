"""Everything that is wrong with a study, found before its first step and before its directory exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gymnasium as gym

from pgrun.command.compose import Job
from pgrun.command.environment_check import find_wrong_start, probe_environment
from pgrun.command.overrides import CliOverride
from pgrun.command.setting_check import check_modules, find_wrong_values, group_values, user_module_names
from pgrun.command.unused_settings import explain_unused_by_class, explain_unused_elsewhere
from pgrun.config.schema import construct_from_settings, find_class, find_violations, setting_kinds
from pgrun.envs import EnvSettings
from pgrun.envs.wrappers import changing_wrappers, find_user_modules
from pgrun.errors import InvalidCommand, escape_line
from pgrun.mistake import Mistake
from pgrun.tools.study import schemes
from pgrun.tools.study.settings import OWN, Behaviour, Decompose, KlReference, Step, Study, Table

GROUPS = ("network", "critic", "variance")
SECTIONS: dict[str, type] = {
    "policy": Table,
    "behaviour": Behaviour,
    "kl": KlReference,
    "decompose": Decompose,
    "step": Step,
}
MEMORY = 8  # GB
WRITTEN_OUT = 3000  # parameters, of a Fisher matrix that is written out


def find_study_problems(job: Job, whole: bool = True) -> list[Mistake]:
    """One short phrase per violation: the values first; once they are right, what does not fit together."""
    settings = job.settings
    problems = [*check_study_choices(job), *check_modules(settings), *check_study_keys(job)]
    problems += find_wrong_values(job, find_wrong_study_values(settings))
    if not problems and whole:
        problems += check_study_combination(job)
    return problems


def check_study_choices(job: Job) -> Iterator[Mistake]:
    for group in ("env", "network", "critic"):
        if job.choices.get(group) is None:
            yield Mistake(group, "null", "a study needs one; pgrun-study --help lists them")


def check_study_keys(job: Job) -> Iterator[Mistake]:
    """Keys that ``+`` added, and names that are to be chosen as options."""
    known = {*setting_kinds(Study), "env", *SECTIONS, "usual", *GROUPS}
    for name in job.settings:
        if name not in known:
            yield Mistake(name, None, "no such setting; pgrun-study --cfg job shows them all")
    for word in job.words:
        if word.key.endswith(".name"):
            group = word.key.removesuffix(".name").replace(".", "/")
            yield Mistake(word.key, None, f"chosen as a whole: {group}={word.value}")
        elif word.key.startswith("usual"):
            yield Mistake(word.key, None, "what files propose", "type the setting itself, without usual")


def find_wrong_study_values(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """Types and ranges, from the signatures."""
    top = {k: v for k, v in settings.items() if k in setting_kinds(Study)}
    yield from find_violations("", top, Study)
    for name, section in SECTIONS.items():
        yield from find_violations(f"{name}.", settings.get(name), section)
    yield from find_violations("env.", settings.get("env"), EnvSettings)
    wider = {**settings, "modules": [*user_module_names(settings), OWN]}
    for group in GROUPS:
        given = settings.get(group)
        if isinstance(given, Mapping):
            nested = given.get("optimizer")
            yield from group_values(group, group, given, wider)
            if isinstance(nested, Mapping):
                yield from group_values("critic.optimizer", "optimizer", nested, wider)
    yield from schemes.find_wrong_schemes(settings, user_module_names(settings))
    if settings.get("weights") is not None:
        from pgrun.tools.study.weights import find_wrong_weights

        yield from find_wrong_weights(settings["weights"])


def check_study_combination(job: Job) -> Iterator[Mistake]:
    from pgrun.tools.study.policy import resolve_saved_run

    try:
        settings, saved = resolve_saved_run(job.settings)
    except InvalidCommand as error:
        yield from error.mistakes
        return
    study = construct_from_settings(Study, {key: job.settings[key] for key in setting_kinds(Study)})
    if foreign := [] if saved is None else list(find_foreign_settings(job, saved.config)):
        yield foreign[0]
        return
    env, unmade = probe_environment(settings)
    critic = find_class("critic", settings["critic"]["name"], (*study.modules, OWN))
    yield from unmade
    if env is not None:
        yield from find_study_incompatibilities(settings, study, critic, env, saved)
    if study.estimates < 2:
        yield Mistake(
            "batch",
            study.batch,
            f"a variance needs two estimates, and episodes={study.episodes} make {study.estimates}",
        )
    even = env is not None and schemes.equally_long(table_of(env))
    taken, left_out = schemes.select_schemes(settings, study, critic, even)
    if env is not None and not unmade:
        yield from find_too_much_work(settings, study, len(taken), env, saved)
    if schemes.names_its_schemes(settings):
        yield from (Mistake(label, None, reason) for label, reason in left_out.items())
    yield from find_unused_study_settings(job.words, settings, critic, env)


def find_foreign_settings(job: Job, config: Mapping[str, Any]) -> Iterator[Mistake]:
    """A run brings its own environment and network; its user's module is imported
    where the user names it again.
    """
    typed, run = {word.key: word for word in job.words}, job.settings["run"]
    theirs = str(config["env"]["id"])
    if ":" in theirs and str(getattr(typed.get("env"), "value", "")) != theirs:
        reason = f"was trained on env={escape_line(theirs)}"
        yield Mistake("run", run, reason, "type that too, since it imports a module")
    modules = find_user_modules(config["env"].get("wrappers") or ())
    if unnamed := [name for name in modules if name not in user_module_names(job.settings)]:
        reason = "was trained in wrappers of yours, which have to be named again"
        yield Mistake("run", run, reason, f"add modules=[{escape_line(','.join(unnamed))}]")
    for key in typed:
        same = key == "env" and typed[key].value == theirs
        if key.split(".")[0] in ("env", "network", "policy") and key != "env.num_envs" and not same:
            reason = f"run={run} brings its own environment, network and policy"
            yield Mistake(key, None, reason, "leave it out")


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


def find_unused_study_settings(
    words: list[CliOverride], settings: Mapping[str, Any], critic: Any, env: gym.Env | None
) -> Iterator[Mistake]:
    """Settings that were typed and that nothing reads."""
    name = settings["critic"]["name"]
    chosen = {"critic": critic}
    if settings.get("variance") is not None:
        chosen["variance"] = find_class("variance", settings["variance"]["name"], tuple(settings["modules"]))
    table = any(value is not None for value in settings["policy"].values())
    for word in words:
        if word.value is None:
            continue
        group = word.key.split(".")[0]
        if group == "network" and table:
            yield Mistake(
                word.key, None, "policy.theta and policy.ascent make a table of logits, which has no network"
            )
        elif word.key == "critic_episodes" and not critic.learns:
            yield Mistake("critic_episodes", None, f"critic={name} is not fitted", "take critic=fitted")
        elif word.key.startswith("critic.optimizer") and not critic.learns:
            yield Mistake(word.key, None, f"critic={name} has nothing to fit", "take critic=fitted")
        elif word.key == "reference_episodes" and settings["reference"] == "exact":
            yield Mistake(
                "reference_episodes", None, "an exact reference needs none", "take reference=sampled"
            )
        elif (group in chosen and (reason := explain_unused_by_class(word.key, settings, chosen))) or (
            reason := explain_unused_elsewhere(
                word.key, {"trainer": {}, **settings}, None if env is None else env.action_space
            )
        ):
            yield Mistake(word.key, None, f"{reason}")
