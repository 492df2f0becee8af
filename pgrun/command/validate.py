"""Everything that is wrong with a job, found before its first step and before a run directory exists."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import gymnasium as gym

from pgrun.command.ablation import find_ineffective_ablation
from pgrun.command.compose import Job
from pgrun.command.memory import find_too_large
from pgrun.command.overrides import CliOverride
from pgrun.command.reference_check import find_wrong_reference
from pgrun.command.seed_list import find_wrong_seeds
from pgrun.command.unused_settings import find_unused_settings
from pgrun.config import user_modules
from pgrun.config.pages import install_command
from pgrun.config.schema import GROUPS, construct_from_settings, find_class, find_violations, setting_kinds
from pgrun.config.settings import CENTERING, Diagnostics, Logger, Reference, RunSettings, Trainer
from pgrun.envs import EnvSettings, make_probed_env
from pgrun.envs.faults import import_error
from pgrun.envs.table import keeps_to_table
from pgrun.errors import InvalidCommand

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
TAKEN = {  # arguments of ``gymnasium.make`` that are no environment's own
    "id": "chosen with env=…",
    "max_episode_steps": "set env.max_episode_steps",
    "render_mode": "training draws nothing; pgrun-play RUN_DIR --render or --video DIR does",
    "disable_env_checker": "nothing reads it here; leave it out",
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


def find_problems(job: Job, whole: bool = True) -> list[str]:
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
    return [*problems, *(problem for check in own for problem in check(job.settings))]


def concern_methods(words: Sequence[CliOverride]) -> bool:
    """Whether a word sets something inside the groups whose classes torch comes with."""
    return any("." in word.key and word.key.split(".")[0] in GROUPS for word in words)


def check_choices(job: Job) -> Iterator[str]:
    """One option for each group."""
    for group in GROUPS:
        given = job.settings.get(group)
        if given is not None and not (isinstance(given, Mapping) and given.get("name")):
            yield (
                f"{group}={job.choices.get(group)}: its file must say which class it sets, such as name: "
                f"{EXAMPLES[group]}"
            )
    for group, choice in job.choices.items():
        if choice is None and group in (*GROUPS, *SECTIONS, "critic/optimizer"):
            yield f"{group}=null: a run needs one; pgrun --help lists them"
    choice, algo = job.choices.get("tuned"), job.choices.get("algo")
    if choice in (None, "none") or choice == f"{algo}/{job.choices.get('env')}":
        return
    if job.settings["tuned"] is None:  # ``optional`` in the defaults list swallows a misspelt file
        yield f"tuned={choice}: no such file, pgrun --list shows them; tuned=none turns tuned settings off"
    elif str(choice).split("/")[0] != algo:
        yield f"tuned={choice}: these are settings of algo={str(choice).split('/')[0]}, not of algo={algo}"


def check_modules(settings: Mapping[str, Any]) -> Iterator[str]:
    """The user's own code."""
    for name in user_module_names(settings):
        try:
            user_modules.import_user_module(name)
        except (Exception, SystemExit) as error:
            if os.environ.get("PGRUN_DEBUG"):
                raise
            yield f"modules=[{name}]: {import_error(name, error)}"


def user_module_names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """() for what is no list of names, which ``find_wrong_values`` reports."""
    given = settings.get("modules")
    return tuple(x for x in given if isinstance(x, str)) if isinstance(given, list) else ()


def check_keys(job: Job) -> Iterator[str]:
    """Keys that ``+`` added, and names that are to be chosen as options."""
    known = {*setting_kinds(RunSettings), *SECTIONS, *GROUPS, "usual"}
    for name in job.settings:
        if name not in known:
            yield f"{name}: no such setting; pgrun --cfg job shows them all"
    for word in job.words:
        if word.key in NAMED:
            group = word.key.removesuffix(".name")
            yield f"{word.key}: chosen as a whole: {group.replace('.', '/')}={word.value}"
        elif word.key.startswith("usual"):
            yield f"{word.key}: what files propose; type the setting itself, without usual"


def find_wrong_values(job: Job, found: Iterable[str]) -> list[str]:
    """Without those that only follow, by interpolation, from one that was typed."""
    found = list(found)
    typed = {word.key for word in job.words}
    tails = {tail for key, _, tail in (problem.partition("=") for problem in found) if key in typed}
    return [p for p in found if p.partition("=")[0] in typed or p.partition("=")[2] not in tails]


def check_sections(settings: Mapping[str, Any]) -> Iterator[str]:
    """Types and ranges of what belongs to no method."""
    top = {k: v for k, v in settings.items() if k in setting_kinds(RunSettings)}
    yield from find_violations("", top, RunSettings)
    for section, cls in SECTIONS.items():
        yield from find_violations(f"{section}.", settings.get(section) or {}, cls)


def check_methods(settings: Mapping[str, Any]) -> Iterator[str]:
    """Types and ranges, from the signatures of the classes that the names select."""
    for group in GROUPS:
        yield from group_values(group, group, settings[group], settings)
    nested = settings["critic"].get("optimizer", {})
    if nested is None:
        yield "critic.optimizer=null: a critic is fitted with one: critic/optimizer=adam"
    if isinstance(nested, Mapping):
        yield from group_values("critic.optimizer", "optimizer", nested, settings)


def group_values(
    where: str, group: str, given: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[str]:
    rest = dict(given)
    name = rest.pop("name", None)
    try:
        cls = find_class(group, str(name), user_module_names(settings))
    except (LookupError, ImportError) as error:
        yield str(error)
        return
    module, base_name = BASES.get(group, ("builtins", "object"))
    base = getattr(importlib.import_module(module), base_name)
    if not (dataclasses.is_dataclass(cls) and issubclass(cls, base)):
        yield (
            f"{group}={name}: {cls.__module__}.{cls.__name__} must be a dataclass and a {module}.{base_name}"
        )
        return
    if group == "variance":
        yield from find_missing_psi(str(name), cls, base)
    yield from find_violations(f"{where}.", rest, cls)


def find_missing_psi(name: str, cls: Any, base: Any) -> Iterator[str]:
    if cls.psi is base.psi and cls.estimate is base.estimate:
        yield f"variance={name}: {cls.__module__}.{cls.__name__} has no psi(self, rollout, value, gamma)"


def classes_chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        group: find_class(group, settings[group]["name"], user_module_names(settings)) for group in GROUPS
    }


def check_combination(job: Job) -> list[str]:
    """Choices that make no sense together, settings that nothing reads, and the environment itself."""
    chosen, settings = classes_chosen(job.settings), job.settings
    env, found = probe_environment(settings)
    space = None if env is None else env.action_space
    critic = chosen["critic"].misfits(settings, env) if chosen["variance"].uses_critic else ()
    algo = [*chosen["algo"].misfits(settings, env), *chosen["policy"].misfits(settings, env)]
    large = [] if env is None else [*find_too_large(settings, env), *find_wrong_start(settings, env)]
    near = find_wrong_reference(settings, chosen, env)
    read = [*find_misfits(settings, chosen), *algo, *critic, *near, *find_inexact(settings, env), *large]
    ignored = [
        *find_unused_settings(job.words, settings, chosen, space),
        *find_ineffective_ablation(job, chosen, space),
    ]
    return [*read, *ignored, *found]


def find_wrong_start(settings: Mapping[str, Any], env: gym.Env) -> Iterator[str]:
    """The first state alone can be given to an environment that is its table."""
    if settings["sampler"].get("shared") != "start":
        return
    if settings["env"]["vector"] == "loop" or not keeps_to_table(env):
        yield (
            f"sampler.shared=start: env={settings['env']['id']} is not its transition table, and takes a "
            "seed alone: take sampler.shared=seed, or a tabular environment such as env=FrozenLake-v1"
        )


def find_inexact(settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[str]:
    from pgrun.diagnostics import exact_errors

    if settings["diagnostics"]["exact"]:
        yield from exact_errors.find_inexact_settings(settings, env)


def find_misfits(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Each with the nearest choice that fits."""
    scheme, algo, sampler = chosen["variance"], chosen["algo"], settings["sampler"]
    name, kind = settings["variance"]["name"], sampler["name"]
    if kind not in algo.samplers:
        fits = algo.samplers[0]
        yield f"algo={settings['algo']['name']} needs sampler={fits}, not sampler={kind}: add sampler={fits}"
    yield from find_wrong_scheme(settings, chosen)
    yield from find_wrong_critic(settings, chosen)
    if algo.takes_own_step and chosen["network"].shared:
        yield f"algo={settings['algo']['name']} steps in the policy's parameters alone: add network=separate"
    if scheme.whole_episodes and kind != "episodes":
        yield (
            f"variance={name} needs whole episodes: add sampler=episodes, or take variance=value_baseline or "
            "gae"
        )
    if kind == "episodes" and scheme.compares_episodes and sampler["episodes"] < 2:
        yield f"variance={name} compares episodes: sampler.episodes must be at least 2"
    if kind == "episodes":
        yield from find_wrong_group(settings, chosen)
    if build_scheme(settings, chosen).corrects_gradient:
        yield from find_not_one_plain_step(settings)
    if kind == "episodes" and settings["variance"].get("normalised"):
        instead = "add sampler=steps, or variance.normalised=false"
        if "steps" not in algo.samplers:
            instead = "add variance.normalised=false"
        yield (
            "variance.normalised=true averages over the steps left in the rollout, and with sampler=episodes "
            f"the length of the episodes themselves decides how many those are, which biases: {instead}"
        )
    yield from find_wrong_advantage_norm(settings, chosen)
    if kind == "steps":
        yield from find_too_many_minibatches(settings, chosen)
    if kind == "replay":
        yield from find_wrong_replay(sampler, settings["trainer"]["total_steps"])


def find_wrong_scheme(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[str]:
    scheme, algo, name = chosen["variance"], chosen["algo"], settings["variance"]["name"]
    if algo.allowed_schemes and name not in algo.allowed_schemes:
        yield (
            f"algo={settings['algo']['name']} takes variance={' or '.join(algo.allowed_schemes)}, "
            f"not {name}: add variance={algo.allowed_schemes[0]}"
        )
    elif scheme.uses_q and not chosen["critic"].knows_q:
        instead = "algo.baseline=expectation of " if scheme.uses_every_q else ""
        yield (
            f"variance={name} needs Q(s, a): add critic=exact on a tabular environment, or take "
            f"{instead}algo=off_policy_ac"
        )


def find_wrong_critic(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[str]:
    algo, name, critic = settings["algo"]["name"], settings["critic"]["name"], chosen["critic"]
    if not chosen["variance"].uses_critic:
        return
    if critic.of_actions != chosen["algo"].of_actions:
        fits = "action_value" if chosen["algo"].of_actions else "fitted"
        yield f"algo={algo} cannot learn from critic={name}: add critic={fits}"
    if chosen["network"].shared and not critic.shares:
        yield f"critic={name} is no head of the policy's network: add network=separate"


def find_wrong_group(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Groups of one, or that the episodes cannot be divided into."""
    scheme, sampler = settings["variance"]["name"], settings["sampler"]
    usual, episodes = chosen["variance"].usual_group, sampler["episodes"]
    size = sampler["group"] or usual
    if usual > 1 and size < 2:
        yield (
            f"sampler.group=1: variance={scheme} compares episodes from the same start: add "
            f"sampler.group={usual}, or take variance=reward_to_go"
        )
    elif episodes % size:
        fits = max(episodes // size, 1) * size
        yield (
            f"sampler.group={size} must divide sampler.episodes={episodes}: add sampler.episodes={fits}, or "
            "another sampler.group"
        )


def find_not_one_plain_step(settings: Mapping[str, Any]) -> Iterator[str]:
    """What corrects the gradient itself does so at θ_old and in its own units."""
    scheme = settings["variance"]
    what, instead = f"variance={scheme['name']}", "variance=advantage"
    if "kind" in scheme:
        what, instead = f"variance.kind={scheme['kind']}", "variance.kind=scalar"
    several = [key for key in ("epochs", "minibatches", "reuses") if settings["algo"].get(key, 1) > 1]
    if several:
        yield (
            f"{what} corrects one gradient, and algo.{several[0]} asks for several steps: take "
            f"algo=reinforce, or {instead}"
        )
    if settings["advantage_norm"] != "none":
        yield f"{what} corrects the gradient as it is: add advantage_norm=none"


def find_wrong_advantage_norm(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[str]:
    """Minibatches that there are none of, and normalisation that makes every Ψ zero."""
    norm, sampler, algo = settings["advantage_norm"], settings["sampler"], settings["algo"]
    scope = settings["advantage_scope"]
    if scope == "minibatch" and "minibatches" not in algo:
        yield f"advantage_scope=minibatch: algo={algo['name']} has no minibatches: add advantage_scope=batch"
    if norm not in CENTERING:
        return
    zero = f"advantage_norm={norm} subtracts the mean of Ψ"
    if sampler["name"] == "episodes":
        if sampler["episodes"] == 1 and gives_constant_baseline(settings, chosen):
            yield (
                f"{zero}, and with sampler.episodes=1 variance={settings['variance']['name']} gives every "
                "action the same: nothing would be learned; add advantage_norm=scale or none, or "
                "sampler.episodes=2"
            )
        return
    rows = sampler["batch"] if sampler["name"] == "replay" else sampler["steps"] * settings["env"]["num_envs"]
    parts = algo.get("minibatches", 1) if scope == "minibatch" else 1
    if rows // parts == 1:
        what = "a batch" if parts == 1 else "a minibatch"
        yield f"{zero}, and {what} here is one row: nothing would be learned; add advantage_norm=none"


def gives_constant_baseline(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    """Whether the scheme, with its settings, gives every action of the batch its return minus one number."""
    constant: bool = build_scheme(settings, chosen).has_constant_baseline
    return constant


def build_scheme(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Any:
    """The scheme with its settings."""
    given = {key: value for key, value in settings["variance"].items() if key != "name"}
    return construct_from_settings(chosen["variance"], given)


def find_too_many_minibatches(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[str]:
    rows = settings["sampler"]["steps"] * settings["env"]["num_envs"]
    counts = {"algo.minibatches": settings["algo"].get("minibatches", 1)}
    if chosen["variance"].uses_critic and not chosen["network"].shared:
        counts["critic.minibatches"] = settings["critic"].get("minibatches", 1)
    reported = []  # the critic's follow the algorithm's by default
    for key, count in counts.items():
        if count > rows and count not in reported:
            reported.append(count)
            yield f"{key}={count}: a batch has only {rows} rows (sampler.steps × env.num_envs)"


def find_wrong_replay(sampler: Mapping[str, Any], total: float) -> Iterator[str]:
    for name in ("warmup", "batch"):
        if sampler[name] > sampler["capacity"]:
            yield (
                f"sampler.{name}={sampler[name]}: the buffer holds only "
                f"sampler.capacity={sampler['capacity']}"
            )
    if sampler["warmup"] >= total:
        yield f"sampler.warmup={sampler['warmup']}: nothing would be learned in trainer.total_steps={total}"


def probe_environment(settings: Mapping[str, Any]) -> tuple[gym.Env | None, list[str]]:
    """(one environment, closed; what is wrong with it)."""
    wanted = construct_from_settings(EnvSettings, settings["env"])
    if taken := [key for key in wanted.kwargs if key in TAKEN]:
        return None, [f"env.kwargs.{key}: {TAKEN[key]}" for key in taken]
    try:
        env = make_probed_env(wanted)
        with suppress(Exception, SystemExit):  # told where it matters, at the end of a run
            env.close()
        return env, []
    except InvalidCommand as error:
        if os.environ.get("PGRUN_DEBUG"):
            raise
        return None, [str(error)]


def refuse_unknown_to_kernels(settings: Mapping[str, Any]) -> Iterator[str]:
    from pgrun.training.backends import find_unknown_to_kernels

    if isinstance(settings.get("network"), Mapping) and "name" in settings["network"]:
        for choice in find_unknown_to_kernels(settings):
            yield f"backend=compiled: {choice} has no kernels: take backend=auto, which is torch with it"


def check_trackers(settings: Mapping[str, Any]) -> Iterator[str]:
    """Whether what ``logger.also`` names is installed, before anything trains."""
    logger = settings.get("logger")
    names = logger.get("also") if isinstance(logger, Mapping) else None
    if isinstance(names, list):
        from pgrun.storage.trackers.base import find_missing_trackers

        for name in find_missing_trackers([name for name in names if isinstance(name, str)]):
            yield f'logger.also=[{name}] needs the extra "{name}": {install_command(name)}'


def check_films(settings: Mapping[str, Any]) -> Iterator[str]:
    """Whether ``trainer.film_every`` can write a film here."""
    trainer = settings.get("trainer")
    if isinstance(trainer, Mapping) and trainer.get("film_every") and find_spec("imageio_ffmpeg") is None:
        every = trainer["film_every"]
        yield f'trainer.film_every={every} needs the extra "video": {install_command("video")}'


def check_device(settings: Mapping[str, Any]) -> Iterator[str]:
    """What computes, and whether it can here."""
    from pgrun.kernels import missing_packages

    if settings.get("backend") == "compiled":
        if settings["device"] != "cpu":
            yield (
                f"backend=compiled: compiled is for the CPU, and device={settings['device']}: "
                "take backend=auto"
            )
        if missing := missing_packages():
            names = " and ".join(missing)
            yield (
                f"backend=compiled: {names} is not installed: pip install {' '.join(missing)}, "
                "or take backend=torch"
            )
        yield from refuse_unknown_to_kernels(settings)
    if settings["device"] == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield (
                "device=cuda: no CUDA device is available here; take device=cpu, or device=auto for "
                "whichever there is"
            )
