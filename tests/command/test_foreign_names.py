"""Names of other tools are answered with what to type here; every row of the table is tried."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from pgrun.command.compose import compose_jobs
from pgrun.command.foreign_answers import (
    INDEX,
    extract_typed_key,
    find_foreign_option,
    is_same_here,
    keep_last_words,
    normalise_spelling,
    split_words,
)
from pgrun.command.foreign_names import FOREIGN_NAMES, FOREIGN_OPTIONS, TAGS, TOOLS, ForeignName
from pgrun.command.overrides import read_command
from pgrun.command.validate import find_problems
from pgrun.config.paths import conf_dir
from pgrun.envs.versions import newest_version
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_generate import DOCS, load_generate


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return load_generate()


def pack(words: list[str]) -> list[list[str]]:
    """Few commands in which all the words stand, no setting twice; another algorithm by itself."""
    commands = [[word] for word in dict.fromkeys(words) if word.startswith("algo=")]
    words = [word for word in words if not word.startswith("algo=")]
    for word in dict.fromkeys(words):
        keys = {extract_typed_key(part) for part in split_words(word)}
        others = [c for c in commands if not c[0].startswith("algo=")]
        free = next((c for c in others if not keys & set(map(extract_typed_key, keep_last_words(c)))), None)
        if free is None:
            commands.append([word])
        else:
            free.append(word)
    return commands


def test_every_suggestion_composes_and_fits(generate: ModuleType) -> None:
    suggestions: dict[str, list[str]] = {}
    for row in FOREIGN_NAMES:
        for words in (generate.answer_example(row, normalise_spelling(name_of(row)))[0], row.off):
            if words and not words.startswith(("device=cuda", "logger.also=")):  # refused without them
                suggestions.setdefault(row.context, []).append(words)
    assert sum(map(len, suggestions.values())) >= 60
    for context, words in suggestions.items():
        for command in pack(words):
            typed = keep_last_words([context, *command])
            jobs = compose_jobs(read_command(typed))
            assert jobs.problems == [], typed
            assert find_problems(jobs.composed[0]) == [], typed


def name_of(row: ForeignName) -> str:
    return next(name for field in TOOLS for name in row.names(field))


def test_the_suggested_options_compose() -> None:
    for group, names in FOREIGN_OPTIONS.items():
        assert not any((conf_dir() / group / f"{name}.yaml").exists() for name in names)
    for words in {words for names in FOREIGN_OPTIONS.values() for words in names.values()}:
        jobs = compose_jobs(read_command(words.split()))
        assert jobs.problems == [], words


def test_every_row_says_something_and_every_name_is_found() -> None:
    for row in FOREIGN_NAMES:
        assert row.tools
        assert row.here or row.note
        for field in TOOLS:
            for name in row.names(field):
                assert row in [other for other, _ in INDEX[normalise_spelling(name)]]
    assert len(INDEX) >= 100


def test_no_name_is_a_setting_of_this_place() -> None:
    """A name that is a setting here is only answered as a flag, and means the same."""
    settings = compose_jobs(read_command([])).composed[0].settings
    for name in INDEX:
        assert name not in settings or is_same_here(name) or name == "logger", name  # a group, no value


def test_the_tags_are_ours() -> None:
    readme = (DOCS.parent / "README.md").read_text() + (
        (DOCS / "metrics.md").read_text() if (DOCS / "metrics.md").exists() else ""
    )
    assert all(f"`{tag}`" in readme for tag, *_ in TAGS)
    assert all(len(row) == 1 + len(TOOLS) for row in TAGS)


def test_the_page_is_the_table(generate: ModuleType) -> None:
    assert (DOCS / "coming-from.md").read_text() == generate.coming_from(), "run python docs/generate.py"


ANSWERS = {  # command → what is said
    "learning_rate=1e-3 n_steps=2048 n_envs=1 batch_size=64": [
        "learning_rate=1e-3 (Stable-Baselines3, CleanRL): type optimizer.lr=1e-3 critic.optimizer.lr=1e-3",
        "algo.minibatches=32; 2048 rows",
        "\ntogether: pgrun env.num_envs=1 sampler.steps=2048 algo.minibatches=32 optimizer.lr=1e-3 "
        "critic.optimizer.lr=1e-3\n",
    ],
    "ppo --env CartPole-v1 --hid 64 --l 3 --exp_name x --seed 0 10": [
        "together: pgrun -m algo=ppo env=CartPole-v1 seed=0,10 network.hidden=[64,64,64] "
        "hydra.sweep.dir=outputs/x\n"
    ],
    "--env-id CartPole-v1 --track --no-anneal-lr --gamma=0.9": [
        "--track (Stable-Baselines3, CleanRL): type logger.also=[wandb]; every run writes TensorBoard files",
        "together: pgrun env=CartPole-v1 gamma=0.9 optimizer.schedule=constant",
    ],
    "--env_name CartPole-v0 -n 100 -b 1000 -rtg -na --nn_baseline -blr 0.01": [
        "trainer.total_steps=100000; 100 iterations × 1000 rows",
        "whole episodes are played",
        "together: pgrun algo=reinforce variance=value_baseline env=CartPole-v0 trainer.total_steps=100000 "
        "advantage_norm=full critic.optimizer.lr=0.01\n",
    ],
    "vpg --env LunarLander-v2 --cpu 1 --steps_per_epoch 4000": [
        "vpg (Spinning Up): type algo=reinforce variance=value_baseline",
        "together: pgrun algo=reinforce variance=value_baseline env=LunarLander-v3 env.num_envs=1\n",
    ],
    "--step-per-collect 2000 --batch-size 64 --dual-clip 5": [
        "type algo.minibatches=32; 2000 rows",
        "type algo.dual_clip=5",
    ],
    "--wandb-project-name mine --track 'policy_kwargs=dict(net_arch=dict(pi=[32, 8], vf=[64]), "
    "activation_fn=nn.ELU)'": [
        "--wandb-project-name mine (Stable-Baselines3, CleanRL): type logger.project=mine",
        "--track (Stable-Baselines3, CleanRL): type logger.also=[wandb]; every run writes",
        "logger.also=[wandb] logger.project=mine",
        "type network.hidden=[32,8] network.critic_hidden=[64] network.activation=elu",
    ],
    "--algo dqn --env CartPole-v1 -f logs --persistence 1": [
        "--algo dqn (Stable-Baselines3): leave it out; there is none here: it learns Q and has no policy",
        "--persistence 1: no such option, here or in the tools that are known: leave it out",
        "together: pgrun env=CartPole-v1 hydra.run.dir=logs\n",
    ],
    "--persistence 1": ["--persistence: no such option, pgrun --help lists them, and settings are typed"],
    "train --algo ppo --env CartPole-v1 -n 50000": [
        "train: leave it out; pgrun alone trains",
        "together: pgrun algo=ppo env=CartPole-v1 trainer.total_steps=50000\n",
    ],
    "cleanrl/ppo.py --seed 1 --env-id CartPole-v0 --total-timesteps 50000": [
        "cleanrl/ppo.py: type algo=ppo",
        "together: pgrun algo=ppo env=CartPole-v0 trainer.total_steps=50000 seed=1\n",
    ],
    "-m spinup.run ppo --hid[h] 64 --env Walker2d-v2": [
        "spinup.run: leave it out",
        "together: pgrun algo=ppo env=Walker2d-v5 network.hidden=[64,64]\n",
    ],
    "mujoco_reinforce.py --task Ant-v3 --max-kl 0.1": ["together: pgrun algo=reinforce env=Ant-v5"],
    "ppo_pytorch --env CartPole-v1 --dt": ["together: pgrun algo=ppo env=CartPole-v1\n"],
    "cs285/scripts/run_hw2.py --env_name CartPole-v0 -n 100 -b 1000 --exp_name x": [
        "together: pgrun algo=reinforce variance=none env=CartPole-v0 trainer.total_steps=100000 "
        "hydra.run.dir=outputs/x\n"
    ],
    "cs285/scripts/run_hw3_actor_critic.py --env_name CartPole-v0 -ntu 1": [
        "together: pgrun algo=a2c env=CartPole-v0\n"
    ],
    "train_pg_f18.py CartPole-v0 -n 100 -b 1000 -e 2 -dna": [
        "together: pgrun -m algo=reinforce variance=none env=CartPole-v0 trainer.total_steps=100000 "
        "advantage_norm=none seed=0,1\n"
    ],
    "--algo a2c --hyperparams learning_rate:0.001 'policy_kwargs:dict(net_arch=[64, 64])'": [
        "together: pgrun algo=a2c optimizer.lr=0.001 critic.optimizer.lr=0.001 network.hidden=[64,64]\n"
    ],
    "--algo a2c --env BreakoutNoFrameskip-v4 -i a/b.zip --env-kwargs a:1 b:2": [
        "leave it out; its observations are large images",
        "-i a/b.zip (Stable-Baselines3): leave it out; resume=RUN_DIR",
        "type 'env.kwargs={a:1,b:2}'",
    ],
    "python test/discrete/test_ppo.py --task CartPole-v1 --logger wandb": [
        "--logger wandb (Tianshou): type logger.also=[wandb]; every run writes TensorBoard files too",
        "together: pgrun algo=ppo env=CartPole-v1 logger.also=[wandb]\n",
    ],
    "--logger tensorboard": ["--logger tensorboard (Tianshou): leave it out; every run writes TensorBoard"],
    "logger=wandb": ["logger=wandb: no such option; type logger.also=[wandb]\n"],
    "OMP_NUM_THREADS=1 xvfb-run -a python -m cleanrl_utils.benchmark --env-ids A B": [
        "cleanrl_utils.benchmark: type pgrun -m algo=a2c,ppo seed=0,1,2; "
    ],
    "uv run cleanrl/ppo.py --env-id CartPole-v1": [
        "pgrun: 2 problems\n",
        "together: pgrun algo=ppo env=CartPole-v1\n",
    ],
    "python -m spinup.run test_policy data/x": ["test_policy: type pgrun-play data/x --render\n"],
    "python enjoy.py --algo ppo --env CartPole-v1 -f logs": ["enjoy.py: type pgrun-play --render; "],
    "python my.module": ["settings are typed key=value"],
    "tensorboard --logdir outputs": ["type tensorboard --logdir outputs; a command of its own\n"],
    "network.hidden=64,64": ["type pgrun -m, or for one list network.hidden=[64,64]\n"],
    "plot outputs": ["plot: type pgrun-compare outputs --html curves.html\n"],
    "enjoy --algo ppo": ["enjoy: type pgrun-play --render; a folder behind it names the run"],
    "-m rl_zoo3.record_video --algo ppo": ["rl_zoo3.record_video: type pgrun-play --video films; "],
    "ppo CartPole-v1": ["here: algo=ppo env=CartPole-v1\n"],
    "algo=dqn": ["algo=dqn: there is none: it learns Q and has no policy"],
    "env=Breakout-v5": ["its observations are large images, and the networks here take small ones"],
    "-rtg": ["pgrun: -rtg (CS285): type algo=reinforce variance=reward_to_go\n"],
    "algo=reinforce variance=reward_to_go learning_rate=1e-3": ["type optimizer.lr=1e-3; "],
    "'policy_kwargs=dict(net_arch=[32],activation_fn=nn.ReLU)'": [
        "network.hidden=[32] network.activation=relu"
    ],
    "learning_rate=lin_1e-3": ["optimizer.lr=1e-3 critic.optimizer.lr=1e-3 optimizer.schedule=linear"],
    "-m learning_rate=1e-3,1e-4 batch_size=64,128": [
        "\ntogether: pgrun -m algo.minibatches=4,2 optimizer.lr=1e-3,1e-4 "
        "'critic.optimizer.lr=${optimizer.lr}'\n"
    ],
    "--epoch 10 --step-per-epoch 5000": ["type trainer.total_steps=50000"],
    "vf_coef=0.5": ["leave it out"],
    "network=shared vf_coef=0.3 learning_rate=1e-3": [
        "the value loss has a factor ½ here, and none there",
        "together: pgrun network=shared critic.coef=0.6 optimizer.lr=1e-3\n",
    ],
    "network=shared --vf-coef 0.3 --clip-coef 0.1": [
        "together: pgrun network=shared algo.clip=0.1 critic.coef=0.3\n"
    ],
    "target_kl=0.02": ["there 1.5 times the number"],
    "--target-kl 0.02 --clip-coef 0.1": ["there an estimate from the last minibatch"],
    "algo=trpo target_kl=0.02": ["type algo.delta=0.02"],
    "algo.learning_rate=1": ["type optimizer.lr=1"],
    "algo=PPO": ["algo=PPO: no such option; type algo=ppo"],
    "algo=vpg": ["type algo=reinforce variance=value_baseline"],
    "algo=pg": ["type algo=reinforce"],
    "env=CartPole-v4": ["not registered with gymnasium; type env=CartPole-v1"],
    "env=LunarLander-v2": ["type env=LunarLander-v3"],
    "env=HalfCheetah-v2": ["type env=HalfCheetah-v5"],
    "env=cartpole": ["type env=CartPole-v1"],
    "env=my_mod:Line-v3": ["type env=my_mod:Line-v0"],
    "--cfg job learning_rate=1": ["type optimizer.lr=1"],
    "resume=auto --track": ["in which folder?"],
    "list": ["here: pgrun --list"],
    "resume": ["here: pgrun resume=last"],
    "--env-id CartPole-v1 --wandb-project-name mine --no-track": [
        "--wandb-project-name mine (Stable-Baselines3, CleanRL): leave it out",
        "together: pgrun env=CartPole-v1 logger.also=[]\n",
    ],
    "python -m spinup.run ppo --hid [32,32] [64,32] --env CartPole-v1": [
        "together: pgrun -m algo=ppo env=CartPole-v1 network.hidden=[32,32],[64,32]\n",
    ],
    "resume=. --track": ["--track: no such option here"],
}


@pytest.mark.parametrize("line", ANSWERS)
def test_the_answer(line: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(line)
    assert answer.code == 2
    for text in ANSWERS[line]:
        assert text in answer.err, answer.err
    assert not answer.out
    assert not list(here.iterdir())


def test_a_name_of_another_tool_is_answered_before_the_repetition(here: Path) -> None:  # noqa: F811
    lines = pgrun("algo=ppo algo=vpg").err.splitlines()
    assert "algo=vpg: no such option; type algo=reinforce variance=value_baseline" in lines[1]
    assert lines[2].strip() == "- algo=ppo algo=vpg: given 2 times: leave one"


def test_what_is_ours_is_left_alone() -> None:
    """Hydra's flags are never taken for another tool's; a known word is not looked up."""
    command = read_command(["-m", "seed=0,1", "-c", "job"])
    assert (command.foreign, command.problems) == ([], [])
    assert find_foreign_option("algo", "ppp", ["ppo"]) is None


def test_the_newest_version() -> None:
    ids = ["A-v0", "A-v2", "A-v10", "AB-v3", "space/A-v11"]
    assert newest_version("A-v3", ids) == "A-v10"
    assert newest_version("a", ids) == "A-v10"
    assert newest_version("C-v1", ids) is None
