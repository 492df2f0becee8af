"""A saved run played again: the figures of its own evaluation, films, and what is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import pgrun.training.loop
from pgrun.envs import film
from pgrun.errors import InvalidCommand
from pgrun.storage.saved_policy import load_saved_policy
from pgrun.tools.play import camera
from pgrun.tools.play.cli import read_play_options
from pgrun.tools.play.play import load_role, play_unseen
from pgrun.training.build import build_run
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_pipeline import trained
from tests.helpers.support_play import SHORT, plays


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ("CartPole-v1", ("state_norm=true",)),
        ("CliffWalkingSlippery-v1", ()),
        ("Pendulum-v1", ("network=shared", "state_norm=true")),
        ("Pendulum-v1", ("reward_scaling=true",)),
    ],
)
def test_the_run_s_own_seeds_give_its_own_figure(env: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """From another place, as from another machine: the native, the looped and the tabular environments."""
    (tmp_path / "run").mkdir()
    changes = {"trainer.eval_episodes": 4, "env.max_episode_steps": 300 if env == "CartPole-v1" else 20}
    _, summary = trained(tmp_path / "run", *SHORT, f"env={env}", *words, seed=6, **changes)
    elsewhere = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    wish = read_play_options([str(elsewhere)])
    saved = load_saved_policy(wish.run)
    role = load_role(saved, wish)
    run = build_run(saved.config)
    finished = play_unseen(saved, role, run.eval_seeds, None)
    returns = np.array([got for got, _ in finished])
    collected = {"return_mean": returns.mean(), "return_std": returns.std(), "episodes": len(returns)}
    assert collected["return_std"] > 0, "this would not tell one start from another"
    assert collected == summary["eval"]  # the same operations in the same order: no tolerance
    printed = plays(str(elsewhere))
    assert f"{returns.mean():.1f} ± {returns.std():.1f} over 4 episodes" in printed


def test_the_best_policy_is_the_one_of_the_best_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations return what is planted: 1, 5, 2, NaN, 5; θ of the second is kept,
    and a tie does not replace it.
    """
    planted, thetas = iter([1.0, 5.0, 2.0, float("nan"), 5.0]), []

    def evaluate(run, episodes: int) -> tuple[np.ndarray, int]:
        thetas.append(run.policy.theta.clone())
        return np.array([next(planted)]), 1

    monkeypatch.setattr(pgrun.training.loop, "evaluate_policy", evaluate)
    words = (*SHORT, "trainer.total_steps=640")
    trained(tmp_path, *words, **{"trainer.eval_every": 128})
    assert len(thetas) == 5
    best, final = load_saved_policy(str(tmp_path), "best"), load_saved_policy(str(tmp_path))
    assert torch.equal(best.tensors["theta"], thetas[1])
    assert torch.equal(final.tensors["theta"], thetas[4])
    assert not torch.equal(thetas[1], thetas[4])
    with (tmp_path / "metrics.csv").open() as file:
        first = next(row for row in csv.DictReader(file) if row["return/eval"] == "5.0")
    assert best.evaluation["env_steps"] == int(first["env_steps"])
    assert best.evaluation["return_mean"] == 5


def test_the_best_policy_gets_the_return_it_was_chosen_by(cartpole: Path) -> None:
    told = load_saved_policy(str(cartpole), "best").evaluation
    printed = plays(f"{cartpole} --policy best")
    assert f"best policy: {told['return_mean']:.1f}" in printed
    assert f"return   {told['return_mean']:.1f} ± {told['return_std']:.1f} over 3 episodes" in printed


def test_without_evaluations_in_training_there_is_no_best(tmp_path: Path) -> None:
    trained(tmp_path, *SHORT)
    assert not list(tmp_path.glob("best_policy*"))
    with pytest.raises(InvalidCommand, match=r"not evaluated during training.*a final one"):
        plays(f"{tmp_path} --policy best")


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Its run and summary: no two episodes have the same return."""
    folder = tmp_path_factory.mktemp("pendulum")
    changes = {"trainer.eval_episodes": 2, "env.max_episode_steps": 5}
    return folder, trained(folder, *SHORT, "env=Pendulum-v1", **changes)[1]


def got(words: str) -> str:
    """The line of the return."""
    return plays(words).splitlines()[1]


def test_seeds_and_sampling(pendulum: tuple[Path, dict]) -> None:
    run, _ = pendulum
    assert got(f"{run}") == got(f"{run} --episodes 2") == got(f"{run} --seed 0")  # the run's seed
    assert got(f"{run}") != got(f"{run} --seed 9")
    sampled = f"{run} --seed 9 --stochastic --episodes 20"
    assert "over 20 episodes" in got(sampled)
    assert got(sampled) == got(sampled)
    assert got(sampled) != got(f"{run} --seed 9 --episodes 20")


def test_more_episodes_than_columns(cartpole: Path) -> None:
    assert "over 120 episodes" in plays(f"{cartpole} --episodes 120")


def test_a_gif_shows_every_observation(cartpole: Path, tmp_path: Path) -> None:
    printed = plays(f"{cartpole} --video {tmp_path / 'films'} --format gif --episodes 2")
    files = sorted((tmp_path / "films").iterdir())
    assert [file.name for file in files] == ["episode-0.gif", "episode-1.gif"]
    lengths = []
    for file in files:
        with Image.open(file) as picture:
            assert picture.size == (600, 400)
            frames = [frame.copy() for frame in ImageSequence.Iterator(picture)]
        shown = sum(frame.info["duration"] for frame in frames)  # equal neighbours are merged: 20 ms each
        lengths.append(shown // 20 - 1)
        first, last = (np.asarray(frame.convert("RGB"), int) for frame in (frames[0], frames[-1]))
        assert np.abs(first - last).max() > 100, "nothing moved"
    assert f"length   {np.mean(lengths):.1f} ±" in printed


def test_an_mp4_has_a_picture_for_every_observation(cartpole: Path, tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    printed = plays(f"{cartpole} --video {tmp_path} --seed 1")
    frames, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "episode-0.mp4"))
    assert f"length   {frames - 1:.1f} ±" in printed
    assert seconds == pytest.approx(frames / 50, abs=0.02)  # CartPole's 50 a second; to one picture
    with pytest.raises(InvalidCommand, match=r"episode-0\.mp4: is there already"):
        plays(f"{cartpole} --video {tmp_path}")


def test_filmed_episodes_are_the_evaluation_s(pendulum: tuple[Path, dict], tmp_path: Path) -> None:
    """Where each environment has its own seed; CartPole's columns share one stream."""
    run, summary = pendulum
    printed = got(f"{run} --video {tmp_path} --format gif --episodes 2")
    assert f"{summary['eval']['return_mean']:.1f} ± {summary['eval']['return_std']:.1f}" in printed


def test_a_film_that_is_not_finished_leaves_nothing(
    cartpole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self, picture) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(film.WRITERS["gif"], "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plays(f"{cartpole} --video {tmp_path / 'films'} --format gif")
    assert list((tmp_path / "films").iterdir()) == []


def test_a_window_needs_a_display(cartpole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(film.sys, "platform", "linux")
    with pytest.raises(InvalidCommand, match="needs a display"):
        plays(f"{cartpole} --render")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert "over 1 episode" in plays(f"{cartpole} --render")


@pytest.mark.parametrize(
    ("given", "there", "taken"),
    [
        (None, ("EGL", "OSMesa"), "egl"),
        (None, ("OSMesa",), "osmesa"),
        (None, (), None),
        ("", ("OSMesa",), "osmesa"),
        ("glfw", ("EGL",), "glfw"),
    ],
)
def test_what_mujoco_draws_with(
    given: str | None, there: tuple[str, ...], taken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a display: what is installed, unless the user chose."""
    environment = {} if given is None else {"MUJOCO_GL": given}
    monkeypatch.setattr(film.os, "environ", environment)
    monkeypatch.setattr(film.ctypes.util, "find_library", lambda name: name if name in there else None)
    film.prepare_headless_rendering()
    assert environment.get("MUJOCO_GL") == taken
    assert environment["SDL_VIDEODRIVER"] == "dummy"


def test_missing_extras_are_named(cartpole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (film, camera):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InvalidCommand, match=r'extra "video".*\[video\].*--format gif'):
        plays(f"{cartpole} --video {tmp_path}")
    missing = film.gym.error.DependencyNotInstalled("pygame is not installed")
    assert 'the extra "video"' in film.explain_undrawable(missing)
