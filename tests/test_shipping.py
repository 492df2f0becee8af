"""Wheel, sdist and editable install hold the configuration, and run from another directory."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pgrun
from tests.helpers.support_cli import QUICK

ROOT = Path(__file__).resolve().parent.parent
CONF = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, and a wheel made from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def one(built: Path, pattern: str) -> Path:
    (path,) = built.glob(pattern)
    return path


@pytest.mark.slow
def test_the_wheel_holds_the_configuration(built: Path) -> None:
    names = set(zipfile.ZipFile(one(built, "*.whl")).namelist())
    assert names >= {"pgrun/py.typed", *(f"pgrun/{path}" for path in CONF)}
    assert not [name for name in names if name.startswith(("tests/", "conf/"))]


@pytest.mark.slow
def test_the_sdist_holds_what_a_checkout_holds(built: Path) -> None:
    with tarfile.open(one(built, "*.tar.gz")) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert names >= CONF
    wanted = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "constraints.txt",
        "pgrun/py.typed",
        "tests/cli/test_cli.py",
    }
    assert names >= wanted


def fresh_environment(folder: Path) -> tuple[Path, Path]:
    """(bin, site-packages) of a virtual environment in which this one's packages come last."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    ask = [folder / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    below = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    above = Path(pytest.__file__).parent.parent
    (below / "dependencies.pth").write_text(f"{above}\n")
    return folder / "bin", below


def check_that_it_runs(scripts: Path, expected: Path, elsewhere: Path) -> None:
    def call(program: str, *words: str) -> str:
        command = [scripts / program, *words]
        return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True).stdout

    assert call("python", "-c", "import pgrun; print(pgrun.__file__)").startswith(str(expected))
    assert "name: ppo" in call("pgrun", "--cfg", "job")
    assert "recipe_ppo_4x128" in call("pgrun", "--help")
    page = "docs/compare.md" if expected == ROOT else f"/blob/v{pgrun.__version__}/docs/compare.md"
    assert page in call("pgrun-compare", "--help")
    assert "evaluation" in call("pgrun", *QUICK.split(), "hydra.run.dir=r")
    assert (elsewhere / "r" / "summary.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_it_runs_from_another_directory(pattern: str, built: Path, tmp_path: Path) -> None:
    scripts, packages = fresh_environment(tmp_path / "venv")
    install = [scripts / "python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-I"]
    subprocess.run([*install, one(built, pattern)], check=True, capture_output=True)
    check_that_it_runs(scripts, packages, tmp_path)


def test_the_checkout_runs_from_another_directory(tmp_path: Path) -> None:
    """The editable install that these tests run in."""
    check_that_it_runs(Path(sys.executable).parent, ROOT, tmp_path)
