"""Folders that are not ours: links in them, what their names say to a terminal, and files of any size.

The campaign is malice.py.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pgrun.analysis.compare.export import quote_formula
from pgrun.analysis.compare.sweep_page import write_comparison_page
from pgrun.analysis.doctor import cli as doctor
from pgrun.command.app import PGRUN
from pgrun.envs.film import Camera
from pgrun.errors import InvalidCommand, escape_line, shorten_paragraph
from pgrun.runs.job_status import read_result, write_settings
from pgrun.terminal.signals import SweepStop, read_stop_signal
from pgrun.tools.play.camera import make_camera
from pgrun.tools.play.options import PlayOptions
from tests.campaigns.attacks import LOUD
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, answer, pgrun
from tests.helpers.support_compare import EVALS, compare, make_run

PACKAGE = Path(__file__).parents[2] / "pgrun"


# links


@pytest.mark.parametrize(
    "name",
    [
        "multirun.yaml",
        "compare.html",
        "sweep.json",
        ".stop",
        "0_algo=a2c",
        "1",
        "0_algo=a2c/.hydra",
        "0_algo=a2c/pgrun.log",
    ],
)
def test_links_in_a_sweep_are_refused_before_it_starts(name: str, here: Path) -> None:  # noqa: F811
    (here / "victim").mkdir()
    (here / "s" / name).parent.mkdir(parents=True)
    (here / "s" / name).symlink_to(here / "victim")
    refused = pgrun(f"-m algo=a2c,ppo {QUICK} hydra.sweep.dir=s")
    assert (refused.code, "links and devices lead out of a run" in refused.err) == (2, True), refused
    assert list((here / "victim").iterdir()) == []


def test_links_to_the_folders_of_seeds_are_refused(here: Path) -> None:  # noqa: F811
    (here / "victim").mkdir()
    (here / "r").mkdir()
    (here / "r" / "1").symlink_to(here / "victim")
    refused = pgrun("seeds=[0,1] hydra.run.dir=r")
    assert (refused.code, "r/1: is no plain file or folder" in refused.err) == (2, True), refused


def test_other_links_in_a_sweep_are_the_user_s(here: Path) -> None:  # noqa: F811
    """``best -> 3``; and the folder of the sweep may be a link itself."""
    (here / "real").mkdir()
    (here / "real" / "best").symlink_to("3")
    (here / "s").symlink_to(here / "real")
    refused = pgrun("-m algo=a2c,ppo hydra.sweep.dir=s nonsense=1")
    assert "lead out" not in refused.err


def victim(folder: Path, name: str) -> tuple[Path, Path]:
    """(a link, what it leads to)."""
    (folder / "victim").write_text("precious")
    (folder / name).symlink_to(folder / "victim")
    return folder / name, folder / "victim"


@pytest.mark.parametrize(
    ("option", "name"), [("--html", "c.html"), ("--export", "c.csv"), ("--export", "c.npz")]
)
def test_pages_and_exports_are_not_written_through_links(option: str, name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 0, 1.0)
    link, precious = victim(tmp_path, name)
    refused = compare(run, option, link)
    assert (refused.code, "lead out of a run" in refused.err) == (2, True)
    assert precious.read_text() == "precious"


def test_the_page_of_a_sweep_and_its_stop_replace_links(tmp_path: Path) -> None:
    """The last line of defence, where a link was made after the check."""
    run = make_run(tmp_path / "0", 0, 1.0, rows=EVALS)
    _, precious = victim(tmp_path, "compare.html")
    (tmp_path / ".stop").symlink_to(precious)
    assert write_comparison_page(tmp_path, [run]) == tmp_path / "compare.html"
    SweepStop(tmp_path)(15, None)
    assert read_stop_signal(tmp_path) == 15
    assert precious.read_text() == "precious"


def test_films_are_not_written_through_links(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    _, precious = victim(tmp_path, ".part-episode-0.gif")
    camera = Camera("rgb_array", tmp_path, "gif")
    with camera.episode("episode-0"):
        assert camera.writer is not None
        camera.writer.add(np.zeros((4, 4, 3), np.uint8))
    assert precious.read_text() == "precious"
    assert (tmp_path / "episode-0.gif").read_bytes().startswith(b"GIF")
    (tmp_path / "episode-1.gif").symlink_to("nothing yet")
    wish = PlayOptions("run", video=tmp_path, format="gif")
    (tmp_path / "episode-0.gif").unlink()
    with pytest.raises(InvalidCommand, match=r"episode-1\.gif: is there already"):
        make_camera(wish, 2)


@pytest.mark.parametrize("name", ["/proc/x", "victim/x"])
def test_films_where_nothing_can_be_written_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    wish = PlayOptions("run", video=tmp_path / name, format="gif")
    with pytest.raises(InvalidCommand, match="cannot be written"):
        make_camera(wish, 2)


# what a terminal is sent


def test_what_a_terminal_obeys_is_shown() -> None:
    assert escape_line("a\x1b[2J\u202e\n\t\udcff") == r"a\x1b[2J\u202e\n\t\udcff"
    assert escape_line("±·π \N{NO-BREAK SPACE}") == "±·π \N{NO-BREAK SPACE}"
    assert shorten_paragraph("one\ntwo\x07") == "one\ntwo\\x07"


SPEAKING = {
    "cli/main.py": 2,
    "terminal/printing.py": 1,
    "training/progress.py": 1,
}  # version, configuration


def test_what_comes_from_files_is_printed_in_one_place() -> None:
    """``print`` stands only where nothing but our own words is printed; the lab prints what it computed."""
    counts = {
        str(path.relative_to(PACKAGE)): len(re.findall(r"(?<!\w)print\(", path.read_text()))
        for path in PACKAGE.rglob("*.py")
        if "lab" not in path.relative_to(PACKAGE).parts
    }
    assert {name: n for name, n in counts.items() if n} == SPEAKING


def quiet(text: str) -> bool:
    return not any(obeyed in text for obeyed in ("\x1b", "\u202e", "\x07", "\npgrun: all is well"))


def test_names_from_a_run_directory_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    names = {"algo.name": LOUD, "env.id": LOUD, f"algo.{LOUD}": LOUD}
    make_run(tmp_path / LOUD.replace("/", "") / "0", 0, 1.0, names, rows=EVALS)
    make_run(tmp_path / LOUD / "1", 1, None, {**names, "env.id": "CartPole-v1"})
    (tmp_path / LOUD / "1" / "summary.json").write_text(json.dumps({"status": LOUD, "error": LOUD}))
    (tmp_path / "empty" / LOUD).mkdir(parents=True)
    told = compare(tmp_path, "--html", tmp_path / "c.html", "--export", tmp_path / "c.csv")
    assert told.code == 0, told
    assert "\\x1b]0;owned" in told.out
    assert quiet(told.out)
    assert quiet(told.err)
    assert quiet((tmp_path / "c.html").read_text())
    assert quiet((tmp_path / "c.csv").read_text())
    seen = answer(doctor.main, "pgrun-doctor", str(tmp_path / LOUD))
    assert (seen.code, quiet(seen.out)) == (0, True), seen
    assert "\\x1b" in seen.out


def test_labels_are_no_formulas_and_numbers_stay_numbers(tmp_path: Path) -> None:
    make_run(tmp_path / "0", 0, -12.5, {"env.id": "=1+1"})
    make_run(tmp_path / "1", 0, 3.0, {"env.id": "@SUM(A1)", "gamma": 0.5})
    assert compare(tmp_path, "--export", tmp_path / "c.csv").code == 0
    cells = (tmp_path / "c.csv").read_text().replace("\r", "").replace("\n", ",").split(",")
    assert "-12.5" in cells
    assert {"'=1+1", "'@SUM(A1)"} <= set(cells)
    formulas = ("=x", "+x", "-x", "@x", "＝x", "\n=x", "\t=x", "  =x")
    assert [quote_formula(text) for text in (*formulas, "x=1")] == [*(f"'{text}" for text in formulas), "x=1"]


RESULTS = [
    *({}, {"status": LOUD}, {"status": "failed"}, {"status": "failed", "error": 3}),
    *({"status": "finished"}, {"status": "finished", "seed": 0, "eval": {"return_mean": "high"}}),
    {"status": "finished", "seed": "x", "eval": {"return_mean": 1.0}},
    {"status": "finished", "eval": {"return_mean": 1.0}, "runs": [{"seed": 0}]},
    {"status": "finished", "eval": {"return_mean": 1.0}, "runs": 7},
]


@pytest.mark.parametrize("content", RESULTS, ids=str)
def test_a_result_that_makes_no_sense_is_none(content: dict, tmp_path: Path) -> None:
    write_settings(tmp_path, {})
    (tmp_path / "summary.json").write_text(json.dumps(content))
    assert read_result(tmp_path, PGRUN) == {"status": "killed", "error": "died without a word"}
