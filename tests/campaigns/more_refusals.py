"""More commands with a mistake in them, for the campaign alone: the suite tries each check at its own place.

The launchers and the search need their extras.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

EXPERIMENTS = {  # that include themselves, or each other
    "selfish": "defaults:\n  - /experiment: selfish\n",
    "selfish_by_name": "defaults:\n  - selfish_by_name\n",
    "this": "defaults:\n  - that\n",
    "that": "defaults:\n  - this\n",
    "calling": "hydra:\n  callbacks:\n    mine: {_target_: os.system}\n",
    "launching": "hydra:\n  launcher: {_target_: os.system}\n",
}
ONE_STATE = "P: [[[[1.0, 0, 0.0, {end}]]]]\nstart: {start}\n"
PROBLEMS: dict[str, str] = {  # files of a pgrun/Table-v0, in YAML
    "ends_maybe": ONE_STATE.format(end="maybe", start="[1]"),
    "ends_one": ONE_STATE.format(end="1", start="[1]"),
    "start_two": ONE_STATE.format(end="true", start="[0.5, 0.5]"),
    "start_half": ONE_STATE.format(end="true", start="[0.5]"),
    "start_text": ONE_STATE.format(end="true", start="first"),
    "seen_gap": ONE_STATE.format(end="true", start="[1]") + "seen: [3]\n",
    "seen_half": ONE_STATE.format(end="true", start="[1]") + "seen: [0.5]\n",
    "seen_two": ONE_STATE.format(end="true", start="[1]") + "seen: [0, 0]\n",
    "unknown": ONE_STATE.format(end="true", start="[1]") + "gamma: 0.9\n",
    "flat": "P: [1.0, 0, 0.0, true]\nstart: [1]\n",
    "text": "P: hello\nstart: [1]\n",
    "nothing": "",
    "three": "P: [[[[1.0, 0, 0.0]]]]\nstart: [1]\n",
    "no_actions": "P: [[]]\nstart: [1]\n",
    "no_outcome": "P: [[[]]]\nstart: [1]\n",
    "uneven": "P: [[[[1, 0, 0, true]]], [[[1, 0, 0, true]], [[1, 0, 0, true]]]]\nstart: [1, 0]\n",
    "nowhere": "P: [[[[1.0, 7, 0.0, true]]]]\nstart: [1]\n",
    "below": "P: [[[[1.0, -1, 0.0, true]]]]\nstart: [1]\n",
    "chance_two": "P: [[[[2.0, 0, 0.0, true]]]]\nstart: [1]\n",
    "chance_half": "P: [[[[0.5, 0, 0.0, true]]]]\nstart: [1]\n",
    "chance_true": "P: [[[[true, 0, 0.0, true]]]]\nstart: [1]\n",
    "reward_nan": "P: [[[[1.0, 0, .nan, true]]]]\nstart: [1]\n",
    "reward_large": "P: [[[[1.0, 0, 1.0e+39, true]]]]\nstart: [1]\n",
    "reward_text": "P: [[[[1.0, 0, much, true]]]]\nstart: [1]\n",
}


def arrays() -> dict[str, dict[str, Any]]:
    """Files of a pgrun/Table-v0, as arrays."""
    import numpy as np

    chances, reward, start = np.full((2, 1, 2), 0.5), np.zeros((2, 1)), np.array([1.0, 0.0])
    return {
        "complex": {"P": chances + 0j, "R": reward, "start": start},
        "words": {"P": chances, "R": reward, "start": np.array(["a", "b"])},
        "square": {"P": chances[:, 0], "R": reward, "start": start},
        "oblong": {"P": chances[:1], "R": reward[:1], "start": start},
        "rewards_of_others": {"P": chances, "R": np.zeros((3, 1)), "start": start},
        "start_of_others": {"P": chances, "R": reward, "start": np.ones(3) / 3},
        "start_square": {"P": chances, "R": reward, "start": start[:, None]},
        "too_likely": {"P": chances * 3, "R": reward, "start": start},
        "not_a_number": {"P": chances * np.nan, "R": reward, "start": start},
        "no_rewards": {"P": chances, "start": start},
    }


def prepare(folder: Path) -> None:
    """The files that the table speaks of, to be called from a folder in this one."""
    import numpy as np

    (folder / "own" / "experiment").mkdir(parents=True)
    for name, text in EXPERIMENTS.items():
        (folder / "own" / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}")
    (folder / "problems").mkdir()
    for name, text in PROBLEMS.items():
        (folder / "problems" / f"{name}.yaml").write_text(text)
    for name, held in arrays().items():
        np.savez(folder / "problems" / f"{name}.npz", **held)


PARALLEL = "pgrun -m seed=0,1 hydra/launcher=parallel hydra.launcher"
LOCAL = "pgrun -m seed=0,1 hydra/launcher=local hydra.launcher"
SEARCH = "pgrun -m hydra/sweeper=optuna"
LAKE = "pgrun env=FrozenLake-v1 env.kwargs"
PROBLEM = "pgrun env=pgrun/Table-v0 env.kwargs.file"
BELOW_2_63 = "must be an integer below 2^63"
NINES = "9" * 23
SHARED = "pgrun -m hydra/sweeper=optuna 'optimizer.lr=interval(1e-4,1e-2)'"
UNWRITABLE = "cannot be written"

TABLE: dict[str, list[str]] = {
    # numbers
    "pgrun network.logit_scale=0": ["must be > 0"],
    "pgrun network.logit_scale=1e39": ["must be what float32 holds"],
    "pgrun algo.entropy=1e39": ["must be what float32 holds"],
    "pgrun trainer.stop_at_return=1e39": ["must be what float32 holds"],
    "pgrun gamma=1e-60": ["must be what float32 holds"],
    "pgrun optimizer.eps=1e-60": ["must be what float32 holds"],
    "pgrun optimizer=adamw optimizer.weight_decay=1e200": ["must be what float32 holds"],
    "pgrun optimizer.betas=[0.9,1]": ["must be in [0, 1)"],
    "pgrun env=Pendulum-v1 network.log_std=-1e6": ["must be in [-20, 20]"],
    "pgrun env.max_episode_steps=0": ["must be ≥ 1"],
    "pgrun env.max_episode_steps=1.5": ["must be an integer"],
    "pgrun env.num_envs=0": ["must be ≥ 1"],
    "pgrun env.vector=fast": ["must be one of auto, loop, native"],
    "pgrun env.restart=maybe": ["must be true or false"],
    "pgrun backend=jax": ["must be one of auto, torch, compiled"],
    "pgrun device=tpu": ["must be one of cpu, cuda, auto"],
    f"pgrun seed={NINES}": [BELOW_2_63],
    f"pgrun -m seed=0,{NINES}": [BELOW_2_63],
    f"pgrun seeds=[0,{NINES}]": [BELOW_2_63],
    "pgrun seeds=[0,0]": ["the same seed twice"],
    "pgrun seeds=[]": ["name at least one"],
    "pgrun seeds=[-1]": ["must be ≥ 0"],
    # options
    "pgrun algo=null": ["the name of one option is needed"],
    "pgrun critic=null": ["the name of one option is needed"],
    "pgrun critic.optimizer=null": ["critic/optimizer=adam"],
    "pgrun --config-dir ../own experiment=selfish": ["a file that names itself"],
    "pgrun --config-dir ../own experiment=selfish_by_name": ["a file that names itself"],
    "pgrun --config-dir ../own experiment=this": ["or two that name each other"],
    # Hydra's own
    "pgrun --config-dir ../own experiment=calling": ["pgrun calls nobody's code"],
    "pgrun -m --config-dir ../own experiment=launching seed=0,1": ["no launcher of Hydra's"],
    "pgrun +hydra.callbacks.mine._target_=os.system": ["not for pgrun"],
    "pgrun hydra.callbacks=null": ["not for pgrun"],
    "pgrun hydra.job_logging.handlers.file.class=os.system": ["not for pgrun"],
    "pgrun -m hydra.launcher._target_=os.system seed=0,1": ["chosen by name, never by a path"],
    "pgrun -m hydra.sweeper._target_=os.system seed=0,1": ["chosen by name, never by a path"],
    "pgrun hydra.job.name=a/b": ["a name for the log is needed"],
    "pgrun hydra.output_subdir=null": ["keeps its configuration in .hydra"],
    "pgrun hydra.mode=MULTIRUN": ["type pgrun -m instead"],
    "pgrun -m hydra.mode=RUN seed=0,1": ["type pgrun instead"],
    "pgrun hydra.searchpath=[file://nowhere]": ["leads to nothing"],
    "pgrun hydra.searchpath=[pkg://nothing.here]": ["leads to nothing"],
    "pgrun hydra.searchpath=[nothing]": ["leads to nothing"],
    "pgrun hydra.searchpath=[http://nothing]": ["No config source registered for schema http"],
    "pgrun hydra.searchpath=3": ["must be a list of strings"],
    # folders
    """pgrun hydra.run.dir='""'""": ["the name of a folder is needed"],
    """pgrun "hydra.run.dir=' '" """.strip(): ["the name of a folder is needed"],
    "pgrun hydra.run.dir=checkpoints": ["a run keeps files of its own"],
    "pgrun hydra.run.dir=../kept/checkpoints": ["belongs to the run in ../kept"],
    "pgrun hydra.run.dir=../kept/checkpoints/x": ["belongs to the run in"],
    "pgrun hydra.run.dir=/proc/x": [UNWRITABLE],
    "pgrun hydra.run.dir=../bad_mod.py/x": [UNWRITABLE],
    f"pgrun hydra.run.dir={'a/' * 3000}": ["File name too long"],
    f"pgrun hydra.run.dir={'a' * 300}": ["File name too long"],
    "pgrun -m hydra.sweep.dir=/proc/x seed=0,1": [UNWRITABLE],
    """pgrun -m hydra.sweep.dir='""' seed=0,1""": ["the name of a folder is needed"],
    f"pgrun -m hydra.sweep.dir={'a/' * 3000} seed=0,1": ["File name too long"],
    "pgrun -m hydra.sweep.subdir=../N seed=0,1": ["each job needs a folder inside hydra.sweep.dir"],
    "pgrun -m hydra.sweep.subdir=/tmp/N seed=0,1": ["each job needs a folder inside hydra.sweep.dir"],
    "pgrun -m hydra.sweep.subdir=. seed=0,1": ["each job needs a folder inside hydra.sweep.dir"],
    "pgrun -m hydra.sweep.subdir=same seed=0,1": ["the folder of two jobs"],
    "pgrun-study hydra.run.dir=r/checkpoints": ["a run keeps files of its own"],
    "pgrun-study hydra.run.dir=/proc/x": [UNWRITABLE],
    # launchers, sweepers
    f"{PARALLEL}.n_jobs=0": ["must be ≥ 1, or −1"],
    f"{PARALLEL}.n_jobs=1.5": ["could not be converted to Integer"],
    f"{PARALLEL}.prefer=threads": ["must be one of processes"],
    f"{PARALLEL}.require=sharedmem": ["must be one of null"],
    f"{PARALLEL}.timeout=-1": ["must be > 0"],
    f"{PARALLEL}.pre_dispatch=lots": ["must be all, or a number such as"],
    f"{PARALLEL}.batch_size=0": ["must be auto or ≥ 1"],
    f"{PARALLEL}.max_nbytes=much": ["must be a size such as 100M"],
    f"{PARALLEL}.temp_folder=/proc/x": [UNWRITABLE],
    f"{PARALLEL}.jobs=3": ["no such setting"],
    f"{LOCAL}.timeout_min=-1": ["must be ≥ 1"],
    f"{LOCAL}.tasks_per_node=2": ["must be one of 1"],
    f"{LOCAL}.nodes=0": ["must be one of 1"],
    f"{LOCAL}.submitit_folder=/proc/x": [UNWRITABLE],
    "pgrun -m hydra.sweeper.max_batch_size=0 seed=0,1": ["must be ≥ 1"],
    "pgrun -m hydra.sweeper.params=3": ["Cannot assign int"],
    f"{SEARCH} seed=0,1": ["type seeds=[0,1,2] for these"],
    f"{SEARCH} hydra.sweeper.n_trials=0 'optimizer.lr=interval(1e-4,1e-2)'": ["must be ≥ 1"],
    f"{SEARCH} hydra.sweeper.n_jobs=0 'optimizer.lr=interval(1e-4,1e-2)'": ["must be ≥ 1"],
    f"{SEARCH} hydra.sweeper.direction=up 'optimizer.lr=interval(1e-4,1e-2)'": ["no such setting"],
    f"{SEARCH} 'optimizer.lr=interval(1e-2,1e-4)'": ["from a number to a greater one"],
    f"{SEARCH} 'optimizer.lr=interval(-1,1)'": ["must be > 0"],
    # environments that are tables
    f"{LAKE}.desc=[FF,FG]": ["start must be 4 probabilities"],
    f"{LAKE}.desc=[SFF,FG]": ["cannot be made"],
    f"{LAKE}.desc=[]": ["cannot be made"],
    f"{LAKE}.map_name=9x9": ["cannot be made"],
    f"{LAKE}.success_rate=7": ["is none in [0, 1]"],
    f"{LAKE}.success_rate=-1": ["is none in [0, 1]"],
    f"{LAKE}.success_rate=often": ["cannot be made"],
    f"{LAKE}.reward_schedule=[1e39,0,0]": ["finite as float32"],
    f"{LAKE}.reward_schedule=[1]": ["cannot be made"],
    "pgrun env=pgrun/Table-v0": ["name the file that holds it"],
    f"{PROBLEM}=nowhere.yaml": ["No such file"],
    f"{PROBLEM}=..": ["no plain file"],
    f"{PROBLEM}=../problems/ends_maybe.yaml": ["end 'maybe': true or false is needed"],
    f"{PROBLEM}=../problems/ends_one.yaml": ["end 1: true or false is needed"],
    f"{PROBLEM}=../problems/start_two.yaml": ["start must be 1 probabilities"],
    f"{PROBLEM}=../problems/start_half.yaml": ["start must be 1 probabilities"],
    f"{PROBLEM}=../problems/start_text.yaml": ["start must be 1 probabilities"],
    f"{PROBLEM}=../problems/seen_gap.yaml": ["without gaps"],
    f"{PROBLEM}=../problems/seen_half.yaml": ["must be a list of integers"],
    f"{PROBLEM}=../problems/seen_two.yaml": ["must have 1 entries"],
    f"{PROBLEM}=../problems/unknown.yaml": ["gamma: no such entry"],
    f"{PROBLEM}=../problems/flat.yaml": ["P must be a list by state"],
    f"{PROBLEM}=../problems/text.yaml": ["P must be a list by state"],
    f"{PROBLEM}=../problems/nothing.yaml": ["must hold P and start"],
    f"{PROBLEM}=../problems/three.yaml": ["P[0][0] must be a list of [probability"],
    f"{PROBLEM}=../problems/no_actions.yaml": ["the same number of actions, at least one"],
    f"{PROBLEM}=../problems/no_outcome.yaml": ["add up to 0, not to 1"],
    f"{PROBLEM}=../problems/uneven.yaml": ["the same number of actions"],
    f"{PROBLEM}=../problems/nowhere.yaml": ["next state 7"],
    f"{PROBLEM}=../problems/below.yaml": ["next state -1"],
    f"{PROBLEM}=../problems/chance_two.yaml": ["is none in [0, 1]"],
    f"{PROBLEM}=../problems/chance_half.yaml": ["add up to 0.5, not to 1"],
    f"{PROBLEM}=../problems/chance_true.yaml": ["is none in [0, 1]"],
    f"{PROBLEM}=../problems/reward_nan.yaml": ["finite as float32"],
    f"{PROBLEM}=../problems/reward_large.yaml": ["finite as float32"],
    f"{PROBLEM}=../problems/reward_text.yaml": ["reward much: a number is needed"],
    f"{PROBLEM}=../problems/complex.npz": ["P must be of real numbers, not complex128"],
    f"{PROBLEM}=../problems/words.npz": ["start must be of real numbers"],
    f"{PROBLEM}=../problems/square.npz": ["a .npz must hold P [S, A, S]"],
    f"{PROBLEM}=../problems/oblong.npz": ["P must be [S, A, S], and is [1, 1, 2]"],
    f"{PROBLEM}=../problems/rewards_of_others.npz": ["R must be [2, 1] or [2, 1, 2]"],
    f"{PROBLEM}=../problems/start_of_others.npz": ["start must be 2 probabilities"],
    f"{PROBLEM}=../problems/start_square.npz": ["start must be 2 probabilities"],
    f"{PROBLEM}=../problems/too_likely.npz": ["is none in [0, 1]"],
    f"{PROBLEM}=../problems/not_a_number.npz": ["is none in [0, 1]"],
    f"{PROBLEM}=../problems/no_rewards.npz": ["a .npz must hold P [S, A, S]"],
    # the other commands
    f"pgrun-study seed={NINES}": [BELOW_2_63],
    "pgrun-study run=''": ["holds no policy"],
    f"pgrun-explain seed={NINES}": [BELOW_2_63],
    "pgrun-compare ''": ["a name or a value is missing"],
    "pgrun-compare ../kept ''": ["a name or a value is missing"],
    "pgrun-compare ../kept --html=": ["a name or a value is missing"],
    "pgrun-compare ../kept --html ..": ["must end in .html"],
    "pgrun-compare ../kept --html /proc/x.html": [UNWRITABLE],
    "pgrun-compare ../kept --export /proc/x.csv": [UNWRITABLE],
    "pgrun-compare ../kept --export ../bad_mod.py/x.csv": [UNWRITABLE],
    "pgrun-compare ../kept --picture /proc/x.png": [UNWRITABLE],
    "pgrun-compare ../kept --picture nowhere/x.png": [UNWRITABLE],
    "pgrun-doctor": ["name a run directory"],
    "pgrun-doctor ''": ["a name or a value is missing"],
    "pgrun-doctor nowhere": ["no such directory"],
    "pgrun-doctor ../empty": ["holds no run"],
    "pgrun-doctor ../bad_mod.py": ["is a file"],
    "pgrun-doctor ../kept --json x": ["unrecognized arguments"],
    "pgrun-play ''": ["a name or a value is missing"],
    "pgrun-play ../empty --episodes 99999999999": ["must be an integer in [1, 100000]"],
    f"pgrun-play ../empty --seed {NINES}": ["≥ 0 and below 2^63"],
    "pgrun-play ../empty --seed 1.5": ["must be an integer ≥ 0"],
    "pgrun-play ../empty --max-steps 0": ["must be an integer ≥ 1"],
    "pgrun-play ../empty --export /proc/x.onnx": [UNWRITABLE],
    "pgrun-play ../empty --video=": ["a name or a value is missing"],
    f"{SHARED} hydra.sweeper.storage=j": ["add hydra.sweeper.study="],
    f"{SHARED} hydra.sweeper.study=s": ["of which storage?"],
    f"{SHARED} hydra.sweeper.study=s hydra.sweeper.storage=postgresql://me:secret@h/d": ["a password in it"],
    f"{SHARED} hydra.sweeper.study=s hydra.sweeper.storage=postgresql://h": ["name a database"],
    f"{SHARED} hydra.sweeper.study=s hydra.sweeper.storage=mysql://h/d": ["allowed are postgresql://"],
    f"{SHARED} hydra.sweeper.study=s hydra.sweeper.storage=/nowhere/j": ["/nowhere/j does not exist"],
    f"{SHARED} hydra.sweeper.study=s hydra.sweeper.storage=/dev/zero": ["a pipe or a device"],
    f"{SHARED} hydra.sweeper.study=s hydra.sweeper.storage=[a]": ["must be a string"],
    "pgrun 'env.wrappers=[{name:ClipReward,min:2}]'": ["unexpected keyword argument 'min'"],
    "pgrun env.wrappers=[os:system]": ["os has no gymnasium.Wrapper of that name"],
    "pgrun env.wrappers=[3]": ["env.wrappers=3: is no wrapper"],
    "pgrun env=CartPole-v1 env.action_mask=true": ["tells no mask"],
    "pgrun algo=reinforce variance=group sampler.group=3 sampler.episodes=4": [
        "must divide sampler.episodes=4"
    ],
    "pgrun algo=reinforce variance=group sampler.group=1": ["compares episodes from the same start"],
    "pgrun reference.policy=/nowhere": ["no such folder"],
    "pgrun reference.beta=0.2": ["there is no reference policy"],
    "pgrun algo=off_policy_pg algo.weights=v_trace": ["add variance=td0"],
    "pgrun algo=off_policy_pg algo.rho_bar=inf": ["must be a finite number"],
    "pgrun logger.also=[neptune]": ["must be one of wandb, mlflow"],
    "pgrun-lab nothing": ["there is no such experiment"],
    "pgrun-lab ''": ["a name or a value is missing"],
}
