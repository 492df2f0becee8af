"""The doctor on run directories: real, unfinished, damaged, and none; in ``pgrun``'s
own output and as a command.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pgrun.analysis.doctor import cli
from pgrun.analysis.doctor.known_symptoms import find_symptoms
from pgrun.analysis.doctor.report import diagnose_finished_run
from pgrun.analysis.doctor.run_data import read_chart
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import Answer, answer, pgrun
from tests.helpers.support_compare import make_run

SHORT = "trainer.eval_every=null trainer.eval_episodes=2 logger.progress=false tuned=none"
RAN = f"algo=ppo trainer.total_steps=9000 env.num_envs=4 sampler.steps=64 algo.epochs=2 {SHORT}"


def doctor(*words: object) -> Answer:
    return answer(cli.main, "pgrun-doctor", *map(str, words))


def names(folder: Path) -> list[str]:
    return [finding.name for finding in find_symptoms(read_chart(folder))]


def test_a_learning_rate_a_thousand_times_too_large(here: Path) -> None:  # noqa: F811
    said = pgrun(f"{RAN} optimizer.lr=0.3 hydra.run.dir=ill")
    assert said.code == 0
    last = " ".join(said.out.split("look at it")[1].split())
    assert "doctor: KL explodes" in last
    assert "Try optimizer.lr=0.03" in last
    assert "docs/my-run-does-not-learn.md#kl-explodes" in last
    told = doctor("ill")
    assert told.code == 0
    assert "KL explodes" in told.out


def test_nothing_is_said_of_a_healthy_run(here: Path) -> None:  # noqa: F811
    said = pgrun(f"algo=reinforce trainer.total_steps=20000 {SHORT} hydra.run.dir=well")
    assert said.code == 0
    assert "doctor" not in said.out
    told = doctor("well")
    assert told.code == 0
    assert "Nothing found. Looked at: return" in told.out


def test_a_sweep_has_no_paragraphs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ill = make_run(tmp_path / "run", 0, 1.0, rows=exploding())
    assert "KL explodes" in diagnose_finished_run(ill)
    monkeypatch.setattr("pgrun.analysis.doctor.report.parent_process", object)  # as in the process of a job
    assert diagnose_finished_run(ill) == ""


def exploding(rows: int = 20) -> list[dict[str, float]]:
    return [{"env_steps": 100 * i, "return/train": 10 * i, "kl/old_new": 7.0} for i in range(rows)]


def test_an_unfinished_run_and_one_without_anything_else(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", 0, None, rows=exploding())
    assert names(folder) == ["unfinished", "kl-explodes"]
    shutil.rmtree(folder / ".hydra")
    assert names(folder) == ["unfinished", "kl-explodes"]
    assert "only the scalars were looked at" in doctor(folder).out


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.csv", ""),
        ("metrics.csv", "env_steps\n"),
        ("metrics.csv", "env_steps,kl/old_new\n100,0.01\n200,\x00\n300,7.0\n400"),
        ("metrics.csv", "nothing,like\nthis,table\n"),
        ("metrics.csv", 'env_steps,kl/old_new\n1,"nan\n2,0.1\n'),
        ("summary.json", "{"),
        ("summary.json", '{"status": "finished", "env_steps": null, "updates": "many", "eval": 3}'),
        ("summary.json", "[1, 2]"),
        (".hydra/config.yaml", "{{{"),
        ("policy.json", '{"config": {"seed": 0, "algo": {"name": "ppo"}, "gamma": "x"}, "action_space": 3}'),
        ("policy.safetensors", "no tensors"),
    ],
)
def test_damage_is_survived(file: str, content: str, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", 0, 1.0, {"state_norm": True}, rows=exploding())
    (folder / file).write_text(content)
    told = doctor(folder)
    assert told.code == 0
    assert "run" in told.out
    assert "stumbled" not in diagnose_finished_run(folder)


def test_scalars_that_are_no_numbers(tmp_path: Path) -> None:
    """A blank is none of these: not every row has every scalar."""
    rows = [{"env_steps": 100 * i, "kl/old_new": 0.01, "return/train": 10 * i} for i in range(12)]
    folder = make_run(tmp_path / "run", 0, 1.0, rows=rows)
    assert names(folder) == []
    rows[6]["kl/old_new"] = float("nan")
    folder = make_run(tmp_path / "broken", 0, 1.0, rows=rows)
    assert names(folder) == ["not-finite"]
    assert "kl/old_new = nan at 600 steps" in " ".join(doctor(folder).out.split())


def test_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other" / ".hydra"
    other.mkdir(parents=True)
    (other / "config.yaml").write_text("db: {name: mysql}\nseed: 1\n")
    for words in ([], [tmp_path / "absent"], [tmp_path / "empty"], [other.parent], ["--all"]):
        told = doctor(*words)
        assert told.code == 2
        assert told.out == ""
        assert told.err.startswith("pgrun-doctor: ")
        assert "Traceback" not in told.err


def test_a_sweep_s_folder_is_every_run_in_it(tmp_path: Path) -> None:
    for i in range(3):
        make_run(tmp_path / "sweep" / str(i), i, 1.0, rows=exploding())
    assert doctor(tmp_path / "sweep").out.count("KL explodes") == 3


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", 0, None, rows=exploding())
    (folder / "summary.json").write_text(json.dumps({"status": "failed", "error": "the line is cut"}))
    assert names(folder)[0] == "failed"
    assert "the line is cut" in doctor(folder).out
