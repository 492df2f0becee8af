"""What other tools' commands begin with: scripts (``cleanrl/ppo.py``), and words such as ``enjoy``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from pgrun.command.foreign_names import SCRIPT_ALGORITHMS
from pgrun.errors import InvalidCommand

COMMANDS = {  # word there → what to type here; {} is the folder that stands behind it
    **dict.fromkeys(("enjoy", "test_policy", "watch"), "pgrun-play {} --render"),
    **dict.fromkeys(("eval", "evaluate", "test"), "pgrun-play {}"),
    **dict.fromkeys(("record_video", "record_training"), "pgrun-play {} --video films"),
    **dict.fromkeys(
        ("plot", "plot_train", "all_plots", "plot_from_file", "plot_results", "read_results"),
        "pgrun-compare {} --html curves.html",
    ),
    "benchmark": "pgrun -m algo=a2c,ppo seed=0,1,2",
    "tensorboard": "tensorboard --logdir outputs",
}
ABOUT = {
    "pgrun-play": "a folder behind it names the run; without one it is the newest",
    "pgrun-compare": "a folder behind it names the sweep, without one it is the newest; tensorboard --logdir "
    "outputs shows curves too",
    "tensorboard": "a command of its own",
    "pgrun": "a sweep over algorithms and seeds, which ends in a table",
}
MODULES = ("cleanrl.", "cleanrl_utils.", "spinup.", "rl_zoo3")  # python -m …
TRAIN = ("train", "rl_zoo3", "spinup")
LAUNCHERS = ("python", "python3", "uv", "poetry", "pipenv", "run", "xvfb-run", "-a")  # before a script


def strip_script(token: str) -> str:
    """``ppo`` of ``cleanrl/ppo.py``, ``cleanrl.ppo`` and ``ppo``."""
    name = token.rsplit("/", 1)[-1].lower()
    return name.removesuffix(".py").rsplit(".", 1)[-1]


def is_script(token: str) -> bool:
    """Whether the word is a program of another tool, not a setting or a value."""
    return "=" not in token and (
        token.endswith((".py", "_pytorch", "_tf1")) or token.startswith(MODULES) or token in TRAIN
    )


def drop_launcher(argv: Sequence[str]) -> list[str]:
    """Without ``python``, ``uv run``, ``OMP_NUM_THREADS=1 xvfb-run -a python`` before a script."""
    rest = list(argv)
    while rest and (rest[0] in LAUNCHERS or re.match(r"[A-Z_]+=", rest[0])):
        rest.pop(0)
    scripts = [token for token in rest[:2] if token != "-m"][:1]
    launched = any(token in LAUNCHERS for token in argv[: len(argv) - len(rest)])
    return rest if launched and any(map(is_script, scripts)) else list(argv)


def refuse_foreign_command(argv: Sequence[str]) -> None:
    """Answer a command that plays, draws or compares there. Raises ``InvalidCommand``."""
    words = [token for token in argv if token not in ("-m", "spinup.run", *TRAIN)]
    if not words or strip_script(words[0]) not in COMMANDS or "=" in words[0]:
        return
    behind = [token for token in words[1:2] if not token.startswith("-") and "=" not in token]
    typed = " ".join(COMMANDS[strip_script(words[0])].format(*behind or [""]).split())
    about = ABOUT[typed.split()[0]]
    raise InvalidCommand(words[0], None, f"type {typed}" + ("" if behind else f"; {about}"))


def drop_python_m(argv: Sequence[str]) -> list[str]:
    """Without the ``-m`` of ``python -m cleanrl.ppo``: here it would be a sweep."""
    behind = [*argv[1:], ""]
    return [token for i, token in enumerate(argv) if token != "-m" or not is_script(behind[i])]


def find_script_algorithm(token: str, names: Collection[str]) -> str:
    """The algorithm in the name of a script; "" where there is none: ``ppo`` in ``mujoco_ppo.py``."""
    stem = strip_script(token)
    known = {**{name: name for name in names}, **SCRIPT_ALGORITHMS}
    inside = [name for name in known if re.search(rf"(?:^|_){re.escape(name)}(?:_|$)", stem)]
    return known[max(inside, key=len)] if inside else ""
