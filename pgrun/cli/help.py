"""``pgrun --help``, without Hydra: composing the configuration to describe it takes over a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

EXAMPLES = """\
  pgrun algo=ppo env=CartPole-v1
  pgrun algo=reinforce variance=mean_baseline env=FrozenLake-v1 sampler.episodes=64
  pgrun -m algo=reinforce,a2c,ppo seed=0,1,2"""

ABOUT = {
    "algo": "what is done with the weighted log-probabilities",
    "env": "or any id that python -c 'import gymnasium; gymnasium.pprint_registry()' lists, or module:Id",
    "variance": "the weight Ψ that each action gets",
    "sampler": "whole episodes, or a number of steps of every environment",
    "optimizer": "how the gradient becomes a step",
    "network": "policy and critic apart, with one optimizer, or with one trunk",
    "policy": "how real actions are distributed: a Gaussian, or within the bounds",
    "critic": "what V is fitted to, and how",
    "critic/optimizer": "the critic's own",
    "trainer": "steps, evaluation",
    "diagnostics": "the gradient's variance",
    "logger": "rows and progress",
    "experiment": "whole recipes",
    "ablate": "the one practice that is off; -m experiment=ablate sweeps them",
    "tuned": "taken by itself for the pairs that pgrun --list shows",
}

FLAGS = """\
  -m                  a sweep: every combination of comma-separated values, then a table over seeds; with
                      hydra/launcher=parallel|local|slurm on several processes or a cluster,
                      hydra/sweeper=optuna a search: 'optimizer.lr=tag(log,interval(1e-4,1e-2))' \
'seeds=[0,1,2]'
  algo=ppo --help     the settings of an option: what may be typed, what it is here, what it means
  resume=RUN_DIR      go on with a run, or a sweep, that was stopped or killed; resume=last: the newest
  from=RUN_DIR        begin with that run's settings, then take the words of the command: from=last seed=7
  --config FILE       the same of a YAML file, such as one that pgrun … --cfg job > FILE has written
  --cfg job           show the composed configuration, every setting with its value
  --list              which algorithm goes with which scheme, and the tuned pairs
  --config-dir PATH   your own options, in folders like conf/'s; your own code: modules=[my_module]
  --version, --hydra-help, -sc install=bash (tab completion: eval "$(pgrun -sc install=bash)")"""


def format_pgrun_help(places: list[Path]) -> str:
    """Examples, the groups with their options, flags.

    ``places``: ours and the user's configuration folders.
    """
    return "\n\n".join(
        (
            "pgrun — policy-gradient experiments, with the variance of the gradient measured",
            EXAMPLES,
            "Groups: one option of each, typed as group=option",
            list_group_options(places, ABOUT),
            "Any setting is changed as group.key=value, for example trainer.total_steps=1e6",
            FLAGS,
            "What came out: tensorboard --logdir outputs, pgrun compare, pgrun doctor, pgrun play;\nbefore "
            "a run: pgrun explain; estimators on a frozen policy: pgrun study; the lecture's claims: "
            "pgrun lab;\neach is a command of its own too, pgrun-play for one; pgrun version",
        )
    )


def list_group_options(places: list[Path], about: Mapping[str, str], only: Sequence[str] = ()) -> str:
    """The groups with their options: those that ``about`` says something of, then the
    user's own, or ``only`` some.
    """
    options_by_group: dict[str, set[str]] = {group: set() for group in about}
    for place in places:
        for path in sorted(place.rglob("*.yaml")):
            group = path.parent.relative_to(place).as_posix()
            if only and group not in only:
                continue
            if group not in (".", "hydra") and not group.startswith(("hydra/", "tuned/")):
                options_by_group.setdefault(group, set()).add(path.stem)
    width = max(map(len, options_by_group))
    lines = []
    for group, options in options_by_group.items():
        lines.append(f"  {group:<{width}}  {', '.join(sorted(options))}")
        if group in about:
            lines.append(f"  {'':<{width}}    {about[group]}")
    return "\n".join(lines)
