"""The versions and the processor a run is computed with: recorded beside it, compared when it goes on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pgrun import __version__
from pgrun.errors import escape_line

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "numba", "hydra-core")
COMPUTING = (
    "pgrun",
    "python",
    "torch",
    "numpy",
    "gymnasium",
    "mujoco",
    "numba",
    "processor",
)  # numbers may hang on these
LONGEST = 40  # characters of a version that is shown


@cache
def installed_versions() -> Mapping[str, str]:
    """Python's, ours, of the packages that there are, and the ``processor`` by LLVM's name for it
    (``emeraldrapids``, ``znver4``): kernels are compiled for it, and BLAS chooses its sums by it.
    """
    from llvmlite.binding import get_host_cpu_name

    versions = {"python": platform.python_version(), "pgrun": __version__}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    versions["processor"] = get_host_cpu_name()
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
