"""Options of the user's own that a folder of runs was started with: the command names their folder again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from pgrun import atomic_files
from pgrun.config.paths import conf_dir
from pgrun.config.plain_yaml import load_yaml
from pgrun.errors import escape_line
from pgrun.storage.newest_run import SWEEP

HYDRAS = (SWEEP, ".hydra/hydra.yaml")  # files that Hydra's section is in
FLAGS = ("--config-dir", "-cd")


def read_config_dir(folder: Path) -> Path | None:
    """The ``--config-dir`` that a run or a sweep was started with; None where its folder does not say."""
    for name in HYDRAS:
        try:
            content: Any = load_yaml(atomic_files.read_bytes(folder / name, most=atomic_files.OTHERS))
            sources = content["hydra"]["runtime"]["config_sources"]
            places = [x["path"] for x in sources if (x["provider"], x["schema"]) == ("pgrun", "file")]
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
            continue
        if places and isinstance(places[0], str) and places[0]:
            return Path(places[0])
    return None


def find_config_dir_to_name_again(
    chosen: Iterable[tuple[str, str]], folder: Path, argv: Iterable[str]
) -> Iterator[str]:
    """``--config-dir PATH``, where one of the options that are chosen (group, name) is only there, and the
    command does not name it.
    """
    if any(word.partition("=")[0] in FLAGS for word in argv):
        return
    place = read_config_dir(folder)
    if place is None:
        return
    files = [f"{group}/{name}.yaml" for group, name in chosen]
    if any((place / file).is_file() and not (conf_dir() / file).is_file() for file in files):
        inside = place.is_relative_to(Path.cwd())
        yield f"--config-dir {escape_line(shlex.quote(os.path.relpath(place) if inside else str(place)))}"
