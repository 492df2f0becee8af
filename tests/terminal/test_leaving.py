"""How a command's own process ends: at once, and with nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LEAVES = "from pgrun.terminal.exit_codes import leave_process\n"
HOLDS_A_FILE = "text = open('text', 'w')\ntext.write('the end')\n"


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LEAVES + code], capture_output=True, text=True, cwd=folder)


def test_what_was_left_for_the_end_is_done(tmp_path: Path) -> None:
    late = "import atexit, threading, time\natexit.register(print, 'at exit')\n"
    thread = "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n"
    done = run_python(late + thread + "print('first')\nleave_process(3)", tmp_path)
    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (
        3,
        ["first", "thread", "at exit", ""],
        "",
    )


def test_without_output_to_write_to(tmp_path: Path) -> None:
    assert run_python("import os, sys\nsys.stdout = None\nleave_process(3)", tmp_path).returncode == 3
    assert run_python("import sys\nsys.stdout.close()\nleave_process(3)", tmp_path).returncode == 3


def test_a_file_that_code_of_the_user_holds_is_written(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HOLDS_A_FILE)
    importing = "from pgrun.config.user_modules import import_user_module\nimport_user_module('mine')\n"
    assert run_python(importing + "leave_process(3)", tmp_path).returncode == 3
    assert (tmp_path / "text").read_text() == "the end"
    run_python(HOLDS_A_FILE + "leave_process(3)", tmp_path)
    assert (tmp_path / "text").read_text() == ""  # of pgrun's own none is left open
