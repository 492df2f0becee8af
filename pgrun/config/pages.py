"""What messages point to: pages of the documentation, and the extras that a package is missing from."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from pgrun import __version__

CHECKOUT = Path(__file__).resolve().parents[2]  # where there is one


def page_address(name: str) -> str:
    """``docs/compare.md`` in a checkout; in an installed package the page's address, of the same version."""
    if (CHECKOUT / "docs" / name).is_file():
        return f"docs/{name}"
    return f"{repository()}/blob/v{__version__}/docs/{name}"


@cache
def repository() -> str:
    """The address in ``[project.urls]`` of pyproject.toml, which an installed package's metadata repeat."""
    try:
        entries = metadata("pgrun").get_all("Project-URL") or []
    except PackageNotFoundError:  # a copy of the folder alone
        entries = []
    return next(
        (address for kind, _, address in (x.partition(", ") for x in entries) if kind == "Repository"),
        "pgrun",
    )


def install_command(extra: str) -> str:
    """It works from any folder: of an editable install too, where pip finds ``pgrun`` there already."""
    return f'pip install "pgrun[{extra}]"'
