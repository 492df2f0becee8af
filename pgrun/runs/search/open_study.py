"""The study of a search: this command's own, in memory, or one in a storage, which it shares."""

from __future__ import annotations

from pathlib import Path

from pgrun.command.search_settings import Search
from pgrun.command.search_space import Space
from pgrun.runs.search.record import Record
from pgrun.runs.search.study import Study


def open_study(search: Search, space: Space, record: Record, folder: Path) -> Study:
    """Raises ``InvalidCommand`` where the storage does not answer, or holds another search of that name."""
    if search.storage is None:
        return Study(search, space, record, folder)
    from pgrun.runs.search.shared_study import SharedStudy

    return SharedStudy(search, space, record, folder)
