"""``trainer.film_every``: films while a run trains, which change nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgrun.command import machine_check
from pgrun.training import films
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import trained

WORDS = ("algo=reinforce", "env=CartPole-v1", "sampler.episodes=2", "env.num_envs=2", "backend=torch")


def test_films_of_a_run(tmp_path: Path) -> None:
    """Before training, every 100 steps and at the end; each frame is an observation of an evaluation episode;
    the run ends at the same θ.
    """
    imageio = pytest.importorskip("imageio_ffmpeg")
    _, plain = trained(tmp_path / "plain", *WORDS, "trainer.total_steps=150")
    _, filmed = trained(tmp_path / "filmed", *WORDS, "trainer.total_steps=150", "trainer.film_every=100")
    made = sorted((tmp_path / "filmed" / "films").iterdir())
    steps = [int(path.stem.removeprefix("step-")) for path in made]
    assert steps[0] == 0
    assert steps[-1] == filmed["env_steps"]
    assert len(steps) >= 2
    assert all(path.suffix == ".mp4" for path in made)
    assert imageio.count_frames_and_secs(str(made[-1]))[0] == round(filmed["eval"]["return_mean"]) + 1
    assert filmed["params_sha256"] == plain["params_sha256"]
    assert not (tmp_path / "plain" / "films").exists()


def test_a_run_that_goes_on_films_when_it_would_have(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not at once: the step at which the next film is due is kept with the run."""
    pytest.importorskip("imageio_ffmpeg")
    names: list[str] = []
    monkeypatch.setattr(films, "film_episode", lambda _run, _folder, name: names.append(name))
    line = f"{' '.join(WORDS)} trainer.film_every=200 logger.progress=false trainer.eval_every=null"
    assert pgrun(f"{line} trainer.total_steps=100 hydra.run.dir=r").code == 0
    before = [int(name.removeprefix("step-")) for name in names]
    assert before[0] == 0
    assert len(before) == 2
    names.clear()
    assert pgrun("resume=r trainer.total_steps=450").code == 0
    after = [int(name.removeprefix("step-")) for name in names]
    assert after[0] >= 200
    assert after[-1] >= 450


def test_the_extra_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_check, "find_spec", lambda name: None)
    (mistake,) = machine_check.check_films({"trainer": {"film_every": 5}})
    assert 'trainer.film_every=5: needs the extra "video": ' in mistake.sentence()
    assert not list(machine_check.check_films({"trainer": {"film_every": None}}))
