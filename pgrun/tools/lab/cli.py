"""The command ``pgrun-lab``: claims about policy gradients, tried.

Imports nothing heavy until something runs.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.config.pages import page_address
from pgrun.errors import InvalidCommand
from pgrun.terminal.exit_codes import ExitCode, run_guarded
from pgrun.terminal.libraries import pin_libraries
from pgrun.terminal.options import Options, integer_at_least
from pgrun.terminal.printing import say
from pgrun.terminal.writable import refuse_unwritable_folder

if TYPE_CHECKING:
    from pgrun.tools.lab.editions import English
    from pgrun.tools.lab.experiment import Experiment

ABOUT = """\
Try a claim about policy gradients: a table, a picture, and a sentence that says whether it holds.
Without a name: the list of experiments."""
EXAMPLES = f"""\
examples
  pgrun-lab                        what there is, in the order of the lecture
  pgrun-lab causality baseline     two experiments
  pgrun-lab variance               all of a group
  pgrun-lab --check --fast         those that take seconds, again: exit code 1 if an outcome changed
  pgrun-lab --check --jobs 2       all of them
  pgrun-lab baseline --lang zh     in Chinese
{page_address("lab/README.md")} holds the same experiments as a book."""


def build_lab_parser() -> Options:
    p = Options("pgrun-lab", ABOUT, EXAMPLES)
    p.add_argument("names", metavar="NAME", nargs="*", help="experiments, or groups of them")
    p.add_argument("--check", action="store_true", help="run and compare with what must come out")
    p.add_argument("--fast", action="store_true", help="those alone that take seconds")
    p.add_argument(
        "--jobs",
        type=integer_at_least(1, 1024),
        metavar="N",
        help="processes, for --check (usual: 1)",
    )
    p.add_argument(
        "--out", type=Path, metavar="DIR", help="where results go (usual: outputs/lab/<date>/<time>)"
    )
    p.add_argument("--lang", choices=("en", "zh"), help="the language, English or Chinese (usual: en)")
    p.add_argument("--docs", type=Path, metavar="DIR", help="write the pages, and what NAMEs find, to DIR")
    return p


def main() -> None:
    """The console script."""
    pin_libraries(sys.argv[1:])
    sys.exit(run_guarded(lambda: run_lab(sys.argv[1:]), "pgrun-lab"))


def run_lab(argv: Sequence[str]) -> int:
    """What the command line asks for; the exit code."""
    given = build_lab_parser().parse_args(list(argv))
    refuse_idle_options(given)
    from pgrun.tools.lab.catalogue import choose_experiments

    wanted = [e for e in choose_experiments(given.names) if e.fast or not given.fast]
    if not wanted:
        raise InvalidCommand(
            f"{' '.join(given.names)} --fast", None, "none of these takes seconds only", "leave --fast out"
        )
    if given.docs:
        refuse_unwritable_folder("--docs", given.docs)
        from pgrun.tools.lab.pages import write_book

        to_run = wanted if given.names else []
        write_book(given.docs, to_run, choose_output_folder(given.out, to_run))
        return ExitCode.DONE
    if given.check:
        from pgrun.tools.lab.check import check_experiments

        folder = choose_output_folder(given.out, wanted)
        return ExitCode.FAILED if check_experiments(wanted, folder, given.jobs or 1) else ExitCode.DONE
    from pgrun.tools.lab.editions import EDITIONS

    edition = EDITIONS[given.lang or "en"]
    if not given.names and not given.fast:
        say(format_experiment_list(wanted, edition))
        return ExitCode.DONE
    folder = choose_output_folder(given.out, wanted)
    for experiment in wanted:
        show_experiment(experiment, folder / experiment.name, edition)
    return ExitCode.DONE


def refuse_idle_options(given: Namespace) -> None:
    """Raises ``InvalidCommand`` where an option would change nothing beside the others."""
    if given.check and given.docs:
        raise InvalidCommand("--check or --docs", None, "one of them")
    if given.jobs and not given.check:
        remedy = "leave it out" if given.docs else "add --check, or leave it out"
        raise InvalidCommand("--jobs", given.jobs, "is the number of processes of --check", remedy)
    if given.lang and given.docs:
        raise InvalidCommand(
            "--lang", given.lang, "--docs writes the pages in both languages", "leave it out"
        )
    if given.lang and given.check:
        raise InvalidCommand("--lang", given.lang, "--check prints English alone", "leave it out")
    if given.names or given.check:
        return
    of_runs = {"--fast": given.fast and given.docs, "--out": given.out and (given.docs or not given.fast)}
    if idle := " and ".join(option for option, is_idle in of_runs.items() if is_idle):
        raise InvalidCommand(idle, None, "nothing runs without a NAME", f"add one, or leave {idle} out")


def choose_output_folder(folder: Path | None, wanted: Sequence[Experiment]) -> Path:
    """The folder where results go, not made yet.

    Raises ``InvalidCommand`` where it cannot be written, or has something of an experiment in it.
    """
    folder = folder or Path("outputs/lab") / datetime.now().strftime("%Y-%m-%d/%H-%M-%S-%f")
    refuse_unwritable_folder("--out", folder)
    for home in (folder / experiment.name for experiment in wanted):
        refuse_unwritable_folder("--out", home)
        if home.is_dir() and any(home.iterdir()):
            raise InvalidCommand(home, None, "holds results already", "choose another --out, or remove it")
    return folder.absolute()


def format_experiment_list(wanted: Sequence[Experiment], edition: English) -> str:
    from pgrun.tools.lab.catalogue import GROUPS

    width = max(len(e.name) for e in wanted) + 2
    lines = [edition.list_head, ""]
    for group in GROUPS:
        members = [e for e in wanted if e.group == group.name]
        lines += [f"{edition.name_group(group)} ({group.name})"] * bool(members)
        lines += [
            f"  {e.name:<{width}}{format_usual_time(e):>6}  {edition.read_texts(e).claim}" for e in members
        ]
        lines += [""] * bool(members)
    return "\n".join(lines).rstrip()


def format_usual_time(experiment: Experiment) -> str:
    seconds = experiment.seconds
    return f"{seconds} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def show_experiment(experiment: Experiment, folder: Path, edition: English) -> None:
    """Run one, and say what came out."""
    from pgrun.tools.lab.run import run_experiment

    say("\n".join(format_heading(experiment, edition)))
    result = run_experiment(experiment, folder, lambda line: say(f"  {line}"))
    say("\n".join(format_experiment_result(experiment, result, folder, edition)))


def format_heading(experiment: Experiment, edition: English) -> list[str]:
    texts = edition.read_texts(experiment)
    return [
        "",
        edition.heading.format(name=experiment.name, claim=texts.claim, source=texts.source),
        *(f"  “{text}”" for text in texts.quotation),
        "",
        indent_formula(experiment.formula),
        "",
    ]


def format_experiment_result(
    experiment: Experiment, result: dict[str, Any], folder: Path, edition: English
) -> list[str]:
    from pgrun.terminal.printing import shorten_folder
    from pgrun.tools.lab.run import format_lab_table

    texts, outcome = edition.read_texts(experiment), edition.read_outcome(experiment, result)
    changes = ["  " + edition.changed.format(line) for line in result["changes"]]
    return [
        *("", format_lab_table(outcome.table), "", outcome.sentence, *changes, ""),
        texts.shows,
        edition.try_next.format(texts.next),
        "  " + edition.picture.format(shorten_folder(folder / "picture.svg")),
    ]


def indent_formula(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


if __name__ == "__main__":  # python -m
    main()
