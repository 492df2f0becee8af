"""Commands with a mistake in them: what is refused, and what has to be said.

Run as a script it times each as a process of its own.

    python tests/campaigns/refusals.py [PART OF A COMMAND]
    python tests/campaigns/refusals.py --forked [PART]     a tenth of the work: forked from a process that has
                                                           refused some, so that the seconds mean nothing

A refusal of what is wrong in the command should take less than 2 s (median, on a quiet machine); only checks
of the device load torch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from tests.campaigns import more_refusals  # noqa: E402
from tests.helpers.support_cli import Answer, answer  # noqa: E402
from tests.helpers.support_fork import forked  # noqa: E402

MODULE = """
import sys
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Fine(gym.Env):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    def __init__(self, size=1):
        pass
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}

class NoEnv:
    pass

def boom(*args, **kwargs):
    raise ValueError("broken\\nin two lines")

def leave(*args, **kwargs):
    sys.exit(0)

def given(value):
    return lambda self, seed=None, options=None: value

for name, members in {
    "Fine": {},
    "ResetRaises": {"reset": boom},
    "ResetLeaves": {"reset": leave},
    "ResetNone": {"reset": given(None)},
    "ResetBare": {"reset": given(np.zeros(2, np.float32))},
    "ResetWide": {"reset": given((np.zeros(3, np.float32), {}))},
    "ResetText": {"reset": given(("hello", {}))},
    "ResetNan": {"reset": given((np.full(2, np.nan, np.float32), {}))},
    "ResetNoSeed": {"reset": lambda self: (np.zeros(2, np.float32), {})},
    "InitLeaves": {"__init__": leave},
    "NoSpace": {"observation_space": None},
    "NoAction": {"action_space": None},
    "GraphObs": {"observation_space": spaces.Graph(spaces.Discrete(2), None)},
    "TextObs": {"observation_space": spaces.Text(5)},
    "IntBox": {"action_space": spaces.Box(0, 5, (2,), np.int64)},
    "DictAct": {"action_space": spaces.Dict({"a": spaces.Discrete(2)})},
    "EmptyBox": {"observation_space": spaces.Box(-1, 1, (0,), np.float32)},
    "EmptyAct": {"action_space": spaces.Box(-1, 1, (0,), np.float32)},
    "HugeObs": {"observation_space": spaces.Discrete(10**12), "reset": given((0, {}))},
}.items():
    gym.register(name + "-v0", type(name, (Fine,), members))
gym.register("NoEnv-v0", NoEnv)
gym.register("NoEntry-v0", "bad_mod:Missing")
gym.register("Old-v0", type("Old", (gym.Env,), {}))
"""

NOT_A_SETTING = "no such setting"
TABLE: dict[str, list[str]] = {
    # numbers that are none, or none of this kind
    "pgrun seed=": ["seed=: must be an integer"],
    "pgrun seed=true": ["must be an integer"],
    "pgrun seed=[0]": ["must be an integer"],
    "pgrun seed={a:1}": ["must be an integer"],
    "pgrun seed=null": ["seed=null: must be an integer"],
    "pgrun seed=1e30": ["must be an integer below 2^63"],
    "pgrun seed=1e400": ["must be an integer"],
    f"pgrun seed={'9' * 30}": ["below 2^63"],
    f"pgrun seed={'x' * 5000}": ["must be an integer"],
    "pgrun threads=0": ["threads=0: must be in [1, 1024]"],
    "pgrun threads=1e9": ["must be in [1, 1024]"],
    "pgrun trainer.total_steps=1e30": ["with an exponent below 2^53"],
    "pgrun trainer.total_steps=-0": ["must be ≥ 1"],
    "pgrun trainer.eval_episodes=0": ["must be ≥ 1"],
    "pgrun trainer.eval_every=0": ["must be ≥ 1"],
    "pgrun trainer.stop_at_return=nan": ["must be a finite number"],
    "pgrun trainer.checkpoint_every=0": ["must be ≥ 1"],
    "pgrun logger.every=0": ["must be ≥ 1"],
    "pgrun logger.project=mine": ["it is where trackers keep the run: add logger.also=[wandb]"],
    "pgrun logger.progress=yes": ["must be true or false"],
    "pgrun diagnostics.gradient_every=-1": ["must be ≥ 0"],
    "pgrun gamma=nan": ["must be a finite number"],
    "pgrun gamma=-1e-9": ["must be in [0, 1]"],
    "pgrun gamma=0x1": ["must be a finite number"],
    "pgrun gamma=0,99": ["several values are a sweep: type pgrun -m"],
    "pgrun variance.lam=-0.1": ["must be in [0, 1]"],
    "pgrun variance=n_step variance.n=0": ["must be ≥ 1"],
    "pgrun optimizer.lr=-1e-3": ["must be > 0"],
    "pgrun optimizer.lr=1e-400": ["must be > 0"],
    "pgrun optimizer.lr=1e400": ["must be a finite number"],
    "pgrun optimizer.max_grad_norm=0": ["must be > 0"],
    "pgrun optimizer.schedule=step": ["must be one of constant, linear, cosine, kl"],
    "pgrun tuned=none optimizer.lr_end=1e-5": [
        "it is read with optimizer.schedule=linear or cosine, not with constant"
    ],
    "pgrun critic.optimizer.target_kl=0.02": ["it is read with critic.optimizer.schedule=kl, not with"],
    "pgrun algo.clip_end=0.1 tuned=none": ["it is read with algo.clip_schedule=linear or cosine"],
    "pgrun algo.entropy_schedule=cosine": ["there is no bonus that could go anywhere: set algo.entropy"],
    "pgrun algo.clip=-0.0": ["must be > 0"],
    "pgrun algo.target_kl=0": ["must be > 0"],
    "pgrun algo.entropy=-0.1": ["must be ≥ 0"],
    "pgrun algo.epochs=0": ["must be in [1, 10000]"],
    "pgrun algo.epochs=1e12": ["must be in [1, 10000]"],
    "pgrun algo=trpo algo.delta=0": ["must be > 0"],
    "pgrun algo=trpo algo.backtrack=1": ["must be in (0, 1)"],
    "pgrun critic.fit=during": ["must be one of after, before"],
    "pgrun critic.clip=0": ["must be > 0"],
    "pgrun network.hidden=[0]": ["must be ≥ 1"],
    "pgrun network.hidden=[true]": ["must be an integer"],
    "pgrun network.hidden=[64,null]": ["must be an integer"],
    "pgrun network.hidden=null": ["must be a list such as [64, 64]"],
    "pgrun sampler.steps=0": ["must be ≥ 1"],
    "pgrun algo=reinforce sampler.at_cap=ignore": ["must be one of error, truncate"],
    "pgrun algo=reinforce sampler.max_steps=0": ["must be ≥ 1"],
    "pgrun env.max_episode_steps=-5": ["must be ≥ 1"],
    "pgrun env.max_episode_steps=1.5": ["must be an integer"],
    "pgrun device=gpu": ["must be one of cpu, cuda, auto"],
    "pgrun device=cuda:7": ["must be one of cpu, cuda, auto"],
    # more than any machine has
    "pgrun env.num_envs=1e12": ["env.num_envs=1000000000000", "this machine has"],
    "pgrun network.hidden=[1e9,1e9]": ["network.hidden=", "this machine has"],
    "pgrun sampler.steps=1e12": ["sampler.steps=", "take less"],
    "pgrun algo=reinforce sampler.episodes=1e12": ["sampler.episodes=", "take less"],
    "pgrun trainer.eval_episodes=1e12": ["trainer.eval_episodes=", "take less"],
    "pgrun algo=off_policy_ac sampler.capacity=1e13": ["sampler.capacity=", "take less"],
    "pgrun -m seed=range(0,1e9)": ["a sweep of 1,000,000,000 jobs"],
    "pgrun -m seed=range(0,1000) threads=range(1,1000)": ["a sweep of 999,000 jobs"],
    # sections
    "pgrun reference=maybe": ["reference=maybe: is a section: set reference.policy, reference.beta"],
    "pgrun reference=false": ["reference=false: is a section"],
    "pgrun-study kl=maybe": ["kl=maybe: is a section: set kl."],
    "pgrun-study decompose=true": ["decompose=true: is a section: set decompose."],
    "pgrun-study step=3": ["step=3: is a section: set step."],
    # keys
    "pgrun seed=1 seed=2": ["seed=1 seed=2: given 2 times: leave one"],
    "pgrun algo=ppo algo=a2c": ["given 2 times"],
    "pgrun env=CartPole-v1 env.id=Acrobot-v1": ["given 2 times"],
    "pgrun -m seed=0,1 seed=2,3": ["given 2 times"],
    "pgrun +new.key=3": [NOT_A_SETTING],
    "pgrun ++new.key=3": [NOT_A_SETTING],
    "pgrun +env.foo=3": [NOT_A_SETTING],
    "pgrun ~algo.clip": ["every setting is needed"],
    "pgrun γ=0.9": ["cannot be read: 'γ' is no name of a setting"],
    # numbers that float32 does not hold, and sizes to begin with that it cannot square
    "pgrun optimizer.lr=1e39": ["must be what float32 holds"],
    "pgrun optimizer.lr=1e-40": ["must be what float32 holds"],
    "pgrun critic.optimizer.lr=1e300": ["must be what float32 holds"],
    "pgrun algo.clip=1e39": ["must be what float32 holds"],
    "pgrun trainer.stop_at_return=-1e39": ["must be what float32 holds"],
    "pgrun env=Pendulum-v1 network.log_std=1e6": ["must be in [-20, 20]"],
    "pgrun env=Pendulum-v1 network.log_std=-200": ["must be in [-20, 20]"],
    "pgrun network.policy_gain=-1": ["must be ≥ 0"],
    # words
    "pgrun ''": ["'': settings are typed key=value"],
    "pgrun =": ["settings are typed key=value"],
    "pgrun =3": ["settings are typed key=value"],
    "pgrun seed:3": ["settings are typed key=value"],
    "pgrun seed==3": ["cannot be read"],
    "pgrun seed=3=4": ["cannot be read", "two kinds of quotes"],
    "pgrun ' seed=3'": ["is no name of a setting"],
    "pgrun 'seed=\"3'": ["brackets and quotes come in pairs"],
    "pgrun network.hidden=[64": ["brackets and quotes come in pairs"],
    "pgrun gamma=½": ["cannot be read"],
    "pgrun gamma=０.９": ["cannot be read"],
    # options
    "pgrun algo=": ["algo=: no such option"],
    "pgrun algo=PPO": ["no such option"],
    "pgrun algo=1": ["the name of one option is needed"],
    "pgrun algo=../algo/ppo": ["the name of one option is needed"],
    "pgrun algo=/etc/passwd": ["the name of one option is needed"],
    "pgrun algo=ppo.yaml": ["the name of one option is needed"],
    "pgrun optimizer=unknown": ["there are adam, adamw"],
    "pgrun critic=none": ["no such option"],
    "pgrun hydra/sweeper=ax": ["it is for sweeps: type pgrun -m"],
    "pgrun hydra/launcher=joblib": ["it is for sweeps: type pgrun -m"],
    "pgrun -m hydra.launcher=joblib seed=0,1": ["chosen as a whole: hydra/launcher=joblib"],
    "pgrun tuned=foo/bar": ["no such file"],
    # sweeps
    "pgrun -m seed=range(3,0)": ["a range without values"],
    "pgrun -m seed=range(0,0)": ["a range without values"],
    "pgrun -m seed=range(0,3,0)": ["a range without values"],
    "pgrun -m seed=range(0,3,-1)": ["a range without values"],
    "pgrun -m seed=range(0,3": ["brackets and quotes come in pairs"],
    "pgrun -m seed=choice()": ["cannot be read"],
    "pgrun -m seed=glob(*)": ["a sweep without jobs"],
    "pgrun -m seed=[]": ["must be an integer"],
    "pgrun -m seed=": ["must be an integer"],
    "pgrun -m seed=0,0": ["0 stands there 2 times"],
    "pgrun -m algo=ppo,ppo": ["ppo stands there 2 times"],
    "pgrun -m algo=ppo,../algo/ppo": ["the name of one option is needed"],
    # flags
    "pgrun --config-dir": ["expected one argument"],
    "pgrun --config-dir=": ["no such folder"],
    "pgrun --config-dir bad_mod.py": ["no such folder"],
    "pgrun --config-name=x": ["add yours with --config-dir"],
    "pgrun --package algo": ["goes with --cfg job"],
    "pgrun --cfg job --resolve --package foo": ["no such part"],
    "pgrun --resume=x": ["here: resume=x"],
    "pgrun -x": ["no such option"],
    # run directories
    "pgrun -m 'hydra.sweep.subdir=${hydra.job.num}/../x' seed=0,1": ["the folder of two jobs"],
    "pgrun -m hydra.sweep.subdir=compare.html seed=0": ["compare.html: a sweep keeps a file of its own"],
    "pgrun -m hydra.sweep.subdir=multirun.yaml seed=0": ["multirun.yaml: a sweep keeps a file of its own"],
    "pgrun hydra.run.dir=": ["the name of a folder is needed"],
    """pgrun "hydra.run.dir='\\"\\"'" """.strip(): ["the name of a folder is needed"],
    "pgrun hydra.run.dir=r/checkpoints": ["a run keeps files of its own in .hydra and checkpoints"],
    "pgrun hydra.run.dir=.hydra": ["a run keeps files of its own in .hydra and checkpoints"],
    "pgrun -m 'hydra.sweep.subdir=${hydra.job.num}/checkpoints' seed=0,1": ["/0/checkpoints: a run keeps"],
    "pgrun -m hydra/launcher=parallel hydra.launcher.backend=threading seed=0,1": ["must be one of loky\n"],
    "pgrun hydra.run.dir=null": ["not Optional"],
    "pgrun hydra.run.dir=/etc/passwd": ["/etc/passwd: cannot be written: Not a directory"],
    "pgrun hydra.run.dir=../kept": ["holds a run already"],
    "pgrun hydra.run.dir=../circle/x": ["../circle/x: cannot be written: Too many levels of symbolic links"],
    "pgrun hydra.sweep.dir=x": ["type pgrun -m, or for one run hydra.run.dir"],
    "pgrun -m hydra.run.dir=x seed=0,1": ["set by hydra.sweep.dir"],
    # resume
    "pgrun resume=nowhere": ["no such directory"],
    "pgrun resume=": ["nothing to go on from"],
    "pgrun resume=null": ["no such directory"],
    "pgrun resume=../bad_mod.py": ["no such directory"],
    "pgrun resume=../empty": ["no checkpoint in"],
    "pgrun resume=../kept": ["no checkpoint in"],
    "pgrun resume=../broken": ["nothing to go on from"],
    "pgrun resume=../odd": ["nothing to go on from"],
    "pgrun resume=../garbage": ["nothing to go on from"],
    "pgrun resume=../kept resume=../empty": ["given 2 times"],
    "pgrun -m resume=../kept,../empty": ["one run is resumed at a time"],
    # environments
    "pgrun env=": ["no such option"],
    "pgrun env=cartpole": ["not registered with gymnasium; type env=CartPole-v1"],
    "pgrun env=[CartPole-v1]": ["the name of one option is needed"],
    "pgrun env=os:": ["not registered"],
    "pgrun env=os:Foo": ["not registered"],
    "pgrun env=:CartPole-v1": ["CartPole-v1"],
    "pgrun env=..:Foo": ["the name of one option is needed"],
    "pgrun env=a:b:c": ["cannot import a:b"],
    "pgrun env=bad_mod.sub:Foo-v0": ["'bad_mod' is not a package"],
    "pgrun env=raising_mod:Foo-v0": ["cannot import raising_mod: RuntimeError: no licence"],
    "pgrun env=leaving_mod:Foo-v0": ["cannot import leaving_mod: sys.exit(0)"],
    "pgrun env=syntax_mod:Foo-v0": ["SyntaxError"],
    "pgrun env=bad_mod:Missing-v0": ["not registered"],
    "pgrun env=bad_mod:NoEnv": ["NoEnv is a class, and an id is needed", "gymnasium.register"],
    "pgrun env=bad_mod:NoEnv-v0": ["must inherit from the gymnasium.Env class"],
    "pgrun env=bad_mod:NoEntry-v0": ["no attribute 'Missing'"],
    "pgrun env=bad_mod:Old-v0": ["observation space None: is not supported"],
    "pgrun env=bad_mod:InitLeaves-v0": ["cannot be made: sys.exit(0)"],
    "pgrun env=bad_mod:ResetRaises-v0": ["reset raised ValueError: broken in two lines"],
    "pgrun env=bad_mod:ResetLeaves-v0": ["reset called sys.exit(0)"],
    "pgrun env=bad_mod:ResetNone-v0": ["reset must return (observation, info)"],
    "pgrun env=bad_mod:ResetBare-v0": ["reset must return (observation, info)"],
    "pgrun env=bad_mod:ResetWide-v0": ["shape (3,), and its observation space (2,)"],
    "pgrun env=bad_mod:ResetText-v0": ["its observation has shape ()"],
    "pgrun env=bad_mod:ResetNan-v0": ["observation is nan"],
    "pgrun env=bad_mod:ResetNoSeed-v0": ["unexpected keyword argument 'seed'"],
    "pgrun env=bad_mod:NoSpace-v0": ["observation space None: is not supported"],
    "pgrun env=bad_mod:NoAction-v0": ["action space None: is not supported"],
    "pgrun env=bad_mod:GraphObs-v0": ["is not supported"],
    "pgrun env=bad_mod:TextObs-v0": ["is not supported"],
    "pgrun env=bad_mod:IntBox-v0": ["a Box of integers has no density"],
    "pgrun env=bad_mod:DictAct-v0": ["is not supported"],
    "pgrun env=bad_mod:EmptyBox-v0": ["has no entries"],
    "pgrun env=bad_mod:EmptyAct-v0": ["has no entries"],
    "pgrun env=bad_mod:HugeObs-v0": ["its observations have 1,000,000,000,000 entries"],
    "pgrun env=bad_mod:Fine-v0 env.kwargs.siz=3": ["{'siz': 3}", "unexpected keyword argument 'siz'"],
    "pgrun env.kwargs=3": ["must be a mapping"],
    "pgrun env.kwargs={1:2}": ["keywords must be strings"],
    "pgrun env.kwargs.render_mode=human": ["training draws nothing"],
    "pgrun env.kwargs.max_episode_steps=10": ["set env.max_episode_steps"],
    "pgrun env.kwargs.id=3": ["chosen with env="],
    # modules
    "pgrun modules=[leaving_mod]": ["cannot import leaving_mod: sys.exit(0)"],
    "pgrun modules=[1]": ["must be a string"],
    "pgrun modules=null": ["must be a list such as [name]"],
    "pgrun 'modules=[\"\"]'": ["cannot import"],
    # what does not fit together, or is read by nothing
    "pgrun variance=none sampler=steps": ["needs whole episodes"],
    "pgrun algo=npg network=shared": ["add network=separate"],
    "pgrun algo=trpo optimizer.lr=1e-3": ["takes its own step"],
    "pgrun algo=trpo optimizer=sgd": ["takes its own step"],
    "pgrun optimizer.momentum=0.9": ["a setting of optimizer=sgd"],
    "pgrun variance=n_step variance.lam=0.9": ["a setting of variance=gae"],
    "pgrun variance=q": ["needs Q(s, a)"],
    "pgrun critic=exact": ["it publishes no transition table"],
    "pgrun critic=action_value": ["cannot learn from critic=action_value"],
    "pgrun critic.fit=before network=shared": ["add network=separate"],
    "pgrun algo.minibatches=257 sampler.steps=64 env.num_envs=4": ["a batch has only 256 rows"],
    "pgrun algo=online_ac sampler=episodes": ["needs sampler=steps"],
    "pgrun algo=off_policy_pg sampler=steps": ["needs sampler=episodes"],
    "pgrun algo=off_policy_ac variance=gae": ["takes variance=q or advantage"],
    "pgrun algo=off_policy_ac sampler.capacity=10": ["the buffer holds only sampler.capacity=10"],
    "pgrun algo=off_policy_ac sampler.warmup=1e6 sampler.capacity=1e6": ["nothing would be learned"],
    "pgrun algo=reinforce sampler.steps=3": ["a setting of sampler="],
    # the other commands
    "pgrun-study env=nope": ["env=nope: no such option"],
    "pgrun-study batch=1 episodes=1": ["a variance needs two estimates"],
    "pgrun-study episodes=0": ["must be ≥ 1"],
    "pgrun-study gamma=nan": ["must be a finite number"],
    "pgrun-study schemes=[]": ["must be a list such as"],
    "pgrun-study schemes=[foo]": ["there is no foo"],
    "pgrun-study schemes=[none,none]": ["none stands there twice"],
    "pgrun-study 'schemes=[{gae:3}]'": ["must be a list such as"],
    "pgrun-study 'schemes=[{gae:{lam:2}}]'": ["gae.lam=2: must be in [0, 1]"],
    "pgrun-study variance=gae schemes=[none]": ["one of them"],
    "pgrun-study run=nowhere": ["no such folder"],
    "pgrun-study run=../empty": ["holds no policy"],
    "pgrun-study critic=run": ["add run=DIR"],
    "pgrun-study policy.theta=0.5": ["needs Discrete states and actions"],
    "pgrun-study reference=exact": ["publishes no transition table"],
    "pgrun-study algo=ppo": [NOT_A_SETTING],
    "pgrun-study device=cuda": [NOT_A_SETTING],
    "pgrun-study -m seed=range(2,0)": ["a range without values"],
    "pgrun-explain seed=-1": ["seed=-1: must be ≥ 0"],
    "pgrun-explain algo=foo": ["algo=foo: no such option"],
    "pgrun-explain 3": ["pgrun-explain seed=3"],
    "pgrun-play": ["name a run directory"],
    "pgrun-play nowhere": ["no such folder"],
    "pgrun-play ../empty": ["holds no policy"],
    "pgrun-play ../garbage": ["its policy cannot be read"],
    "pgrun-play ../empty --episodes 0": ["must be an integer in [1, 100000]"],
    "pgrun-play ../empty --episodes 1e400": ["must be an integer in [1, 100000]"],
    "pgrun-play ../empty --seed -1": ["must be an integer ≥ 0"],
    "pgrun-play ../empty --policy worst": ["'final', 'best'"],
    "pgrun-play ../empty --render --video d": ["one of them"],
    "pgrun-play ../empty --format gif": ["add --video DIR"],
    "pgrun-play ../empty extra": ["unrecognized arguments: extra"],
    "pgrun-compare": ["no run below outputs/ in this folder"],
    "pgrun-compare nowhere": ["no such directory"],
    "pgrun-compare ../empty": ["../empty: no run of pgrun in it"],
    "pgrun-compare ../bad_mod.py": ["is a file"],
    "pgrun-compare ../kept --at inf": ["inf: must be an integer ≥ 1"],
    "pgrun-compare ../kept --top 0": ["0: must be an integer ≥ 1"],
    "pgrun-compare ../kept --threshold nan": ["nan: must be a finite number"],
    "pgrun-compare ../kept --threshold x": ["x"],
    "pgrun-compare ../kept --curve median": ["'mean', 'iqm'"],
    "pgrun-compare ../kept --picture x.bmp": ["must end in .png"],
    "pgrun-compare ../kept --html nowhere/x.html": ["cannot be written"],
    "pgrun-compare ../kept --export x.xls": ["must end in .csv"],
}


WITHOUT_TORCH = [
    "pgrun seed=x",
    "pgrun optimizer.lr=0",
    "pgrun algo.clip=0",
    "pgrun critic.optimizer.lr=nan",
    "pgrun algo=pppo",
    "pgrun agorithm=ppo",
    "pgrun env=CartPol-v1",
    "pgrun variance=none sampler=steps",
    "pgrun algo=trpo network=shared",
    "pgrun algo=trpo optimizer.lr=1",
    "pgrun algo.minibatches=5000",
    "pgrun env.num_envs=1e12",
    "pgrun -m variance=gae,none seed=0,1",
    "pgrun resume=nowhere",
    "pgrun resume=../broken",
    "pgrun resume=../odd",
    "pgrun resume=../garbage",
    "pgrun-explain algo=pppo",
    "pgrun-study batch=0",
    "pgrun-play nowhere",
    "pgrun-play ../garbage",
    "pgrun-compare nowhere",
]


def prepare(folder: Path) -> None:
    """The modules and directories that the table speaks of, to be called from a folder in this one."""
    more_refusals.prepare(folder)
    (folder / "bad_mod.py").write_text(MODULE)
    (folder / "raising_mod.py").write_text("raise RuntimeError('no licence')\n")
    (folder / "leaving_mod.py").write_text("import sys\nsys.exit(0)\n")
    (folder / "syntax_mod.py").write_text("def f(:\n")
    for name in ("empty", "kept", "broken", "odd", "garbage"):
        (folder / name / "checkpoints").mkdir(parents=True)
    (folder / "empty" / "checkpoints").rmdir()
    (folder / "circle").symlink_to("circle")
    (folder / "kept" / "summary.json").write_text("{}")
    for name, manifest in (("broken", "{"), ("odd", "[]"), ("garbage", '{"format": 1, "size": 3}')):
        (folder / name / "checkpoints" / "000000100.json").write_text(manifest)
        (folder / name / "checkpoints" / "000000100.safetensors").write_bytes(b"\xff" * 100)
    (folder / "garbage" / "policy.json").write_text("[1]")
    (folder / "garbage" / "policy.safetensors").write_bytes(b"\xff" * 100)


@cache
def entry(name: str) -> str:
    """``module:function`` of a console script."""
    from importlib.metadata import entry_points

    return entry_points(group="console_scripts")[name].value


def said(command: str) -> Answer:
    name, *words = shlex.split(command)
    module, _, function = entry(name).partition(":")
    return answer(getattr(importlib.import_module(module), function), name, *words)


def report(lines: list[str]) -> None:
    """[exit code, whether torch is loaded] after each command."""
    print(json.dumps([[said(line).code, "torch._C" in sys.modules] for line in lines]))


def timed(command: str, folder: Path) -> tuple[float, int, str, bool]:
    """(seconds, exit code, what it said, whether torch was loaded) of a process of its own."""
    name, *words = shlex.split(command)
    module, _, function = entry(name).partition(":")
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: open('../loaded', 'w').write(str('torch._C' in sys.modules)))\n"
        f"from {module} import {function}\nsys.exit({function}())"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(folder.parent), os.environ.get("PYTHONPATH", ""))),
        },
        check=False,
    )
    seconds = time.perf_counter() - start
    return seconds, done.returncode, done.stderr, (folder.parent / "loaded").read_text() == "True"


def fork_and_time(command: str, folder: Path) -> tuple[float, int, str, bool]:
    """The same of a process forked from this one, which has not imported torch."""
    loaded = folder.parent / "loaded"

    def work() -> int:
        os.chdir(folder)
        sys.path.append(str(folder.parent))
        told = said(command)
        sys.stderr.write(told.out + told.err)
        loaded.write_text(str("torch._C" in sys.modules))
        return told.code

    end = forked(work)
    return end.seconds, end.code, end.out, loaded.read_text() == "True"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", nargs="?", default="", help="of a command")
    parser.add_argument("--forked", action="store_true", help="processes that have imported the command line")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th command")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        prepare(Path(top))
        here = Path(top, "here")
        here.mkdir()
        seconds, wrong = {}, 0
        table = TABLE | more_refusals.TABLE
        if given.forked:
            with contextlib.chdir(here):
                for line in WITHOUT_TORCH:
                    said(line)
        for command in [line for line in table if given.part in line][:: given.every]:
            answered = (fork_and_time if given.forked else timed)(command, here)
            seconds[command], code, told, torch = answered
            fine = code == 2 and "Traceback" not in told and not torch and not list(here.iterdir())
            fine = fine and all(fragment in told for fragment in table[command])
            wrong += not fine
            if not fine:
                print(
                    f"{command[:100]}: exit {code}{', torch was loaded' * torch}: {told.strip()[-300:]}",
                    flush=True,
                )
    slowest = max(seconds, key=lambda command: seconds[command])
    print(
        f"{len(seconds)} commands, {wrong} not refused as they should be; seconds: median "
        f"{statistics.median(seconds.values()):.2f}, maximum {seconds[slowest]:.2f} ({slowest[:60]})"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
