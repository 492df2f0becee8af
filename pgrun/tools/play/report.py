"""What ``pgrun-play`` prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pgrun.errors import escape_line
from pgrun.rollouts.trajectory import Finished
from pgrun.storage.saved_policy import Saved
from pgrun.terminal.printing import shorten_folder
from pgrun.tools.play.options import PlayOptions


def format_play_report(wish: PlayOptions, saved: Saved, finished: Finished, files: list[Path]) -> str:
    """Whose policy, how it acted, and what it got."""
    config = saved.config
    names = [config.get("algo", {}).get("name"), config.get("variance", {}).get("name"), config["env"]["id"]]
    returns, lengths = (np.array(column) for column in zip(*finished, strict=True))
    count = len(finished)
    lines = [
        escape_line(" · ".join([*map(str, names), f"seed {config['seed']}", describe_policy(saved)])),
        f"  return   {returns.mean():.1f} ± {returns.std():.1f} over {format_episode_count(count)}"
        + (f", {returns.min():.1f} to {returns.max():.1f}" if count > 1 else ""),
        f"  length   {lengths.mean():.1f} ± {lengths.std():.1f} steps",
        f"  actions  {'sampled' if wish.stochastic else 'the mode of the policy'}; "
        + ("the evaluation's own seeds" if wish.seed is None else f"seed {wish.seed}"),
    ]
    if files:
        shown = [shorten_folder(files[0].absolute()), *(file.name for file in files[1:])]
        lines.append(f"  films    {', '.join(shown[:3])}{' …' if len(shown) > 3 else ''}")
    return "\n".join(lines)


def describe_policy(saved: Saved) -> str:
    evaluation = saved.evaluation
    if not evaluation:
        return "final policy"
    return f"best policy: {evaluation['return_mean']:.1f} at {evaluation['env_steps']:,} steps"


def format_episode_count(count: int) -> str:
    return f"{count} episode{'s' * (count != 1)}"
