"""The command ``pgrun``: check every job first, then let Hydra run it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pgrun import __version__
from pgrun.cli.subcommands import find_subcommand
from pgrun.command.app import PGRUN, App
from pgrun.errors import InvalidCommand, UserFacingError, escape_lines
from pgrun.terminal.exit_codes import ExitCode, run_guarded
from pgrun.terminal.libraries import pin_libraries
from pgrun.terminal.printing import Tone, say, shorten_folder

if TYPE_CHECKING:
    from pgrun.command.compose import Job
    from pgrun.command.overrides import Command


HELP = ("--help", "-h")
OWN_HELP = "--config-dir FOLDER modules=[my_module] variance=my_scheme --help"


class Outcome(NamedTuple):
    """How a command ended that was carried out, and where the run lies that it made or went on with."""

    code: int
    folder: Path | None = None


def main(app: App = PGRUN) -> None:
    """The console script."""
    if app is PGRUN and (subcommand := find_subcommand(sys.argv[1:])):
        return subcommand()
    sys.exit(run_guarded(lambda: dispatch_command(sys.argv[1:], app), app.name))


def dispatch_command(argv: list[str], app: App = PGRUN) -> int:
    """What the command line asks for; the exit code."""
    if any(word in HELP for word in argv):
        return show_help(argv, app)
    if "--version" in argv:
        print(f"{app.name} {__version__}")
        return ExitCode.DONE
    if "--list" in argv:
        from pgrun.cli.compatibility_table import format_method_list

        say(format_method_list())
        if any(word.startswith(("--config-dir", "-cd", "modules=")) for word in argv):
            say(f"\nMethods of your own are not in this list; {app.name} {OWN_HELP} has the settings of one")
        return ExitCode.DONE
    return carry_out(argv, app).code


def carry_out(argv: list[str], app: App = PGRUN) -> Outcome:
    """Read, check and run a command: the one way to a run, from the terminal and from Python.

    Raises ``InvalidCommand``.
    """
    pin_libraries(argv)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us as they are
    from pgrun.command.overrides import read_command

    command = read_command(expand_folder_words(argv, app), app)
    how = None
    if any(word.key == "resume" for word in command.words):
        from pgrun.runs.resume_sweep import split_resume_word

        command, how = split_resume_word(command)
        if how is None and app is PGRUN:
            return resume_named_run(command)
    if command.shows:
        return Outcome(show_through_hydra(command))
    return check_and_run(command, how)


def expand_folder_words(argv: list[str], app: App) -> list[str]:
    """With the words that a run directory, a file or a sweep brings: ``from=``, ``--config``, ``resume=``.

    Raises ``InvalidCommand``.
    """
    if any(word.startswith(("from=", "--config")) for word in argv):
        from pgrun.command.saved_settings import expand_saved_settings

        argv = expand_saved_settings(argv, app)
    if any(word.startswith("resume=") for word in argv):
        from pgrun.runs.resume_several import complete_resume

        argv = complete_resume(argv, app)
    return argv


def resume_named_run(command: Command) -> Outcome:
    """``resume=`` of one run directory, or what it would go on with. Raises ``InvalidCommand``."""
    from pgrun.runs.resume_run import read_resumed_settings, resume_run

    command.refuse_foreign()
    if command.shows:
        show_settings(command, read_resumed_settings(command))
        return Outcome(ExitCode.DONE)
    resume_run(command)
    return Outcome(ExitCode.DONE, next(Path(str(w.value)) for w in command.words if w.key == "resume"))


def check_and_run(command: Command, how: str | None) -> Outcome:
    """Compose and check every job, then run them; ``how``: auto or retry, where there may be earlier ones.

    Raises ``InvalidCommand``.
    """
    from pgrun.command.preflight import compose_and_check

    app = command.app
    jobs = compose_and_check(command, again=how is not None)
    if app.instead:
        return Outcome(app.instead(jobs))
    if app is PGRUN:
        from pgrun.command.notices import find_notices

        for line in find_notices(jobs):
            say(f"{app.name}: {line}", error=True)
    if command.multirun:
        check_search_storage(jobs, command)
    if how is None:
        from pgrun.command.claim_folders import claim_folders

        jobs = claim_folders(jobs, command.multirun)
    if not command.multirun:
        prepare_to_resume(jobs, command, how)
        return Outcome(ExitCode.DONE, run_alone(command, jobs[0], again=how is not None))
    with owning_sweep(jobs):
        prepare_to_resume(jobs, command, how)
        return Outcome(run_sweep(command, jobs))


def prepare_to_resume(jobs: Sequence[Job], command: Command, how: str | None) -> None:
    """Look at what earlier jobs have left, where ``how`` says that there may be some.

    Raises ``InvalidCommand``.
    """
    if how is None:
        return
    from pgrun.command.search_settings import asks_for_search

    if asks_for_search(command):
        from pgrun.runs.search.resume_search import prepare_search_resume

        prepare_search_resume(jobs, command, how)
    else:
        from pgrun.runs.resume_sweep import prepare_resume

        prepare_resume(jobs, command, how)


def check_search_storage(jobs: Sequence[Job], command: Command) -> None:
    """Of a search that shares one. Raises ``InvalidCommand``."""
    from pgrun.command.search_settings import asks_for_search

    if asks_for_search(command):
        from pgrun.runs.search.resume_search import check_storage

        check_storage(jobs, command)


@contextmanager
def owning_sweep(jobs: Sequence[Job]) -> Iterator[None]:
    """Alone in the sweep's folder, where no signal of an earlier sweep is left; workers import nothing from
    the current folder, and end with this process.
    """
    from pgrun.config.import_path import safe_import_path
    from pgrun.config.user_modules import hiding_user_folders
    from pgrun.runs.slurm_states import knowing_slurm_states
    from pgrun.runs.workers import owning_workers
    from pgrun.storage.folder_lock import SWEEPING, run_lock
    from pgrun.terminal.signals import STOP

    folder = Path(jobs[0].hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        run_lock(folder, f"{SWEEPING}: wait for its end, or choose another hydra.sweep.dir"),
        safe_import_path(),
        hiding_user_folders(),
        owning_workers(jobs[0].choices.get("hydra/launcher", "")),
        knowing_slurm_states(jobs[0].choices.get("hydra/launcher", "")),
    ):
        (folder / STOP).unlink(missing_ok=True)
        yield


def show_help(argv: list[str], app: App) -> int:
    from pgrun.config.paths import conf_dir

    flags = ("--config-dir", "-cd")
    own = [Path(value) for flag, value in pairwise(argv) if flag in flags]
    own += [Path(word.partition("=")[2]) for word in argv if word.partition("=")[0] in flags and "=" in word]
    places = [conf_dir(), *own]
    typed = [word for word in argv if word not in HELP]
    if any("=" in word for word in typed):
        pin_libraries(argv)
        from pgrun.cli.option_help import find_options, option_help
        from pgrun.command.overrides import read_command

        command = read_command(typed, app)
        if options := find_options(command, places):
            say(option_help(command, options, places))
            return ExitCode.DONE
    say(app.help(places))
    return ExitCode.DONE


def show_settings(command: Command, settings: Mapping[str, Any]) -> None:
    """``--cfg job``, whole or a package of it. Raises ``InvalidCommand``."""
    from pgrun.command.compose import format_settings_yaml

    print(escape_lines(format_settings_yaml(settings, command.flags.package)))  # a run's are from a file


def show_through_hydra(command: Command) -> int:
    """The composed configuration, completions: what Hydra prints itself."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from pgrun.command.compose import compose_jobs
    from pgrun.command.preflight import refuse_all

    jobs = compose_jobs(command) if command.flags.cfg else None
    problems = [*command.problems, *(jobs.problems if jobs else ())]
    refuse_all(problems, command.app.name, jobs.translation if jobs else "")
    command.refuse_foreign()
    if jobs and command.flags.cfg == "job":  # Hydra's own shows where values come from: ${oc.select:usual.…}
        show_settings(command, jobs.composed[0].settings)
        return ExitCode.DONE
    try:
        call_hydra(command, command.argv)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise InvalidCommand(str(error).strip().splitlines()[0], None, "") from error
    return ExitCode.DONE


def run_alone(command: Command, job: Job, again: bool) -> Path:
    """Run one job; its folder. That is this process's before anything is written there, so that of two runs
    that begin at the same moment one is refused.
    """
    from pgrun.command.hydra_internals.jobs import run_composed_job
    from pgrun.command.preflight import check_folders, refuse_all
    from pgrun.config.paths import showing_paths_from
    from pgrun.runs.announce import describe_start
    from pgrun.storage.folder_lock import run_lock

    folder = job.folder.absolute()  # of before hydra.job.chdir
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(job.folder), showing_paths_from(Path.cwd()):
        if not again:  # the other one may be over by now
            refuse_all(list(check_folders([job], command.app.files, "hydra.run.dir")), command.app.name)
        say(describe_start(job, command.app))
        run_composed_job(job.composed, job.folder, command.app.job)
    return folder


def run_sweep(command: Command, jobs: list[Job]) -> int:
    """Every job, then the table, whatever happened meanwhile."""
    from pgrun.command.overrides import hydra_word
    from pgrun.command.search_settings import asks_for_search
    from pgrun.runs.announce import describe_cost, describe_size, describe_watching
    from pgrun.runs.child_process import start_server
    from pgrun.runs.search.report import report_search
    from pgrun.runs.sweep import describe_for_tensorboard, report_sweep
    from pgrun.runs.sweep_progress import telling_progress
    from pgrun.terminal.signals import Stopped, SweepStop, noting_signals

    folder = Path(jobs[0].hydra.sweep.dir)  # ${now:} is resolved once, so that the report finds it
    argv = [*command.argv, hydra_word("hydra.sweep.dir", folder)]
    searching = asks_for_search(command)
    trials = int(jobs[0].hydra.sweeper.n_trials) if searching else None
    say("; ".join(filter(None, (describe_size(jobs, trials), describe_cost(jobs, trials)))))
    say(f"writes to {shorten_folder(folder)}; {describe_watching(folder)}")
    broken = False
    with noting_signals(SweepStop(folder.absolute())) as stop:  # of before hydra.job.chdir
        start_server()
        describe_for_tensorboard(folder, jobs, command.app)
        try:
            with nullcontext() if searching else telling_progress(jobs, command.app):
                run_jobs_of_sweep(command, jobs, argv)
        except KeyboardInterrupt:  # Stopped
            pass
        except Exception as error:
            if os.environ.get("PGRUN_DEBUG"):
                traceback.print_exc()
            broken, stopped = True, f"the launcher stopped: {type(error).__name__}: {error}"
            stopped = str(error) if isinstance(error, UserFacingError) else stopped
            say(f"{command.app.name}: {stopped}", error=True, tone=Tone.ERROR)
        lost = report_search(command, jobs) if searching else report_sweep(folder, jobs, command.app)
        if stop.number is not None:
            raise Stopped(stop.number)
    return ExitCode.FAILED if lost or broken else ExitCode.DONE


def run_jobs_of_sweep(command: Command, jobs: Sequence[Job], argv: list[str]) -> None:
    """In turn, each in a process of its own; on other launchers, and in a search, by Hydra.

    argv: the command as Hydra is to read it.
    """
    from pgrun.command.hydra_internals.jobs import run_composed_sweep
    from pgrun.config.paths import showing_paths_from

    if (jobs[0].choices["hydra/launcher"], jobs[0].choices["hydra/sweeper"]) != ("basic", "basic"):
        return call_hydra(command, argv)
    folder, task = Path(jobs[0].hydra.sweep.dir), command.app.job
    with showing_paths_from(Path.cwd()):
        run_composed_sweep(
            folder,
            command.typed_words(),
            [job.folder for job in jobs],
            lambda number: jobs[number].own_composed(),
            task,
        )


def call_hydra(command: Command, argv: list[str]) -> None:
    """Let Hydra run a sweep, or show what it has to show."""
    import hydra

    from pgrun.command.hydra_env import register_config_sources
    from pgrun.command.hydra_internals.flags import accepting_lazy_help
    from pgrun.config.paths import conf_dir, showing_paths_from

    app = command.app
    register_config_sources(command.config_dir, app.options)
    sys.argv[1:] = argv
    with showing_paths_from(Path.cwd()), accepting_lazy_help():
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=app.config)(app.job.load())()


if __name__ == "__main__":  # python -m
    main()
