"""The command ``pgrun-play``: its words. What takes time to import waits until they are right."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pgrun.config.pages import install_command
from pgrun.errors import InvalidCommand
from pgrun.storage.newest_run import LAST, replace_last
from pgrun.terminal.exit_codes import ExitCode, run_guarded
from pgrun.terminal.libraries import pin_libraries
from pgrun.terminal.options import Options, integer_at_least
from pgrun.terminal.printing import say
from pgrun.tools.play.options import PlayOptions

NAME = "pgrun-play"
MOST = 100_000  # episodes: all that is seen in them is kept to their end
ABOUT = "Play a saved run: evaluate its policy, watch it, or film it."
EXAMPLES = """\
examples:
  pgrun-play                                   the newest run below outputs/, as pgrun-play last
  pgrun-play outputs/2026-01-31/ppo_CartPole-v1_s0_12-00-00
  pgrun-play RUN_DIR --policy best --episodes 100 --seed 7 --stochastic
  pgrun-play RUN_DIR --video films --format gif"""


def main() -> None:
    """The console script."""
    sys.exit(run_guarded(lambda: run_play(sys.argv[1:]), NAME))


def run_play(argv: Sequence[str]) -> int:
    wish = read_play_options(argv)
    pin_libraries([f"threads={threads_of(wish)}"])
    from pgrun.tools.play.play import export_policy, play_policy

    say(export_policy(wish) if wish.export else play_policy(wish))
    return ExitCode.DONE


def read_play_options(argv: Sequence[str]) -> PlayOptions:
    """Raises ``InvalidCommand``."""
    given = vars(build_play_parser().parse_args(argv))
    given["run"] = replace_last(given["run"], NAME)
    given["modules"] = tuple(given["modules"])
    if given["format"] and not given["video"]:
        raise InvalidCommand("--format", given["format"], "is that of a video", "add --video DIR")
    given["format"] = given["format"] or "mp4"
    wish = PlayOptions(**given)
    if wish.render and wish.video:
        raise InvalidCommand("--render or --video", None, "one of them")
    if wish.export:
        refuse_wrong_export(wish)
    return wish


def refuse_wrong_export(wish: PlayOptions) -> None:
    """Raises ``InvalidCommand``."""
    from pgrun.terminal.writable import refuse_unwritable_file

    assert wish.export is not None
    played: dict[str, object] = {
        "--episodes": wish.episodes,
        "--seed": wish.seed,
        "--max-steps": wish.max_steps,
    }
    played |= {"--stochastic": wish.stochastic, "--render": wish.render, "--video": wish.video}
    if idle := [word for word, value in played.items() if value not in (None, False)]:
        raise InvalidCommand("--export", None, "plays nothing", f"leave out {', '.join(idle)}")
    if wish.export.suffix != ".onnx":
        raise InvalidCommand("--export", wish.export, "a file that ends in .onnx")
    if find_spec("onnx") is None:
        raise InvalidCommand("--export", None, f'needs the extra "onnx": {install_command("onnx")}')
    refuse_unwritable_file("--export", wish.export)


def build_play_parser() -> Options:
    options = Options(NAME, ABOUT, EXAMPLES)
    add = options.add_argument
    add(
        "run",
        metavar="RUN_DIR",
        nargs="?",
        default=LAST,
        help="a run directory, from here or from another machine (default: last, the newest)",
    )
    add(
        "--policy",
        choices=("final", "best"),
        default="final",
        help="the last one, or the one that did best in an evaluation during training (default: final)",
    )
    add(
        "--episodes",
        type=integer_at_least(1, MOST),
        metavar="N",
        help="default: as many as the run's evaluation; 1 to look at",
    )
    add(
        "--max-steps",
        type=integer_at_least(1),
        metavar="N",
        help="cut an episode there (default: the run's trainer.eval_max_steps)",
    )
    add("--seed", type=integer_at_least(0), metavar="S", help="default: the run's own evaluation seeds")
    add("--stochastic", action="store_true", help="sample the actions; default: the policy's mode")
    add("--render", action="store_true", help="watch it in a window")
    add("--video", type=Path, metavar="DIR", help="write one film an episode to this folder")
    add("--format", choices=("mp4", "gif"), help="of the films (default: mp4)")
    add(
        "--export", type=Path, metavar="FILE.onnx", help="write the policy as an ONNX graph, and play nothing"
    )
    add("--env", metavar="MODULE:ID", help="the run's environment, where it is code of yours")
    add(
        "--modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="your module that a network of yours is in; may be repeated",
    )
    return options


def threads_of(wish: PlayOptions) -> int:
    """What the run computed with: NumPy's sums hang on it, and it must be told before NumPy is imported."""
    from pgrun.atomic_files import read_json
    from pgrun.config.paths import POLICY_FILES

    try:
        content = read_json(Path(wish.run) / f"{POLICY_FILES[wish.policy]}.json", links=True)
        return min(max(int(content["config"]["threads"]), 1), os.cpu_count() or 1)
    except (OSError, ValueError, KeyError, TypeError):
        return 1  # ``saved.load`` says what is wrong


if __name__ == "__main__":  # python -m
    main()
