"""What TensorBoard shows beside scalars: how they are laid out, and a card of text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layouts
from tensorboard.plugins.text import metadata as texts

from pgrun.atomic_files import read_bytes
from pgrun.config.paths import where_typed
from pgrun.config.plain_yaml import load_yaml
from pgrun.errors import escape_line
from pgrun.presentation.tables import format_markdown_table
from pgrun.storage.git_commit import find_commit
from pgrun.storage.versions import installed_versions

CARD = "run"  # the tag of the text
LONGEST = 4000  # characters of a command that are shown
RETURNS = {"evaluation: mean, least, most": "return/eval", "training: mean, least, most": "return/train"}
CHARTS: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...] = (
    (
        "returns",
        (
            ("evaluation", ("return/eval",)),
            ("training", ("return/train",)),
            ("episode length", ("episode/length",)),
            ("spread of an episode's return", ("return/eval_std", "return/train_std")),
        ),
    ),
    (
        "gradient",
        (
            ("variance and its standard error", ("gradient/variance", "gradient/variance_se")),
            ("norm", ("gradient/norm",)),
            ("signal to noise", ("gradient/snr",)),
        ),
    ),
    (
        "the step",
        (
            ("KL of old and new policy", ("kl/old_new", "kl/new_old")),
            ("largest KL", ("kl/max",)),
            ("share of samples", ("ratio/ess", "ratio/clip_fraction")),
            ("learning rate", ("optimizer/lr",)),
        ),
    ),
    (
        "policy and critic",
        (
            ("entropy", ("policy/entropy",)),
            ("explained variance", ("value/explained_variance",)),
            ("critic's loss", ("value/loss",)),
        ),
    ),
    ("time", (("environment steps a second", ("time/env_steps_per_second",)),)),
)


def text_summary(tag: str, plugin: SummaryMetadata, content: bytes) -> Summary:
    tensor = TensorProto(dtype=DT_STRING, string_val=[content])
    return Summary(value=[Summary.Value(tag=tag, metadata=plugin, tensor=tensor)])


def make_layout(tags: Sequence[str]) -> Summary:
    """The tab CUSTOM SCALARS: returns first, then each with its least and most; charts of what the run has.

    TensorBoard draws a category's lines before its margins, in whatever order they stand.
    """
    categories = []
    for title, charts in CHARTS:
        margins = [
            layout_pb2.Chart(title=name, margin=make_margin(tag))
            for name, tag in (RETURNS.items() if title == "returns" else ())
        ]
        lines = [
            layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=patterns))
            for name, wanted in charts
            if (patterns := [f"^{tag}$" for tag in wanted if tag in tags])
        ]
        if margins or lines:
            categories.append(layout_pb2.Category(title=title, chart=[*lines, *margins]))
    content = layout_pb2.Layout(category=categories).SerializeToString()
    return text_summary(layouts.CONFIG_SUMMARY_TAG, layouts.create_summary_metadata(), content)


def make_margin(tag: str) -> layout_pb2.MarginChartContent:
    series = layout_pb2.MarginChartContent.Series(value=tag, lower=f"{tag}_min", upper=f"{tag}_max")
    return layout_pb2.MarginChartContent(series=[series])


def make_card(folder: Path, settings: Mapping[str, Any], backend: str) -> Summary:
    """The tab TEXT: the command, versions, and the commits of pgrun and of the folder it was typed in."""
    what = " · ".join([settings["algo"]["name"], settings["variance"]["name"], settings["env"]["id"]])
    own = Path(__file__).resolve().parents[2]  # of a checkout
    commits = {
        "pgrun": find_commit(own) if (own / ".git").exists() else None,
        "the folder it was typed in": find_commit(where_typed().absolute()),
    }
    if commits["pgrun"] == commits["the folder it was typed in"]:
        commits.pop("the folder it was typed in")
    rows = {
        "run": f"{what} · seed {settings['seed']}",
        "command": command_of(folder),
        "backend": backend,
        **{f"commit of {name}": commit for name, commit in commits.items()},
        **installed_versions(),
    }
    cells = [(name, f"`{escape_card_cell(text)}`") for name, text in rows.items() if text]
    content = format_markdown_table([("", ""), *cells])
    return text_summary(CARD, texts.create_summary_metadata(CARD, ""), content.encode())


def escape_card_cell(text: str) -> str:
    """In a cell of a table, as it stands: whatever was typed."""
    return escape_line(text).replace("`", "'")[:LONGEST]


def command_of(folder: Path) -> str:
    """As Hydra has noted it, for the run or for the seeds that it is one of; empty where it has not."""
    place = next((at for at in (folder, folder.parent) if (at / ".hydra").is_dir()), folder)
    try:
        words = load_yaml(read_bytes(place / ".hydra" / "overrides.yaml"))
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return shlex.join(["pgrun", *map(str, words)]) if isinstance(words, list) else ""
