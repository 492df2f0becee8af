"""``pgrun resume=RUN_DIR``: go on where a run was saved, to the same end, bit for bit.

The run's own configuration is read from its checkpoint, as data. Code of the user's (``modules``,
``env=module:Id``) is loaded only where the command names it again: nothing in a run directory decides what is
executed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pgrun import atomic_files
from pgrun.command.app import PGRUN
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import CliOverride, Command, read_command
from pgrun.command.preflight import refuse_all
from pgrun.config.settings import flatten_settings, spell_advantage_norm
from pgrun.errors import InvalidCommand, Mistake, escape_line, join_lines
from pgrun.optimization.schedules import OVER_THE_RUN, Schedule
from pgrun.runs.announce import describe_method, describe_watching
from pgrun.runs.job_status import SETTINGS, Flat, flatten_for_comparison, format_changes, read_json_object
from pgrun.storage.checkpoint import Checkpoints
from pgrun.storage.folder_lock import run_lock
from pgrun.terminal.printing import say, shorten_folder
from pgrun.training.identity import MAY_CHANGE, check_settings, find_code_to_name_again
from pgrun.training.saver import refusing_bad_data

LIMIT = "env.max_episode_steps"


def resume_run(command: Command) -> float:
    """Train the rest; the final evaluation's mean return. Raises ``InvalidCommand``."""
    refuse_all(command.problems)
    word, folder = find_resumed_folder(command)
    # before anything is read: what another process adds to the run meanwhile would be lost
    with run_lock(folder) if (folder / "checkpoints").is_dir() else nullcontext():
        return resume_saved_run(folder, load_newest_state(folder, word), command)


def read_resumed_settings(command: Command) -> dict[str, Any]:
    """For ``--cfg job``: the settings that the run would go on with. Nothing is run or written.

    Raises ``InvalidCommand``.
    """
    refuse_all(command.problems)
    word, folder = find_resumed_folder(command)
    if command.flags.cfg != "job":
        raise InvalidCommand(word.text, None, "a run that goes on has its settings alone", "type --cfg job")
    state = load_newest_state(folder, word)
    with refusing_bad_data(f"{folder}: its checkpoint makes no sense", state):
        refuse_other_run(state, folder)
        return settings_of_resumed_run(state["settings"], command.words, folder)


def resume_saved_run(folder: Path, state: dict[str, Any], command: Command) -> float:
    """From its newest checkpoint on, in a folder that is this process's alone. Raises ``InvalidCommand``."""
    from pgrun.runs.job import say_changed_versions, train_in
    from pgrun.runs.outcome import run_and_record

    with refusing_bad_data(f"{folder}: its checkpoint makes no sense", state):
        words = words_for_evaluations(command.words) if state["row"] is not None else command.words
        refuse_other_run(state, folder)
        settings = settings_of_resumed_run(state["settings"], words, folder)
        refuse_misfits(settings, folder)
        state = choose_state_to_resume(state, settings, folder)
        columns = len(state["run"]["envs"]["ended"])  # before so many are made
        if settings["env"]["num_envs"] != columns:
            raise ValueError(f"env.num_envs={settings['env']['num_envs']}, and it holds {columns}")
        say_changed_versions(state, folder)
    for line in find_stretched_schedules(state["settings"], settings, state["counters"]["env_steps"]):
        say(f"pgrun: {line}", error=True)
    done, total = state["counters"]["env_steps"], settings["trainer"]["total_steps"]
    say(
        f"{escape_line(describe_method(settings))} · seed {settings['seed']}: from step {done:,} of "
        f"{total:,}, in {shorten_folder(folder)}; {describe_watching(folder)}"
    )
    return run_and_record(settings, folder, PGRUN, lambda settings, folder: train_in(settings, folder, state))


def find_resumed_folder(command: Command) -> tuple[CliOverride, Path]:
    """(the word that names it, the run directory). Raises ``InvalidCommand``."""
    word = next(word for word in command.words if word.key == "resume")
    if command.multirun:
        raise InvalidCommand(
            word.text,
            None,
            "one run is resumed at a time",
            "type pgrun without -m, or resume=auto for a whole sweep",
        )
    if not str(word.value).strip():  # of a shell's variable that is not set, say
        raise InvalidCommand(
            word.text,
            None,
            "nothing to go on from: it names no folder",
            "type resume=RUN_DIR, or resume=last",
        )
    folder = Path(str(word.value))
    if not folder.is_dir():
        raise InvalidCommand(word.text, None, "no such directory")
    return word, folder.resolve()


def load_newest_state(folder: Path, word: CliOverride) -> dict[str, Any]:
    """The newest whole checkpoint. Raises ``InvalidCommand`` where there is none."""
    try:
        state, problems = Checkpoints(folder / "checkpoints").load()
    except LookupError as error:
        below = [shorten_folder(path.parent) for path in sorted(folder.glob("*/job.json"))]
        hint = (
            f"; runs below it may go on, such as resume={below[0]}, or all with resume=auto" if below else ""
        )
        raise InvalidCommand(word.text, None, f"nothing to go on from: {error}{hint}") from error
    for problem in problems:
        say(f"pgrun: {problem}; going on from the one before", error=True)
    return state


def refuse_other_run(state: Mapping[str, Any], folder: Path) -> None:
    """A checkpoint has to be of the run that lies in the folder: that of another would go on upon its
    metrics. Raises ``InvalidCommand``.
    """
    check_settings(state)
    held = read_json_object(folder / SETTINGS)["settings"]
    if not isinstance(held, dict) or not held:
        unknown = f"{folder} has no {SETTINGS} that says which run it is: its checkpoint is taken at its word"
        return say(f"pgrun: {unknown}", error=True)
    own, there = (fixed_settings(settings) for settings in (held, state["settings"]))
    if own != there:
        raise InvalidCommand(
            folder,
            None,
            f"was started with {format_changes(own, there)}: its checkpoint is of another run",
            "put back the run's own checkpoints, or resume the folder that these are from",
        )


def fixed_settings(settings: Mapping[str, Any]) -> Flat:
    return {key: value for key, value in flatten_for_comparison(settings).items() if key not in MAY_CHANGE}


def choose_state_to_resume(
    state: dict[str, Any], settings: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """The state to go on from. Raises ``InvalidCommand`` where nothing is left to be done."""
    done, wanted = state["counters"]["env_steps"], settings["trainer"]["total_steps"]
    if type(done) is not int or done < 0:
        raise ValueError(f"env_steps={done}")
    over, extended = state["final"] is not None, wanted != state["settings"]["trainer"]["total_steps"]
    if extended and wanted > done:
        return {**state, "final": None}
    if extended or (over and has_reported_end(folder, done)):
        more = 2 * max(done, wanted)
        raise InvalidCommand(
            shorten_folder(folder),
            None,
            f"is finished, with {done} environment steps",
            f"to extend it add trainer.total_steps={more}",
        )
    return state


def find_stretched_schedules(
    before: Mapping[str, Any], settings: Mapping[str, Any], env_steps: int
) -> Iterator[str]:
    """What goes to 0 over the run goes there later, or sooner, where the run's length has changed: at once it
    stands elsewhere.
    """
    from pgrun.command.setting_check import classes_chosen
    from pgrun.command.unused_settings import find_unused_settings

    old, new = before["trainer"]["total_steps"], settings["trainer"]["total_steps"]
    chosen = classes_chosen(settings)
    if old == new:
        return
    flat = flatten_settings(settings)
    for kind in OVER_THE_RUN:
        moving = [
            key
            for key, value in flat.items()
            if key.endswith("schedule") and value == kind and not key.startswith("usual.")
            if not list(find_unused_settings([CliOverride(key, key, value)], settings, chosen, None))
        ]
        if moving:
            shares = [share_at(kind, env_steps / total) for total in (old, new)]
            to_zero = all(not flat.get(end_of(key)) for key in moving)
            yield describe_stretch(
                [f"{key}={kind}" for key in moving], to_zero, (old, new), env_steps, shares
            )


def share_at(kind: str, progress: float) -> float:
    """How far from its end such a schedule stands, as a share of the way."""
    schedule = Schedule(1.0, kind)  # type: ignore[arg-type]
    schedule.set_progress(progress)
    return schedule.value


def end_of(key: str) -> str:
    """The setting that says where a schedule ends: ``optimizer.lr_end``, ``algo.clip_end``."""
    where, _, name = key.rpartition(".")
    return f"{where}.{'lr' if name == 'schedule' else name.removesuffix('_schedule')}_end"


def describe_stretch(
    words: Sequence[str], to_zero: bool, totals: tuple[int, int], env_steps: int, shares: Sequence[float]
) -> str:
    (old, new), (then, now), one = totals, shares, len(words) == 1
    named = " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    end = "0" if to_zero else "its end" if one else "their ends"
    of = "of the start" if to_zero else "of the way from there to the start"
    return (
        f"{named} now reach{'es' * one} {end} at step {new}, not {old}: at step {env_steps} "
        f"{'it stands' if one else 'they stand'} at {now:.0%} {of}, where "
        f"{'it' if one else 'they'} stood at {then:.0%}"
    )


def has_reported_end(folder: Path, env_steps: int) -> bool:
    """Whether the run has said how it ended: one that was killed just before still has to."""
    try:
        summary = atomic_files.read_json(folder / "summary.json")
        told: bool = summary["status"] == "finished" and summary["env_steps"] == env_steps
        return told
    except (OSError, ValueError, LookupError, TypeError):
        return False


def words_for_evaluations(words: Sequence[CliOverride]) -> list[CliOverride]:
    """The words for a run whose training is over: a limit of episodes is that of the evaluations, and the
    environments stand as they stood.
    """
    return [replace(word, key="trainer.eval_max_steps") if word.key == LIMIT else word for word in words]


def settings_of_resumed_run(
    settings: Mapping[str, Any], words: Sequence[CliOverride], folder: Path
) -> dict[str, Any]:
    """The run's settings, with what may change; other words must say what they are already."""
    refuse_unknown_settings(settings, words)
    result = copy.deepcopy(dict(settings))
    named = {word.key: word.value for word in words if word.key != "resume"}
    differing = []
    for key, value in named.items():
        if key in MAY_CHANGE:
            section, _, name = key.rpartition(".")
            (result[section] if section else result)[name] = value
        elif not is_same_value(
            setting_as_typed(settings, key), spell_advantage_norm(value) if key == "advantage_norm" else value
        ):
            differing.append(escape_line(f"{key}={setting_as_typed(settings, key)}, not {value}"))
    if differing:
        hint = "; trainer.eval_max_steps cuts the episodes of evaluations" if LIMIT in named else ""
        raise InvalidCommand(
            folder,
            None,
            f"was started with {'; '.join(differing)}",
            f"a run goes on with its own configuration, only {' and '.join(MAY_CHANGE)} may change; "
            f"for another one start anew{hint}",
        )
    for missing in find_code_to_name_again(settings, named):
        raise InvalidCommand(
            folder, None, "runs code of yours, which has to be named again", f"add {escape_line(missing)}"
        )
    return result


def refuse_unknown_settings(settings: Mapping[str, Any], words: Sequence[CliOverride]) -> None:
    """Answer words that are none of the run's settings as a new command would. Raises ``InvalidCommand``."""
    tree, absent = OmegaConf.create(dict(settings)), object()
    unknown = [
        word.text
        for word in words
        if word.key != "resume" and OmegaConf.select(tree, word.key, default=absent) is absent
    ]
    if unknown:
        command = read_command(unknown)
        jobs = compose_jobs(command)
        refuse_all([*command.problems, *jobs.problems])


def setting_as_typed(settings: Mapping[str, Any], key: str) -> Any:
    """What the run has for a key as it is typed: a setting, or the name of a group's option."""
    value = OmegaConf.select(OmegaConf.create(dict(settings)), key)
    if OmegaConf.is_dict(value):
        return value.get("id") if key == "env" else value.get("name")
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def is_same_value(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, str) and a == str(b))


def refuse_misfits(settings: dict[str, Any], folder: Path) -> None:
    """Refuse what a new run would be refused for: a checkpoint is data from anywhere."""
    from pgrun.command.compose import Job
    from pgrun.command.validate import find_problems

    job = Job(settings=settings, choices={}, words=[], hydra=OmegaConf.create(), folder=folder)
    refuse_all([Mistake(str(folder), None, join_lines(one.sentence())) for one in find_problems(job)])
