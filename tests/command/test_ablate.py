"""The preset ``experiment=ablate``: everything on, and one practice off at a time."""

from __future__ import annotations

import pytest

from pgrun.command.compose import Job, compose_jobs
from pgrun.command.overrides import read_command
from pgrun.command.validate import find_problems
from pgrun.config.settings import flatten_settings
from tests.helpers.support_cli import pgrun

OFF = {  # what each option changes in the run; the settings that hold them are checked to be all
    "nothing": {},
    "advantage_norm": {"advantage_norm": "none"},
    "state_norm": {"state_norm": False},
    "reward_scaling": {"reward_scaling": False},
    "entropy": {"algo.entropy": 0.0},
    "lr_decay": {"optimizer.schedule": "constant", "critic.optimizer.schedule": "constant"},
    "gradient_clipping": {"optimizer.max_grad_norm": "null", "critic.optimizer.max_grad_norm": "null"},
    "orthogonal_init": {"network.init": "xavier"},
    "tanh": {"network.activation": "relu"},
}


def composed(line: str) -> list[Job]:
    jobs = compose_jobs(read_command(line.split()))
    assert not jobs.problems
    return jobs.composed


@pytest.mark.parametrize(
    "words", ["algo=ppo env=HalfCheetah-v5", "algo=trpo env=Pendulum-v1", "algo=reinforce"]
)
def test_each_job_leaves_one_practice_out(words: str) -> None:
    collected = [flatten_settings(job.settings) for job in composed(f"-m experiment=ablate seed=0 {words}")]
    assert [job["ablate"] for job in collected] == list(OFF)
    base = collected[0]
    for job in collected[1:]:
        changed = {key: value for key, value in job.items() if value != base.get(key)}
        assert changed == {"ablate": job["ablate"], **OFF[str(job["ablate"])]}


def test_five_seeds_unless_others_are_typed() -> None:
    assert len(composed("-m experiment=ablate algo=ppo")) == 5 * len(OFF)
    assert len(composed("-m experiment=ablate algo=ppo seed=3,4 ablate=nothing,tanh")) == 4


def test_a_practice_that_nothing_reads_is_refused() -> None:
    words = "algo=trpo variance=reward_to_go sampler=episodes seed=0"
    by_option = {
        job.choices["ablate"]: find_problems(job) for job in composed(f"-m experiment=ablate {words}")
    }
    refused = [name for name, one in by_option.items() if one]
    assert refused == ["lr_decay", "gradient_clipping"]  # trpo takes its own step, and there is no critic
    assert "changes nothing here" in by_option["lr_decay"][0].reason


def test_it_ends_in_the_comparison(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = (
        "trainer.total_steps=100 trainer.eval_episodes=1 trainer.eval_every=null network.hidden=[8] "
        "logger.progress=false"
    )
    answer = pgrun(f"-m experiment=ablate algo=a2c seed=0,1 ablate=nothing,tanh hydra.sweep.dir=s {tiny}")
    assert answer.code == 0, answer.err
    assert "ablate=nothing" in answer.out
    assert "ablate=tanh" in answer.out
    assert (tmp_path / "s" / "compare.html").exists()
