"""A user's mistakes: exit code 2, one short paragraph that helps, no traceback, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun, shell

SHORT = 1200  # characters; a full list of options fits

# command → what the answer must contain
MISTAKES = {
    "algo=ppo sampler=episodes variance=optimal_baseline variance.kind=per_parameter": [
        *("several steps", "algo.epochs", "advantage_norm=none")
    ],
    # unknown options, with the nearest or all of them
    "algo=pppo": ["algo=pppo: no such option", "ppo", "reinforce"],
    "variance=gaee": ["variance=gaee: no such option", "gae"],
    "critic/optimizer=adamm": ["critic/optimizer=adamm", "adam, adamw"],
    "experiment=nope": ["experiment=nope", "recipe_ppo_4x128"],
    "tuned=typo": ["tuned=typo: no such file", "tuned=none"],
    "tuned=ppo/CartPole-v1 algo=a2c": ["settings of algo=ppo, not of algo=a2c"],
    "-m hydra/launcher=jobli seed=0,1": ["hydra/launcher=jobli", "joblib"],
    # environments
    "env=CartPol-v1": ["env=CartPol-v1", "nearest: CartPole-v1"],
    "env=ALE/Nothing-v5": ["not registered", "env=module:ALE/Nothing-v5"],
    "env=nope_mod:Foo-v0": ["cannot import nope_mod"],
    "env=my_mod:Lime-v0": ["env=Lime-v0: not registered", "Line-v0"],
    "env=my_mod:Whole-v0": ["a Box of integers has no density", "Discrete"],
    "env=my_mod:Refusing-v0": ["cannot be made: RuntimeError: no licence"],
    "env.kwargs.foo=1": ["env.kwargs={'foo': 1}", "unexpected keyword argument 'foo'"],
    "'env.kwargs={foo: 1}'": ["unexpected keyword argument 'foo'"],
    "env=FrozenLake-v1 env.kwargs.map_name=9x9": ["map_name", "KeyError: '9x9'"],
    "diagnostics.exact=true": [
        "diagnostics.exact=true: cannot know J and V of env=CartPole-v1",
        "env=FrozenLake-v1",
    ],
    "env=FrozenLake-v1 diagnostics.exact=true reward_scaling=true": ["add reward_scaling=false"],
    "env.num_envs=0": ["env.num_envs=0: must be ≥ 1"],
    "env.max_episode_steps=0": ["env.max_episode_steps=0: must be ≥ 1"],
    # unknown keys
    "algo.clp=1": ["algo.clp: no such setting", "nearest: algo.clip"],
    "algo.rate_of_learning=1": [
        "algo.rate_of_learning: no such setting; there are: algo.clip, algo.clip_schedule, algo.clip_end, "
        "algo.clip_target_kl, algo.clip_high, algo.dual_clip, algo.ratio, algo.epochs, algo.minibatches, "
        "algo.target_kl, algo.entropy, algo.entropy_schedule, algo.entropy_end, algo.entropy_target_kl\n"
    ],
    "algo=trpo algo.delt=0.1": ["nearest: algo.delta, algo.delta_end\n"],
    "algo=off_policy_ac algo.foo=1": ["there are: algo.corrections, algo.baseline, algo.entropy"],
    "hydra.nosuch=1": ["there are: hydra.run, ", "hydra.verbose\n"],
    "lr=0.1": ["lr=0.1 (Tianshou): type optimizer.lr=0.1 critic.optimizer.lr=0.1"],
    "weight_decay=0.1 optimizer=adamw": ["weight_decay: no such setting", "nearest: optimizer.weight_decay"],
    "agorithm=ppo": ["agorithm: no such setting", "algo=ppo"],
    "seed.x=3": ["seed.x: no such setting", "seed"],
    "hydra.run.dirr=x": ["nearest: hydra.run.dir"],
    "+algo.foo=1": ["algo.foo: no such setting", "entropy_target_kl, epochs"],
    "+foo=1": ["foo: no such setting"],
    "+usual.foo=1": ["usual.foo", "type the setting itself"],
    "algo=reinforce algo.clip=0.1": ["algo.clip: a setting of algo=ppo", "not of algo=reinforce"],
    # values
    "seed=abc": ["seed=abc: must be an integer"],
    "seed=-1": ["seed=-1: must be ≥ 0"],
    "gamma=1.5": ["gamma=1.5: must be in [0, 1]"],
    "gamma=": ["gamma=: must be a finite number"],
    "device=tpu": ["device=tpu: must be one of cpu, cuda, auto"],
    "state_norm=1": ["state_norm=1: must be true or false"],
    "optimizer.lr=0": ["optimizer.lr=0: must be > 0"],
    "optimizer.lr=nan": ["optimizer.lr=nan: must be a finite number"],
    "optimizer.lr=inf": ["optimizer.lr=inf: must be a finite number"],
    "optimizer.betas=[0.9]": ["optimizer.betas=[0.9]: must be a list of 2"],
    "optimizer.betas=[0.9,1.0]": ["must be in [0, 1)"],
    "trainer.total_steps=0": ["trainer.total_steps=0: must be ≥ 1"],
    "trainer.total_steps=1.5": ["must be an integer"],
    "trainer.total_steps=1e400": ["must be an integer"],
    "trainer.total_steps=???": ["trainer.total_steps=???: Missing mandatory value"],
    "network.hidden=64": ["network.hidden=64: must be a list such as [64, 64]"],
    "network.activation=sine": ["must be one of tanh, relu"],
    "network.log_std=nan env=Pendulum-v1": ["network.log_std=nan: must be a finite number"],
    "variance.lam=2": ["variance.lam=2: must be in [0, 1]"],
    "critic.optimizer=sgd": ["critic.optimizer=sgd", "must be a mapping"],
    "gamma='${foo}'": ["Interpolation key 'foo' not found"],
    "'network.hidden=[${foo}]'": ["network.hidden=[${foo}]: Interpolation key 'foo' not found"],
    "'env.kwargs={a: ${foo}}'": ["pgrun: env.kwargs={a: ${foo}}: Interpolation key 'foo' not found"],
    "hydra.job.name='${foo}'": ["hydra.job.name=${foo}: Interpolation key 'foo' not found"],
    "hydra.job.chdir='${foo}'": ["hydra.job.chdir=${foo}: Interpolation key 'foo' not found"],
    "hydra.verbose='${foo}'": ["hydra.verbose=${foo}: Interpolation key 'foo' not found"],
    "hydra.output_subdir='${foo}'": ["hydra.output_subdir=${foo}: Interpolation key 'foo' not found"],
    "'hydra.searchpath=[${foo}]'": ["hydra.searchpath=[${foo}]: Interpolation key 'foo' not found"],
    "'hydra.job.env_copy=[${foo}]'": ["hydra.job.env_copy=[${foo}]: Interpolation key 'foo' not found"],
    "-m hydra.sweep.dir='${foo}' seed=0,1": ["hydra.sweep.dir=${foo}: Interpolation key 'foo' not found"],
    "-m hydra/launcher=joblib hydra.launcher.n_jobs='${foo}'": ["Interpolation key 'foo' not found"],
    "hydra.run=5": ["hydra.run=5: not for pgrun; of Hydra's own settings there are hydra.run.dir, "],
    "hydra.job='${seed}'": ["hydra.job=${seed}: not for pgrun"],
    "hydra.output_subdir='???'": ["hydra.output_subdir=???: Missing mandatory value"],
    "hydra.job.env_copy='${seed}'": ["must be a list of environment variables such as [HOME]"],
    "hydra.job.env_copy=[NO_SUCH]": ["hydra.job.env_copy: no environment variable is called 'NO_SUCH'"],
    "-m 'hydra/launcher=[a]' seed=0,1": ["hydra/launcher=[a]: the name of one option is needed"],
    "hydra.job.env_set.X=5": ["an entry is added to hydra.job.env_set: type +hydra.job.env_set.X=5"],
    "-m '+hydra.sweeper.params={seed: 3}'": ["it is for files: type the words themselves: seed=0,1"],
    "modules=[nope]": ["modules=[nope]: Python cannot import nope"],
    "modules=nope": ["modules=nope: must be a list such as [name]"],
    # what is typed wrongly
    "seed 3": ["seed 3", "here: seed=3"],
    "--seed 3": ["--seed 3 (Stable-Baselines3, CleanRL", "type seed=3"],
    "ppo": ["here: algo=ppo"],
    "algo = ppo": ["without spaces", "here: algo=ppo"],
    "algo.clip=[1": ["algo.clip=[1: cannot be read"],
    "algo=ppo,a2c": ["algo=ppo,a2c: several values are a sweep: type pgrun -m"],
    "algo=[ppo,a2c]": ["the name of one option is needed"],
    "algo=null": ["algo=null: the name of one option is needed"],
    "~algo": ["~algo: every setting is needed"],
    "+algo=a2c": ["algo"],
    "algo.name=a2c": ["algo=a2c"],
    "critic.optimizer.name=sgd": ["critic/optimizer=sgd"],
    "--config-dir ./nope": ["--config-dir ./nope: no such folder"],
    "--config-path /tmp": ["add yours with --config-dir"],
    "--experimental-rerun x": ["it reads a pickle"],
    "--resolve": ["--cfg job"],
    "--cfg jobs": ["invalid choice: 'jobs'"],
    "--cfg job algo.clp=1": ["nearest: algo.clip"],
    "-m seed=interval(0,1)": ["seed=range(0,3)"],
    "-r -m": ["one of them"],
    "hydra.mode=MULTIRUN": ["type pgrun -m"],
    "hydra.output_subdir=null": [".hydra"],
    # what does not go together
    "algo=reinforce sampler=steps": ["algo=reinforce: needs sampler=episodes", "add sampler=episodes"],
    "variance=none": ["variance=none: needs whole episodes: add sampler=episodes"],
    "sampler=episodes variance=leave_one_out sampler.episodes=1": ["sampler.episodes must be at least 2"],
    "algo.minibatches=5000": ["algo.minibatches=5000: a batch has only 256 rows"],
    "algo=ppo_penalty algo.beta=1e12": ["algo.beta=1e+12", "algo.beta_max=1e+10", "move the bounds"],
    "algo=ppo_penalty algo.beta_min=2": ["algo.beta=1: is not between algo.beta_min=2"],
    "critic.minibatches=5000": ["critic.minibatches=5000: a batch has only 256 rows"],
    "device=cuda": ["no CUDA device is available", "device=cpu"],
    # what nothing reads
    "algo=reinforce critic.epochs=3": ["variance=reward_to_go has no critic"],
    "network=shared critic.epochs=3": ["take network=separate"],
    "network=joint critic.optimizer.lr=1": ["network=joint trains the critic", "take network=separate"],
    "network=shared network.critic_hidden=[8]": ["one trunk for both", "network=separate or joint"],
    "algo=reinforce network.critic_hidden=[8]": ["has no critic"],
    "algo=trpo network=joint": ["add network=separate"],
    "network.init=torch network.policy_gain=1": [
        "read with network.init=orthogonal or xavier, not with torch"
    ],
    "backend=compiled network.activation=gelu": ["network.activation=gelu has no kernels", "backend=auto"],
    "backend=compiled network=joint": ["network=joint has no kernels", "take backend=auto"],
    "backend=compiled network.logit_scale=2": ["network.logit_scale=2 has no kernels", "take backend=auto"],
    "critic.coef=2": ["joint loss of network=shared"],
    "critic.n=3": ["read with critic.target=n_step, not with td_lambda"],
    "network.log_std=-1": ["Discrete(2) have no σ"],
    "trainer.stop_at_return=5 trainer.eval_every=null": ["set trainer.eval_every"],
    "algo.target_kl=0.1 algo.epochs=1": ["set algo.epochs"],
    # several seeds in one tensor program
    "trainer.stack_seeds=true tuned=none": ["no seeds are named: add seeds=[0,1,2]"],
    "seeds=[0,1] trainer.stack_seeds=true algo=trpo tuned=none": ["algo=trpo is not among ppo, a2c"],
    "seeds=[0,1] trainer.stack_seeds=true env=FrozenLake-v1": [
        "its environments are CartPole-v1, Pendulum-v1"
    ],
    "seeds=[0,1] trainer.stack_seeds=true tuned=none optimizer.schedule=linear": [
        "optimizer.schedule=linear makes updates that are not always the same",
        "add optimizer.schedule=constant",
    ],
    "seeds=[0,1] trainer.stack_seeds=true tuned=none sampler.steps=1": ["a rollout needs two steps"],
    "seeds=[0,1] trainer.stack_seeds=true tuned=none algo.target_kl=0.1": ["add algo.target_kl=null"],
    "seeds=[0,1] trainer.stack_seeds=true tuned=none backend=compiled": ["stack_seeds=true has no kernels"],
    "-m seeds=[0,1] trainer.stack_seeds=true tuned=none gamma=0.9,0.8": ["leave -m out"],
    "seeds=[0,1] trainer.stack_seeds=true tuned=none logger.also=[wandb]": [
        "all seeds would be one run of W&B, which has one in a process: leave wandb out of logger.also"
    ],
    "algo=a2c sampler=episodes variance=mean_baseline variance.discounting=from_start": ["variance.returns"],
    # run directories
    "hydra.run.dir=/dev/null/x": ["/dev/null/x: cannot be written: Not a directory"],
    "hydra.run.dir=/proc/x/y": ["/proc/x/y: cannot be written"],
    f"hydra.run.dir={'x' * 300}": ["choose a shorter hydra.run.dir"],
    "-m hydra.sweep.dir=/proc/x seed=0,1": ["/proc/x/0_seed=0: cannot be written", "another hydra.sweep.dir"],
    "-m hydra.sweep.dir=s hydra.sweep.subdir=x seed=0,1": ["the folder of two jobs"],
    # sweeps: refused before anything runs, naming the combination
    "-m seed=0,x": ["seed=x: must be an integer"],
    "-m algo=ppo,pppo seed=0,1": ["algo=pppo: no such option"],
    "-m algo=ppo,a2c algo.clip=0.1": ["algo.clip: a setting of algo=ppo", "not of algo=a2c"],
    "-m variance=gae,none seed=0,1": ["needs whole episodes", "[variance=none seed=0 and 1 more]"],
    "-m gamma=0.9,1.5": ["gamma=1.5: must be in [0, 1]"],
    "-m hydra.run.dir=a,b": ["Hydra's own settings cannot be swept"],
    "-m --config-dir ../myconf modules=[my_mod] algo=reinforce variance=none,plain": [
        "my_mod.Plain must be a dataclass and a pgrun.variance.base.Scheme"
    ],
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_answered(command: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(command)
    assert answer.code == 2, answer.err
    assert answer.err.startswith("pgrun: ")
    for fragment in MISTAKES[command]:
        assert fragment in answer.err
    assert len(answer.err) < SHORT
    assert "Traceback" not in answer.err
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "algo=pppo variance=gaee gamma=1.5 algo.clp=1 trainer.total_steps=0 device=cuda",
            ["algo=pppo", "variance=gaee", "gamma=1.5", "algo.clp", "trainer.total_steps=0", "device=cuda"],
        ),
        (
            "seed=x optimizer.lr=0 critic.epochs=0 env.num_envs=0 algo.clip=-1",
            ["seed=x", "optimizer.lr=0", "critic.epochs=0", "env.num_envs=0", "algo.clip=-1"],
        ),
        ("seed 3 algo=ppo,a2c ~network gamma=2", ["seed 3", "algo=ppo,a2c", "~network", "gamma=2"]),
        (
            "algo=reinforce sampler=steps network.log_std=0 critic.lam=0.5 env.kwargs.foo=1",
            ["sampler=steps", "critic.lam", "env.kwargs"],
        ),
        ("-m seed=x,0 gamma=2,0.9 algo=a2cc", ["seed=x", "gamma=2", "algo=a2cc"]),
    ],
)
def test_all_mistakes_at_once(command: str, expected: list[str], here: Path) -> None:  # noqa: F811
    answer = pgrun(command)
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert lines[0] == f"pgrun: {len(lines) - 1} problems"
    for fragment in expected:
        assert any(line.startswith("  - ") and fragment in line for line in lines)


@pytest.mark.parametrize(
    "command", ["algo=nothing variance=gae variance.n=5 variance.lam=0.9", "algo=npgg algo.delta=0.1"]
)
def test_an_unknown_option_does_not_make_its_settings_look_wrong(command: str, here: Path) -> None:  # noqa: F811
    assert "setting" not in pgrun(command.replace("variance.n=5 ", "")).err


def test_what_follows_by_interpolation_is_not_reported_again(here: Path) -> None:  # noqa: F811
    """critic.lam is ${variance.lam}: one mistake, one line — unless both are typed."""
    assert "critic.lam" not in pgrun("variance.lam=2").err
    assert "critic.lam=2" in pgrun("variance.lam=2 critic.lam=2").err


def test_a_directory_that_holds_a_run(here: Path) -> None:  # noqa: F811
    (here / "kept").mkdir()
    (here / "kept" / "summary.json").write_text("{}")
    answer = pgrun("hydra.run.dir=kept")
    assert answer.code == 2
    assert "kept: holds a run already: choose another hydra.run.dir" in answer.err
    assert [path.name for path in (here / "kept").iterdir()] == ["summary.json"]
    (here / "sweep" / "1_seed=1").mkdir(parents=True)
    (here / "sweep" / "1_seed=1" / "metrics.csv").write_text("")
    answer = pgrun("-m hydra.sweep.dir=sweep seed=0,1")
    assert answer.code == 2
    assert "sweep/1_seed=1: holds a run already: choose another hydra.sweep.dir" in answer.err


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("mujoco", "env=HalfCheetah-v5", "mujoco"),
        ("Box2D", "env=LunarLander-v3", "box2d"),
        ("hydra_plugins", "-m hydra/launcher=joblib seed=0,1", "parallel"),
    ],
)
def test_a_missing_extra_is_named(package: str, command: str, extra: str, here: Path) -> None:  # noqa: F811
    answer = shell(command, python=f"sys.modules[{package!r}] = None")
    assert answer.code == 2
    assert f'pip install "pgrun[{extra}]"' in answer.err
    assert "Traceback" not in answer.err


def test_debugging_brings_the_traceback_back(here: Path) -> None:  # noqa: F811
    answer = shell("gamma=2", PGRUN_DEBUG="1")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert "must be in [0, 1]" in answer.err


def test_a_number_in_exponent_notation_is_an_integer(here: Path) -> None:  # noqa: F811
    words = QUICK.replace("total_steps=200", "total_steps=1e2")
    assert pgrun(f"{words} seed=2e0 sampler.steps=1e1").code == 0


def test_the_users_class_of_the_shipped_name_is_not_taken_by_accident(here: Path) -> None:  # noqa: F811
    """Without ``modules`` nothing of the user's is imported."""
    answer = pgrun("--config-dir ../myconf algo=reinforce variance=half_return")
    assert answer.code == 2
    assert "no class HalfReturn" in answer.err
