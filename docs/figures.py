"""The pictures in docs/figures, made by the commands that the pages show above them.

python docs/figures.py --list
python docs/figures.py compare gallery_schemes
python docs/figures.py all

They are run one after the other in outputs/figures/pages of the current folder; a sweep that is there is not
run again. The picture of a page is taken by Chromium, where it is installed. The figures of docs/methods have
a script of their own, docs/methods/figures.py; benchmarks/gradient_cosine.py draws its own.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from methods.figures import choose_figures

DOCS = Path(__file__).parent
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Figure:
    """``made``: what the last command leaves; a page is photographed ``size`` large."""

    page: str
    made: str
    size: str = "1400,1500"

    def commands(self, name: str) -> list[list[str]]:
        """Those of the blocks above the picture, from the last one that starts runs."""
        above = (DOCS / self.page).read_text().partition(f"(figures/{name}.png)")[0]
        blocks = [block.replace("\\\n", " ").splitlines() for block in BLOCK.findall(above)]
        lines = [shlex.split(line) for block in blocks for line in block]
        wanted = [words for words in lines if words[0] in ("pgrun", "pgrun-study", "pgrun-compare")]
        begins = max(i for i, words in enumerate(wanted) if words[0] != "pgrun-compare")
        return wanted[begins:]


FIGURES = {
    "compare": Figure("compare.md", "compare.png"),
    "gallery_schemes": Figure("gallery.md", "schemes.png"),
    "gallery_page": Figure("gallery.md", "sweep/compare.html"),
    "gallery_curves": Figure("gallery.md", "sweep.png"),
    "study_frozenlake8x8": Figure("gallery.md", "lake/study.png"),
}


def run_command(words: list[str], out: Path) -> None:
    places = [out / word.partition("=")[2] for word in words if word.startswith("hydra.")]
    if any(place.exists() for place in places):
        return
    print(shlex.join(words), flush=True)
    if subprocess.run(words, cwd=out).returncode:
        sys.exit(f"{words[0]} ended with an error, above")


def photograph(page: Path, size: str, picture: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit(f"{picture.name} is a photograph of {page}: it needs Chromium on the PATH")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={size}"]
    command = [browser, *flags, f"--screenshot={picture}", page.absolute().as_uri()]
    subprocess.run(command, check=True, capture_output=True)


def draw(name: str, out: Path) -> None:
    figure, picture = FIGURES[name], DOCS / "figures" / f"{name}.png"
    out.mkdir(parents=True, exist_ok=True)
    for words in figure.commands(name):
        run_command(words, out)
    made = out / figure.made
    if made.suffix == ".html":
        photograph(made, figure.size, picture)
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
