"""What the site has beside the pages: a first page and the Python door, and links that lead out of docs/."""

from __future__ import annotations

import html
import posixpath
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?\[[^\]]*\])\((?![a-z]+://|#)([^)\s#]+)(#[^)\s]*)?\)")
FORMULA = re.compile(r"^```math\n(.*?)^```$", re.M | re.S)
INTRODUCTION = """\
# From Python: reference

What `import pgrun` has. [From Python](python.md) tells how it is used.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The README as the first page, and a page of the public names."""
    first = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.sub(r"\]\(docs/([^)]+)\)", r"](\1)", first)
    files.append(File.generated(config, "index.md", content=first))
    files.append(File.generated(config, "api.md", content=describe_public_names()))
    return files


def describe_public_names() -> str:
    sys.path.insert(0, str(ROOT))
    import pgrun

    places = [f"::: {pgrun.MODULES[name]}.{name}" for name in pgrun.__all__]
    return "\n\n".join([INTRODUCTION, *places]) + "\n"


def draw_formula(latex: str) -> str:
    """A block of LaTeX as MathML, on one line: no script and no font of another machine's is needed."""
    plain = " ".join(latex.split()).replace(r"\_", "_")  # stands in \text alone, which has no subscripts
    math = convert(plain, display="block")
    assert "\\" not in html.unescape(math), f"not understood: {latex}"
    return f'<div class="formula">{math}</div>'


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas become MathML, which browsers draw themselves.

    Files of the repository that are no pages are shown there.
    """
    markdown = FORMULA.sub(lambda actual: draw_formula(actual[1]), markdown)
    urls: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    here = posixpath.dirname(page.file.src_uri)
    at_root = page.file.src_uri == "index.md"

    def lead_out(link: re.Match[str]) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        within = posixpath.normpath(posixpath.join(here, target))
        file = files.get_file_from_path(within)
        if file is not None and file.inclusion.is_included():
            return link[0]
        place = within if at_root else posixpath.normpath(posixpath.join("docs", within))
        if not (ROOT / place).exists():
            return link[0]  # a mistake, which the strict build names
        return f"{label}({urls['Repository']}/blob/main/{place}{anchor})"

    return LINK.sub(lead_out, markdown)
