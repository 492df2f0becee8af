"""What a package says of itself: its metadata, the README that an index shows, messages away from a checkout,
the container, the notebook.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pgrun import __version__
from pgrun.config import pages

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M))


def load_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_addresses_have_one_base() -> None:
    assert all(address.startswith(REPOSITORY) for address in PROJECT["urls"].values())


def test_pythons_are_the_same_everywhere() -> None:
    label = "Programming Language :: Python :: 3."
    told = [text.removeprefix(label) for text in PROJECT["classifiers"] if text.startswith(label)]
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert told == [str(minor) for minor in range(int(low), int(high))]
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    newest = next(step["with"] for step in jobs["newest"]["steps"] if "with" in step)["python-version"]
    assert [*jobs["test"]["strategy"]["matrix"]["python-version"], newest] == [f"3.{minor}" for minor in told]
    assert f"Python 3.{told[0]} to 3.{told[-1]}" in (ROOT / "README.md").read_text()


def test_the_readme_of_an_index_has_no_relative_link() -> None:
    hook = load_file(ROOT / "hatch_build.py")
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", hook.make_links_absolute(text, REPOSITORY, "v1"))
    assert len(links) > 40
    assert [link for link in links if "://" not in link] == []
    picture = r"!\[[^\]]*\]\(" + re.escape(f"{REPOSITORY}/raw/v1/docs/figures/")
    assert re.search(picture, hook.make_links_absolute(text, REPOSITORY, "v1"))
    kept = "[a](https://x.org/y) [b](#part) ![c](https://x.org/z.png)"
    assert hook.make_links_absolute(kept, REPOSITORY, "v1") == kept


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the package came from a wheel."""
    message = Message()
    for name, address in PROJECT["urls"].items():
        message["Project-URL"] = f"{name}, {address}"
    monkeypatch.setattr(pages, "CHECKOUT", tmp_path)
    monkeypatch.setattr(pages, "metadata", lambda name: message)
    pages.repository.cache_clear()
    yield
    pages.repository.cache_clear()


def test_pages_in_a_checkout() -> None:
    assert pages.page_address("compare.md") == "docs/compare.md"


def test_pages_away_from_a_checkout(installed: None) -> None:
    assert pages.page_address("compare.md") == f"{REPOSITORY}/blob/v{__version__}/docs/compare.md"


def texts_shown() -> Iterator[tuple[str, str]]:
    """(module, text) of every text in the package that is no docstring."""
    for path in sorted((ROOT / "pgrun").rglob("*.py")):
        tree = ast.parse(path.read_text())
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
                yield path.relative_to(ROOT).as_posix(), node.value


WRITES_PAGES = (  # the latter two: docs/lab itself
    "pgrun/config/pages.py",
    "pgrun/tools/lab/pages.py",
    "pgrun/tools/lab/editions.py",
)


def test_messages_name_no_file_that_a_wheel_has_not() -> None:
    files = re.compile(r"\b(docs|examples|benchmarks|tests)/\w|constraints\.txt|README\.md|CONTRIBUTING")
    allowed = {"lab/README.md", "README.md"}  # of page_address, of docs/lab
    shown = [(place, text) for place, text in texts_shown() if files.search(text) and text not in allowed]
    assert [entry for entry in shown if entry[0] not in WRITES_PAGES] == []


def test_pages_that_messages_name_are_there() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "pgrun").rglob("*.py"))
    named = re.findall(r"page_address\([\"']([^\"']+)[\"']\)", source)
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / "docs" / name).is_file()] == []


def test_extras_that_messages_name_are_there() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "pgrun").rglob("*.py"))
    named = set(re.findall(r"install_command\([\"'](\w+)[\"']\)", source))
    assert {"video", "onnx"} <= named <= set(PROJECT["optional-dependencies"])
    assert pages.install_command("mujoco") == 'pip install "pgrun[mujoco]"'


def read_dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments), lines that go on joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, rest in lines]


def test_the_container_is_the_tested_set() -> None:
    steps = read_dockerfile()
    allowed = {"FROM", "ARG", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in steps} <= allowed
    assert steps[0][0] == "FROM"
    python = re.fullmatch(r"python:(3\.\d+)-slim", steps[0][1])
    assert python is not None
    assert f"Programming Language :: Python :: {python[1]}" in PROJECT["classifiers"]
    installs = [text for word, text in steps if word == "RUN" and "pip install" in text]
    assert all("-c constraints.txt" in text for text in installs)
    assert "torch" in installs[0].split()  # before the package: from the index that was chosen
    assert {"torch", "gymnasium", "hydra-core", "numba"} <= set(PINNED)
    extras = next(text for word, text in steps if word == "ARG" and text.startswith("EXTRAS"))
    assert set(shlex.split(extras.partition("=")[2])[0].split(",")) <= set(PROJECT["optional-dependencies"])
    assert next(text for word, text in steps if word == "ENTRYPOINT") == '["pgrun"]'
    assert "USER" in dict(steps)


def test_the_container_gets_the_files_that_it_copies() -> None:
    copied = [name for word, text in read_dockerfile() if word == "COPY" for name in text.split()[:-1]]
    sent = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    assert sorted(copied) == sorted(sent)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert {*hatch["wheel"]["packages"], *hatch["wheel"]["force-include"], "hatch_build.py"} <= set(copied)


NOTEBOOK = ROOT / "examples" / "baseline.ipynb"


def test_the_notebook_brings_no_output() -> None:
    """What it shows is what the reader's run gives."""
    cells = yaml.safe_load(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []
    text = "\n".join("".join(cell["source"]) for cell in code)
    assert '%pip install -q "pgrun"' in text  # what Colab needs
    for use in ("pgrun.train(", "pgrun.study(", ".metrics", "plt.subplots"):
        assert use in text


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """With the extra ``notebook``: without it this test fails, and says so."""
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("STEPS = 10_000", "STEPS = 2_000")
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    printed = "".join(out["text"] for out in outputs if out.get("name") == "stdout")
    assert any("image/png" in out.get("data", {}) for out in outputs)
    variances = dict(re.findall(r"^(\w+).*? variance ([\d.e+]+)", printed, re.M))
    assert float(variances["mean_baseline"]) < float(variances["reward_to_go"])
    assert len(list((tmp_path / "outputs").rglob("policy.safetensors"))) == 6
