"""Each setting by itself: chosen options, the user's modules, keys, types and ranges."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pgrun.command.compose import Job
from pgrun.config import user_modules
from pgrun.config.own_classes import find_class_mistakes, is_own, locate_class
from pgrun.config.paths import where_typed
from pgrun.config.schema import GROUPS, find_class, find_violations, setting_kinds
from pgrun.config.settings import Diagnostics, Logger, Reference, RunSettings, Trainer
from pgrun.config.user_modules import user_module_names
from pgrun.envs import EnvSettings
from pgrun.envs.faults import import_error
from pgrun.errors import PROGRAM, Mistake

SECTIONS = {
    "env": EnvSettings,
    "reference": Reference,
    "trainer": Trainer,
    "diagnostics": Diagnostics,
    "logger": Logger,
}


BASES = {  # by name: importing them imports torch, over a second that most mistakes need not cost
    "variance": ("pgrun.variance.base", "Scheme"),
    "algo": ("pgrun.algorithms.base", "Algorithm"),
    "optimizer": ("pgrun.optimization.optimizers", "OptimizerSettings"),
    "network": ("pgrun.policies.policy", "Network"),
    "policy": ("pgrun.policies.families", "Family"),
    "critic": ("pgrun.critics.base", "CriticSettings"),
}


EXAMPLES = {
    "variance": "gae",
    "algo": "ppo",
    "optimizer": "adam",
    "network": "separate",
    "policy": "gaussian",
    "critic": "fitted",
    "sampler": "steps",
}


NAMED = ("name", "critic.optimizer.name", *(f"{group}.name" for group in GROUPS))


def check_choices(job: Job) -> Iterator[Mistake]:
    """One option for each group."""
    for group in GROUPS:
        given = job.settings.get(group)
        if given is not None and not (isinstance(given, Mapping) and given.get("name")):
            yield Mistake(
                group,
                job.choices.get(group),
                f"its file must say which class it sets, such as name: {EXAMPLES[group]}",
            )
    for group, choice in job.choices.items():
        if choice is None and group in (*GROUPS, *SECTIONS, "critic/optimizer"):
            yield Mistake(group, "null", f"a run needs one; {PROGRAM} --help lists them")
    choice, algo = job.choices.get("tuned"), job.choices.get("algo")
    if choice in (None, "none") or choice == f"{algo}/{job.choices.get('env')}":
        return
    if job.settings["tuned"] is None:  # ``optional`` in the defaults list swallows a misspelt file
        yield Mistake(
            "tuned", choice, "no such file, pgrun --list shows them; tuned=none turns tuned settings off"
        )
    elif str(choice).split("/")[0] != algo:
        yield Mistake(
            "tuned", choice, f"these are settings of algo={str(choice).split('/')[0]}, not of algo={algo}"
        )


def check_modules(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """The user's own code."""
    for name in user_module_names(settings):
        try:
            user_modules.import_user_module(name)
        except (Exception, SystemExit) as error:
            if os.environ.get("PGRUN_DEBUG"):
                raise
            remedy = advise_on_module(name, error)
            yield Mistake("modules", f"[{name}]", f"Python {import_error(name, error)}", remedy)


def advise_on_module(name: str, error: BaseException) -> str:
    """What to type, or where was looked, for a module of the user's that is not found."""
    if not isinstance(error, ModuleNotFoundError) or not name.startswith(str(error.name)):
        return ""
    if name.endswith(".py"):
        return f"name the module, not its file: modules=[{name.removesuffix('.py').replace('/', '.')}]"
    if "/" in name:
        return f"folders are named with dots: modules=[{name.strip('./').replace('/', '.')}]"
    return (
        f"looked for in {where_typed().absolute()} and in what is installed; a folder elsewhere is named by "
        "PYTHONPATH=FOLDER in front of the command"
    )


def check_keys(job: Job) -> Iterator[Mistake]:
    """Keys that ``+`` added, and names that are to be chosen as options."""
    known = {*setting_kinds(RunSettings), *SECTIONS, *GROUPS, "usual"}
    for name in job.settings:
        if name not in known:
            yield Mistake(name, None, f"no such setting; {PROGRAM} --cfg job shows them all")
    for word in job.words:
        if word.key in NAMED:
            group = word.key.removesuffix(".name")
            yield Mistake(word.key, None, f"chosen as a whole: {group.replace('.', '/')}={word.value}")
        elif word.key.startswith("usual"):
            yield Mistake(word.key, None, "what files propose", "type the setting itself, without usual")


def find_wrong_values(job: Job, violations: Iterable[Mistake]) -> list[Mistake]:
    """Without those that only follow, by interpolation, from one that was typed."""
    violations = list(violations)
    typed = {word.key for word in job.words}
    said = {(one.given, one.reason) for one in violations if one.setting in typed}
    return [one for one in violations if one.setting in typed or (one.given, one.reason) not in said]


def check_sections(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """Types and ranges of what belongs to no method."""
    top = {k: v for k, v in settings.items() if k in setting_kinds(RunSettings)}
    yield from find_violations("", top, RunSettings)
    for section, cls in SECTIONS.items():
        yield from find_violations(f"{section}.", settings.get(section), cls)


def check_methods(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """Types and ranges, from the signatures of the classes that the names select."""
    for group in GROUPS:
        yield from group_values(group, group, settings[group], settings)
    nested = settings["critic"].get("optimizer", {})
    if nested is None:
        yield Mistake("critic.optimizer", "null", "a critic is fitted with one: critic/optimizer=adam")
    if isinstance(nested, Mapping):
        yield from group_values("critic.optimizer", "optimizer", nested, settings)


def group_values(
    where: str, group: str, given: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[Mistake]:
    rest = dict(given)
    name = rest.pop("name", None)
    try:
        cls = find_class(group, str(name), user_module_names(settings))
    except (LookupError, ImportError) as error:
        yield Mistake.of(error)
        return
    module, base_name = BASES.get(group, ("builtins", "object"))
    base = getattr(importlib.import_module(module), base_name)
    if not (dataclasses.is_dataclass(cls) and issubclass(cls, base)):
        yield Mistake(
            group, name, f"{cls.__module__}.{cls.__name__} must be a dataclass and a {module}.{base_name}"
        )
        return
    yield from find_hidden_class(group, str(name), cls, base, user_module_names(settings))
    yield from find_class_mistakes(group, f"{where}.", str(name), rest, cls, base)


def find_hidden_class(
    group: str, name: str, cls: type, base: type, modules: tuple[str, ...]
) -> Iterator[Mistake]:
    """A class of the user's that is named as the one of pgrun's that was found."""
    if is_own(cls) or base is object:
        return
    for module in modules:
        hidden = getattr(sys.modules.get(module), cls.__name__, None)
        if not isinstance(hidden, type) or hidden.__module__ != module or not is_own(hidden):
            continue
        if issubclass(hidden, base):
            reason = f"{locate_class(hidden)} has the name of a class of pgrun's, which would be taken"
            yield Mistake(group, name, reason, "rename yours, and the name in its YAML file")


def classes_chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        group: find_class(group, settings[group]["name"], user_module_names(settings)) for group in GROUPS
    }
