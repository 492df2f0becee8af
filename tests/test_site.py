"""The site has every page once; `make site` builds it without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import pgrun

ROOT = Path(__file__).resolve().parent.parent
GENERATED = {"index.md", "api.md"}  # by docs/site_hooks.py


def pages_in(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
        return
    for part in entry.values() if isinstance(entry, dict) else entry:
        yield from pages_in(part)


def test_the_navigation_has_every_page_once() -> None:
    listed = list(pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted([*pages, *GENERATED])


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """With the extra ``docs``: without it this test fails, and says so."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert answer.returncode == 0, answer.stderr
    assert "WARNING" not in answer.stderr
    door = (tmp_path / "api.html").read_text()
    assert [name for name in pgrun.__all__ if name not in door] == []
    first = (tmp_path / "index.html").read_text()
    assert 'href="settings.html"' in first
    assert (tmp_path / "search" / "search_index.json").stat().st_size > 10**5
