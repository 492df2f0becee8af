"""The figures of these pages, made by the commands that the pages show.

python docs/methods/figures.py --list
python docs/methods/figures.py gae
python docs/methods/figures.py all

The commands are read from the ```bash block of NAME.md and run one after the other, below
outputs/figures/NAME/ in the current folder; what is finished there is not run again. The picture goes to
figures/NAME.png beside this file.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from pgrun.analysis.compare.read_runs import order_by_number

HERE = Path(__file__).parent
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)
FOLDERS = ("hydra.run.dir=", "hydra.sweep.dir=")


@dataclass(frozen=True)
class Run:
    """The folder of one finished job."""

    folder: Path

    @cached_property
    def result(self) -> dict[str, Any]:
        """study.json, or summary.json of a training run."""
        file = self.folder / "study.json"
        return json.loads((file if file.is_file() else self.folder / "summary.json").read_text())

    @cached_property
    def words(self) -> dict[str, str]:
        """The words of its command, key by key."""
        typed = OmegaConf.load(self.folder / ".hydra" / "overrides.yaml")
        pairs = (str(word).lstrip("+").split("=", 1) for word in typed)
        return dict(pairs)

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """Every scalar of metrics.csv, NaN where a row has none."""
        with (self.folder / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0]}


def commands(page: str) -> list[list[str]]:
    """The commands in the bash blocks of a page, a line each; a line that ends in \\ goes on."""
    text = "".join(BLOCK.findall((HERE / f"{page}.md").read_text())).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def placed(command: list[str], folder: Path) -> tuple[Path, list[str]]:
    """(where its results go, the command with that added); a folder that it names itself stays."""
    for word in command:
        if word.startswith(FOLDERS):
            return Path(word.split("=", 1)[1]), command
    kind = FOLDERS["-m" in command]
    return folder, [*command, f"{kind}{folder}"]


def jobs(folder: Path) -> list[Run]:
    collected = sorted(folder.glob("*/.hydra"), key=lambda path: order_by_number(path.parent.name))
    return [Run(path.parent) for path in collected] or [Run(folder)]


def finished(folder: Path, typed: str) -> bool:
    """Whether this very command was run there to its end."""
    note = folder / "command.txt"
    return note.is_file() and note.read_text() == typed


def results(page: str, out: Path) -> list[list[Run]]:
    """The jobs of each command of a page, run now where they were not before."""
    collected = []
    for number, command in enumerate(commands(page)):
        folder, line = placed(command, out / page / str(number))
        typed = shlex.join(command)
        if not finished(folder, typed):
            shutil.rmtree(folder, ignore_errors=True)
            print(typed, flush=True)
            log = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if log.returncode:
                sys.exit(log.stdout)
            (folder / "command.txt").write_text(typed)
        collected.append(jobs(folder))
    return collected


def draw(page: str, out: Path) -> None:
    import pictures

    runs = results(page, out)
    target = HERE / "figures" / f"{page}.png"
    target.parent.mkdir(exist_ok=True)
    pictures.draw(page, runs, target)
    print(target)


def pages() -> list[str]:
    """Every page with a figure of its own."""
    return sorted(path.stem for path in HERE.glob("*.md") if f"figures/{path.stem}.png" in path.read_text())


def choose_figures(about: str, known: Mapping[str, list[list[str]]], out: str) -> tuple[list[str], Path]:
    """(the names that were typed, where runs go). ``known``: the commands of each figure.

    Nothing, once they are listed, where that is asked for; ends the process where a name is none.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("name", nargs="*", help="figures, or all")
    parser.add_argument("--list", action="store_true", help="the figures, and their commands")
    parser.add_argument("--out", type=Path, default=Path(out), help="where runs go")
    given = parser.parse_args()
    if given.list or not given.name:
        for name, lines in known.items():
            print(name, *("  " + shlex.join(words) for words in lines), sep="\n")
        return [], given.out
    names = list(known) if given.name == ["all"] else given.name
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"{', '.join(unknown)}: no such figure; there are {', '.join(known)}")
    return names, given.out


def main() -> None:
    about = "Run the commands of a page and draw its figure."
    names, out = choose_figures(about, {page: commands(page) for page in pages()}, "outputs/figures")
    for page in names:
        draw(page, out)


if __name__ == "__main__":
    main()
