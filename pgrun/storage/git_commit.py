"""Which commit of a git repository a folder is at, read from its files: no program is run, no hook called."""

from __future__ import annotations

import re
from pathlib import Path

from pgrun.atomic_files import read_bytes

HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
REF = re.compile(r"refs/[\w./+-]{1,200}", re.ASCII)


def find_commit(folder: Path) -> str | None:
    """The commit checked out in the repository that ``folder`` lies in; None outside of one.

    Whether files differ from it is not looked at.
    """
    for place in (folder, *folder.parents):
        if (place / ".git").exists():
            return read_commit(place / ".git")
    return None


def read_commit(git: Path) -> str | None:
    """``git``: a folder, or the file that stands for it in a worktree."""
    if git.is_file():
        git = git.parent / read_git_text(git).removeprefix("gitdir:").strip()
    head = read_git_text(git / "HEAD")
    if HASH.fullmatch(head):
        return head
    name = head.removeprefix("ref:").strip()
    if not REF.fullmatch(name) or ".." in name:
        return None
    common = git / (read_git_text(git / "commondir") or ".")
    packed = read_git_text(common / "packed-refs").splitlines()
    candidates = [
        *(read_git_text(place / name) for place in (git, common)),
        *(line.partition(" ")[0] for line in packed if line.endswith(f" {name}")),
    ]
    return next((text for text in candidates if HASH.fullmatch(text)), None)


def read_git_text(file: Path) -> str:
    """Empty where it cannot be read."""
    try:
        return read_bytes(file, links=True).decode(errors="replace").strip()
    except (OSError, ValueError):
        return ""
