"""On Windows every command ends with a sentence, before it needs anything that is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRETEND = """
import importlib, signal, sys
for name in ("fcntl", "resource", "termios", "pwd"):
    sys.modules[name] = None  # an import raises
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
    delattr(signal, name)
main = importlib.import_module({module!r}).main
sys.platform, sys.argv = "win32", ["pgrun", "algo=ppo"]
main()
"""


@pytest.mark.parametrize(
    "module",
    [
        "pgrun.cli.main",
        "pgrun.tools.study.cli",
        "pgrun.tools.explain.cli",
        "pgrun.tools.play.cli",
        "pgrun.tools.lab.cli",
        "pgrun.analysis.doctor.cli",
        "pgrun.analysis.compare.cli",
    ],
)
def test_a_sentence_in_place_of_a_traceback(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRETEND.format(module=module)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert ": Windows is not supported: " in done.stderr
    assert "Traceback" not in done.stderr
