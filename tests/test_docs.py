"""The documentation says what is so: code that it shows is in the package, commands compose and fit together,
links lead somewhere.
"""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

import pgrun.command.validate
import pgrun.tools.study.check
from pgrun.command.app import PGRUN
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.runs.resume_sweep import HOW
from pgrun.storage.newest_run import LAST
from pgrun.tools.lab.catalogue import list_experiments
from pgrun.tools.study.cli import STUDY
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_generate import load_generate

ROOT = Path(__file__).parents[1]
METHODS = ROOT / "docs" / "methods"
PAGES = sorted(METHODS.glob("*.md"))
METHOD_PAGES = [page for page in PAGES if page.stem != "README"]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MDP = (
    "start: [1.0]\nP: [[[[0.5, 0, 1.0, false], [0.5, 0, 0.0, true]], "
    "[[1.0, 0, 0.0, true]]]]\n"
)  # the reader's my.yaml
CHECKS = {
    "pgrun": (PGRUN, pgrun.command.validate.find_problems),
    "pgrun-study": (STUDY, pgrun.tools.study.check.find_study_problems),
}


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def shown_in(block: str, source: str) -> bool:
    """Whether the lines stand there one after the other, however far they are indented together."""
    wanted = dedent(block).rstrip().splitlines()
    lines = source.splitlines()
    starts = (i for i, line in enumerate(lines) if line.strip() == wanted[0].strip())
    return any(dedent("\n".join(lines[i : i + len(wanted)])).splitlines() == wanted for i in starts)


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {label(path): path.read_text() for path in (ROOT / "pgrun").rglob("*.py")}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_code_on_a_page_is_the_code_of_the_package(page: Path, sources: dict[str, str]) -> None:
    for block in blocks(page.read_text(), "python"):
        assert any(shown_in(block, source) for source in sources.values()), block


def test_code_that_differs_is_noticed() -> None:
    source = "class A:\n    def f(self):\n        x = 1\n        return x\n"
    assert shown_in("x = 1\nreturn x\n", source)
    assert not shown_in("x = 1\nreturn -x\n", source)
    assert not shown_in("x = 1\n    return x\n", source)


def commands(path: Path) -> Iterator[list[str]]:
    """Those of the bash blocks and, in the README, of its tables."""
    text = path.read_text()
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(pgrun(?:-study)? [^`]+)`", text)
    for part in (part for line in lines for part in line.split("&&")):
        words = shlex.split(part, comments=True)
        while words and re.fullmatch(r"\w+=\S*", words[0]):  # PYTHONPATH=.
            words.pop(0)
        if words and words[0] in CHECKS:
            yield words


LABORATORY = ROOT / "docs" / "lab"  # its pages, in every language, are what tests/tools/test_lab.py writes
WITH_COMMANDS = [path for path in TEXTS if LABORATORY not in path.parents and any(commands(path))]


def test_the_laboratory_s_commands_are_its_experiments() -> None:
    """Which tests/tools/test_lab.py checks."""
    own = [shlex.split(line) for experiment in list_experiments() for line in experiment.commands]
    for page in (path for path in TEXTS if LABORATORY in path.parents):
        assert [words for words in commands(page) if words not in own] == []


def wrong(words: list[str], made: set[str], sweeps: Collection[str] = ()) -> list[str]:
    """What pgrun would say before it runs. ``made``, ``sweeps``: folders that commands above have filled."""
    app, check = CHECKS[words[0]]
    brought = [word for word in words if word.startswith(("run=", "resume=", "from="))]
    for word in brought:  # the settings of a run are not there to be checked; <date>: one of the reader's
        assert word.partition("=")[2] in {*made, *sweeps, *HOW, LAST} or "<" in word, word
    # several seeds are told from one, and every further one is checked alike
    typed = [re.sub(r"^seed=(\d+),.*", r"seed=\1,99", word) for word in words[1:] if word not in brought]
    if any(word.startswith("resume=") and word.partition("=")[2] in sweeps for word in brought):
        typed.insert(0, "-m")  # the sweep's own command, which goes on
    if "--config" in typed:  # a file of the reader's
        at = typed.index("--config")
        typed = typed[:at] + typed[at + 2 :]
    command = read_command(typed, app)
    if command.shows or command.flags.help:
        return command.problems
    jobs = compose_jobs(command)
    assert jobs.composed
    return [*command.problems, *jobs.problems, *(problem for job in jobs.composed for problem in check(job))]


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=label)
def test_commands_pass_the_check(path: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.syspath_prepend(str(here))
    own = write_files(path.read_text(), here)
    (here / "my.yaml").write_text(MDP)
    monkeypatch.chdir(here)
    made, sweeps = set[str](), set[str]()
    for words in commands(path):
        if words[1:] not in (["--list"], ["--version"]):
            collected = [
                one for one in wrong(words, made, sweeps) if not names_an_extra(one.sentence(), path)
            ]
            assert collected == [], shlex.join(words)
        made |= {word.split("=")[1] for word in words if word.startswith("hydra.run.dir=")}
        sweeps |= {word.split("=")[1] for word in words if word.startswith("hydra.sweep.dir=")}
    for name in own:
        sys.modules.pop(Path(name).stem, None)


def names_an_extra(problem: str, page: Path) -> bool:
    """Whether all that is missing is an extra which the page tells its reader to have."""
    missing = re.search(r'needs the extra "(\w+)"', problem)
    return (
        missing is not None
        and re.search(rf"extra `{missing[1]}`|\[{missing[1]}\]", page.read_text()) is not None
    )


def write_files(text: str, folder: Path) -> list[str]:
    """Blocks whose first line is the name of a file: the reader's own."""
    collected = []
    for block in blocks(text, "(?:python|yaml)"):
        first, _, _ = block.partition("\n")
        if name := re.fullmatch(r"# (\S+\.(?:py|yaml))", first):
            target = folder / name[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block)
            collected.append(name[1])
    return collected


def test_the_python_page_runs_from_top_to_bottom(here: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    exec("".join(blocks((ROOT / "docs" / "python.md").read_text(), "python")), {})
    assert "variance=gae: needs" not in (out := capsys.readouterr().out)
    assert "sampler" in out.splitlines()[-1]


def test_a_wrong_command_is_noticed(here: Path) -> None:  # noqa: F811
    assert wrong(shlex.split("pgrun algo=ppo optimizer.rate=1"), set())
    assert wrong(shlex.split("pgrun-study 'schemes=[none,goe]'"), set())


@pytest.mark.parametrize("path", TEXTS, ids=label)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)", path.read_text())
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []


def test_the_lecture_has_every_page_once() -> None:
    text = (METHODS / "README.md").read_text()
    listed = re.findall(r"^\|.*?\| \[\w+\]\((\w+)\.md\)", text, re.M)
    assert sorted(listed) == [page.stem for page in METHOD_PAGES]


@pytest.mark.parametrize("page", METHOD_PAGES, ids=label)
def test_a_page_has_formula_code_command_figure_and_source(page: Path) -> None:
    text = page.read_text()
    assert blocks(text, "python")
    assert blocks(text, "bash")
    assert f"(figures/{page.stem}.png)" in text
    assert "## Formula" in text
    assert "## Sources" in text


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """docs/methods as a place to import from."""
    monkeypatch.syspath_prepend(str(METHODS))
    yield importlib.import_module("figures")
    sys.modules.pop("figures", None)


def test_the_script_runs_what_the_pages_show(beside: ModuleType) -> None:
    assert beside.pages() == [page.stem for page in METHOD_PAGES]
    for page in METHOD_PAGES:
        assert beside.commands(page.stem) == [
            shlex.split(line) for line in "".join(blocks(page.read_text(), "bash")).splitlines()
        ]


def test_pictures_of_tensorboard_are_of_the_command_above_them() -> None:
    """The page starts one on the sweep and one on its means; each picture is of the last above it."""
    script = [sys.executable, ROOT / "docs" / "figures.py", "--list"]
    listed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    commands = dict(re.findall(r"^(\w+)\n((?:  .*\n?)+)", listed, re.M))
    last = {name: lines.splitlines()[-1].strip() for name, lines in commands.items()}
    assert last["gallery_hparams"] == "tensorboard --logdir sweep"
    assert last["gallery_tensorboard"] == "tensorboard --logdir mean"
    for name in ("gallery_hparams", "gallery_tensorboard"):
        assert commands[name].count("tensorboard --logdir") == 1
        assert commands[name].startswith("  pgrun -m ")


def test_the_page_of_settings_is_current() -> None:
    """And every setting of every class has a meaning."""
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == load_generate().settings(), "run python docs/generate.py"
    settings = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(settings) > 90
    assert [line for line in settings if re.search(r"\|\s*\|$", line)] == []


def test_the_mdp_to_copy_is_the_one_on_the_page() -> None:
    (block,) = (b for b in blocks((ROOT / "docs" / "environments.md").read_text(), "yaml"))
    assert (ROOT / "examples" / "two_rooms.yaml").read_text() == block
