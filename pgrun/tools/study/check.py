"""Everything that is wrong with a study, found before its first step and before its directory exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym

from pgrun.command.compose import Job
from pgrun.command.environment_check import probe_environment
from pgrun.command.overrides import CliOverride
from pgrun.command.setting_check import check_modules, find_wrong_values, group_values
from pgrun.command.unused_settings import explain_unused_by_class, explain_unused_elsewhere
from pgrun.config.schema import construct_from_settings, find_class, find_violations, setting_kinds
from pgrun.config.user_modules import user_module_names
from pgrun.envs import EnvSettings
from pgrun.envs.wrappers import find_user_modules
from pgrun.errors import InvalidCommand, Mistake, escape_line
from pgrun.tools.study import schemes
from pgrun.tools.study.combination_check import find_study_incompatibilities, find_too_much_work, table_of
from pgrun.tools.study.settings import OWN, Behaviour, Decompose, KlReference, Step, Study, Table

GROUPS = ("network", "critic", "variance")
SECTIONS: dict[str, type] = {
    "policy": Table,
    "behaviour": Behaviour,
    "kl": KlReference,
    "decompose": Decompose,
    "step": Step,
}


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
