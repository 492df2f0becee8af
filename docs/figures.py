"""The pictures in docs/figures, made by the commands that the pages show above them.

python docs/figures.py --list
python docs/figures.py compare gallery_schemes
python docs/figures.py all

They are run one after the other in outputs/figures/pages of the current folder; a sweep that is there is not
run again. Pictures of pages, and of TensorBoard, are taken by Chromium (docs/browser.py). The figures of
docs/methods have a script of their own, docs/methods/figures.py; benchmarks/gradient_cosine.py draws its own.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from browser import browsing, find_free_port, serving
from methods.figures import choose_figures

DOCS = Path(__file__).parent
RUNS = ("pgrun", "pgrun-study")  # commands that start runs
SETTINGS = {  # of TensorBoard: every value as it is, and the room for the cards
    "scalarSmoothing": 0,
    "stepSelectorEnabled": False,
    "timeSeriesSettingsPaneOpened": False,
    "sideBarWidthInPercent": 22,
}
# Whether TensorBoard has drawn a curve, or a number stands in the table of HPARAMS, in whichever shadow.
DRAWN = """
const drawn = (root) => [...root.querySelectorAll('*')].some((e) => e.localName === 'line-chart'
  || e.localName === 'vaadin-grid-cell-content' && /^\\d+\\.\\d+$/.test(e.textContent.trim())
  || e.shadowRoot && drawn(e.shadowRoot));
return drawn(document)"""
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)


MEANS = (  # a colour an algorithm: its mean and both ends of the interval
    "?runFilter=gae&tagFilter=return/eval|gradient/variance|kl/old_new"
    "&runColorGroup=regex:algo%3D(.*)_variance#timeseries"
)


@dataclass(frozen=True)
class Figure:
    """``made``: what the last command leaves, or the page of the TensorBoard that it starts.

    A page is photographed ``size`` large.
    """

    page: str
    made: str
    size: tuple[int, int] = (1400, 1500)

    def commands(self, name: str) -> list[list[str]]:
        """Those of the blocks above the picture, from the last one that starts runs."""
        above = (DOCS / self.page).read_text().partition(f"(figures/{name}.png)")[0]
        blocks = [block.replace("\\\n", " ").splitlines() for block in BLOCK.findall(above)]
        lines = [shlex.split(line) for block in blocks for line in block]
        wanted = [words for words in lines if words[0] in (*RUNS, "pgrun-compare", "tensorboard")]
        begins = max(i for i, words in enumerate(wanted) if words[0] in RUNS)
        *before, last = wanted[begins:]
        return [*(words for words in before if words[0] != "tensorboard"), last]


FIGURES = {
    "compare": Figure("compare.md", "compare.png"),
    "gallery_schemes": Figure("gallery.md", "schemes.png"),
    "gallery_page": Figure("gallery.md", "sweep/compare.html"),
    "gallery_curves": Figure("gallery.md", "sweep.png"),
    "gallery_hparams": Figure("gallery.md", "#hparams", (1400, 560)),
    "gallery_tensorboard": Figure("gallery.md", MEANS, (1500, 600)),
    "study_frozenlake8x8": Figure("gallery.md", "lake/study.png"),
}


def run_command(words: list[str], out: Path) -> None:
    places = [out / word.partition("=")[2] for word in words if word.startswith("hydra.")]
    if any(place.exists() for place in places):
        return
    print(shlex.join(words), flush=True)
    if subprocess.run(words, cwd=out).returncode:
        sys.exit(f"{words[0]} ended with an error, above")


def photograph_page(page: Path, size: tuple[int, int], picture: Path) -> None:
    with browsing() as browser:
        browser.resize(*size)
        browser.open(page.absolute().as_uri())
        browser.photograph(picture)


def photograph_tensorboard(
    words: list[str], page: str, size: tuple[int, int], picture: Path, out: Path
) -> None:
    """A page of the TensorBoard that the command starts, once it has read its runs and nothing moves."""
    port = find_free_port()
    root = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "tensorboard.main", *words[1:], f"--port={port}"]
    with serving(command, root, cwd=out), browsing() as browser:
        browser.resize(*size)
        browser.open(root)
        for key in ("_tb_global_settings", "_tb_global_settings.timeseries"):
            browser.run(f"localStorage.setItem('{key}', {json.dumps(json.dumps(SETTINGS))})")
        browser.open(root + page)
        browser.wait_for(DRAWN)
        browser.photograph(picture)


def draw(name: str, out: Path) -> None:
    figure, picture = FIGURES[name], DOCS / "figures" / f"{name}.png"
    out.mkdir(parents=True, exist_ok=True)
    *before, last = figure.commands(name)
    for words in before:
        run_command(words, out)
    if last[0] == "tensorboard":
        photograph_tensorboard(last, figure.made, figure.size, picture, out)
    else:
        run_command(last, out)
        made = out / figure.made
        if made.suffix == ".html":
            photograph_page(made, figure.size, picture)
        else:
            shutil.copy(made, picture)
    print(picture)


def main() -> None:
    known = {name: figure.commands(name) for name, figure in FIGURES.items()}
    about = "Run the commands above a picture and draw it."
    names, out = choose_figures(about, known, "outputs/figures/pages")
    for name in names:
        draw(name, out)


if __name__ == "__main__":
    main()
