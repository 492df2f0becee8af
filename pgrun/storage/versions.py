"""The versions and the processor a run is computed with: recorded beside it, compared when it goes on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pgrun import __version__
from pgrun.errors import escape_line

PACKAGES = ("torch", "numpy", "scipy", "gymnasium", "mujoco", "numba", "hydra-core")
OF_THE_MACHINE = ("glibc", "processor")
COMPUTING = ("pgrun", "python", *PACKAGES[:-1], *OF_THE_MACHINE)  # numbers may hang on these
LONGEST = 40  # characters of a version that is shown


@cache
def installed_versions() -> Mapping[str, str]:
    """Python's, ours, of the packages that there are, of the library of exp and log, and the ``processor``
    that code is chosen for, by LLVM's name: ``znver4``, or with ``PGRUN_PORTABLE=1`` ``x86-64-v3``.
    """
    from llvmlite.binding import get_host_cpu_name

    versions = {"python": platform.python_version(), "pgrun": __version__}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    with suppress(AttributeError, OSError, ValueError):  # another library than GNU's
        versions["glibc"] = str(os.confstr("CS_GNU_LIBC_VERSION")).removeprefix("glibc ")
    versions["processor"] = os.environ.get("NUMBA_CPU_NAME") or get_host_cpu_name()
    return versions


def changed_versions(recorded: Mapping[str, Any]) -> str:
    """``torch 2.5.0 (now 2.6.0)`` of what is not as it was recorded; empty where nothing has changed."""
    now = installed_versions()
    changed = {
        name: escape_line(str(recorded.get(name, "none")))[:LONGEST]
        for name in COMPUTING
        if recorded.get(name) != now.get(name)
    }
    return ", ".join(f"{name} {before} (now {now.get(name, 'none')})" for name, before in changed.items())
