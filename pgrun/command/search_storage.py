"""``hydra.sweeper.storage`` and ``study``: a search that several commands share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pgrun.config.pages import install_command
from pgrun.errors import Mistake

SETTING = "hydra.sweeper.storage"
KINDS = "postgresql://user@host/database, sqlite:///file, or the path of a journal file"
POSTGRES, SQLITE = "postgresql", "sqlite"
LARGEST = 2**30  # bytes of a journal, which is read line by line
PASSWORDS = "PGPASSWORD, or a line in ~/.pgpass"


def find_wrong_storage(given: Mapping[str, Any]) -> Iterator[Mistake]:
    """What can be said of ``hydra.sweeper``'s storage and study without opening them."""
    place, study = given.get("storage"), given.get("study")
    if place is None:
        if study is not None:
            yield Mistake("hydra.sweeper.study", study, f"of which storage? add {SETTING}=…", KINDS)
        return
    if not study:
        yield Mistake(
            SETTING, None, "other commands find a study there by its name", "add hydra.sweeper.study=…"
        )
    yield from find_wrong_url(place) if "://" in place else find_wrong_file(Path(place), "journal")


def find_wrong_url(place: str) -> Iterator[Mistake]:
    """A URL is shown only where it holds no password: what is typed lands in files and on screens."""
    scheme = place.partition("://")[0]
    try:
        url = urlsplit(place)
        hidden = url.password is not None or "password" in parse_qs(url.query)
        _ = url.port
    except ValueError:
        yield Mistake(SETTING, None, "this is no URL", KINDS)
        return
    if hidden:
        yield Mistake(
            SETTING,
            None,
            "a password in it would be written into the run's files",
            f"leave it out, and set {PASSWORDS}",
        )
    elif scheme not in (POSTGRES, SQLITE) or (scheme == SQLITE and not place.startswith("sqlite:///")):
        yield Mistake(SETTING, place, f"allowed are {KINDS}")
    elif scheme == POSTGRES:
        if not url.path.strip("/"):
            yield Mistake(SETTING, place, "name a database", "postgresql://user@host/database")
        elif find_spec("psycopg") is None:
            yield Mistake(
                SETTING, place, "a package is missing; the extra brings it", install_command(POSTGRES)
            )
    else:
        yield from find_wrong_file(Path(place.removeprefix("sqlite:///")), "database")


def find_wrong_file(path: Path, what: str) -> Iterator[Mistake]:
    if not path.name or (path.exists() and not path.is_file()):
        yield Mistake(
            SETTING,
            None,
            f"{path} is a folder, a pipe or a device",
            f"name a {what}'s file, which may be new",
        )
    elif what == "journal" and path.exists() and path.stat().st_size > LARGEST:
        size = path.stat().st_size
        yield Mistake(SETTING, None, f"{path} has {size:,} bytes, and a journal has {LARGEST:,} at most")
    elif not path.absolute().parent.is_dir():
        yield Mistake(
            SETTING, None, f"the folder of the {what} {path} does not exist", "make it, or choose another"
        )
