"""Everything that is wrong with a job, found before its first step and before a run directory exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgrun.command.ablation import find_ineffective_ablation
from pgrun.command.combination_check import find_misfits
from pgrun.command.compose import Job
from pgrun.command.environment_check import find_inexact, find_wrong_start, probe_environment
from pgrun.command.machine_check import check_device, check_films, check_trackers
from pgrun.command.memory import find_too_large
from pgrun.command.overrides import CliOverride
from pgrun.command.reference_check import find_wrong_reference
from pgrun.command.seed_list import find_wrong_seeds
from pgrun.command.setting_check import (
    check_choices,
    check_keys,
    check_methods,
    check_modules,
    check_sections,
    classes_chosen,
    find_wrong_values,
)
from pgrun.command.stack_check import find_unstackable
from pgrun.command.unused_settings import find_unused_settings
from pgrun.config.schema import GROUPS
from pgrun.errors import Mistake

OWN_MISFITS = ("algo", "policy", "network")  # groups whose classes are asked themselves


def find_problems(job: Job, whole: bool = True) -> list[Mistake]:
    """One short phrase per violation: the values first; once they are right, what does not fit together.

    Not ``whole``: values alone, for a job some of whose words did not compose.
    """
    problems = [*check_choices(job), *check_modules(job.settings), *check_keys(job)]
    problems += find_wrong_seeds(job.settings, [word.key for word in job.words])
    problems += find_wrong_values(job, check_sections(job.settings))
    complete = all(
        isinstance(job.settings.get(group), Mapping) and "name" in job.settings[group] for group in GROUPS
    )
    if complete and (concern_methods(job.words) or (whole and not problems)):
        problems += find_wrong_values(job, check_methods(job.settings))
    if not problems and whole:
        problems += check_combination(job)
    own = (check_device, check_trackers, check_films)
    return [*problems, *(mistake for check in own for mistake in check(job.settings))]


def concern_methods(words: Sequence[CliOverride]) -> bool:
    """Whether a word sets something inside the groups whose classes torch comes with."""
    return any("." in word.key and word.key.split(".")[0] in GROUPS for word in words)


def check_combination(job: Job) -> list[Mistake]:
    """Choices that make no sense together, settings that nothing reads, and the environment itself."""
    chosen, settings = classes_chosen(job.settings), job.settings
    env, unmade = probe_environment(settings)
    space = None if env is None else env.action_space
    critic = chosen["critic"].misfits(settings, env) if chosen["variance"].uses_critic else ()
    algo = [mistake for group in OWN_MISFITS for mistake in chosen[group].misfits(settings, env)]
    large = [] if env is None else [*find_too_large(settings, env), *find_wrong_start(settings, env)]
    near = find_wrong_reference(settings, chosen, env)
    stack = find_unstackable(settings, job.words)
    read = [
        *find_misfits(settings, chosen),
        *stack,
        *algo,
        *critic,
        *near,
        *find_inexact(settings, env),
        *large,
    ]
    ignored = [
        *find_unused_settings(job.words, settings, chosen, space),
        *find_ineffective_ablation(job, chosen, space),
    ]
    return [*read, *ignored, *unmade]
