"""Crash campaign: runs killed by SIGKILL, resumed, and compared bit for bit with the run that nobody killed.

    python tests/campaigns/crashes.py                 all of it: half an hour on one core
    python tests/campaigns/crashes.py --kills 10      a tenth of the random ones
    python tests/campaigns/crashes.py --only NAME …   some of the sections
    python tests/campaigns/crashes.py --backend torch the other way to compute

Every run is a process of its own; every resume is the command ``pgrun resume=DIR``. Exit code 1 if any
comparison fails.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pgrun.training.loop as training
from pgrun.cli import main as cli
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.backends import find_unknown_to_kernels
from pgrun.training.build import build_run
from tests.helpers.support_disk import Disk, Strike, kill_at, never
from tests.helpers.support_fork import End, folder_in_memory, forked
from tests.helpers.support_pipeline import settings
from tests.helpers.support_resume import StepCounter, differences, trace
from tests.helpers.support_tracker import find_tracked, track_into_files

COMMON = ["network.hidden=[8]", "trainer.eval_episodes=2", "state_norm=true"]
PRACTICE = ["reward_scaling=true", "optimizer.schedule=linear", "tuned=none", "env.num_envs=3"]
CASES = {  # 8 to 12 updates each; episodes are cut short, so that they end, and rows reset, within the run
    "ppo CartPole-v1": (
        "sampler.steps=16 trainer.total_steps=480 trainer.eval_every=150 algo.clip_schedule=linear"
    ),
    "trpo Pendulum-v1": "sampler.steps=16 trainer.total_steps=480 env.max_episode_steps=30",
    "off_policy_ac Pendulum-v1": "sampler.steps=4 sampler.batch=8 sampler.warmup=24 sampler.capacity=64 "
    "trainer.total_steps=120 env.max_episode_steps=9 critic/optimizer=adam variance.discounting=from_start",
    "ppo_penalty HalfCheetah-v5": (
        "sampler.steps=8 trainer.total_steps=240 trainer.eval_every=100 env.max_episode_steps=15"
    ),
    "reinforce CartPole-v1": "sampler.episodes=2 trainer.total_steps=400 env.max_episode_steps=40",
    "a2c FrozenLake-v1": "sampler.steps=8 trainer.total_steps=200 network=shared",
    "online_ac CartPole-v1": "trainer.total_steps=140",
    "a2c CartPole-v1 iterations": (  # several updates in one call of a kernel, between rows and checkpoints
        "sampler.steps=4 trainer.total_steps=480 trainer.checkpoint_every=60 logger.every=6 "
        "state_norm=false reward_scaling=false diagnostics.gradient_every=0 env.max_episode_steps=25"
    ),
    "off_policy_ac CartPole-v1 iterations": (
        "sampler.steps=4 sampler.batch=8 sampler.warmup=24 sampler.capacity=64 trainer.total_steps=360 "
        "trainer.checkpoint_every=60 logger.every=6 state_norm=false reward_scaling=false "
        "diagnostics.gradient_every=0 env.max_episode_steps=25"
    ),
    "off_policy_ac Pendulum-v1 updates": (
        "sampler.steps=4 sampler.batch=8 sampler.warmup=24 sampler.capacity=64 trainer.total_steps=360 "
        "trainer.checkpoint_every=60 logger.every=6 diagnostics.gradient_every=0 env.max_episode_steps=25"
    ),
    "ppo Hopper-v5 simulators": "sampler.steps=16 trainer.total_steps=480 trainer.eval_every=200",
    "npg InvertedPendulum-v5 simulators": (
        "sampler=episodes sampler.episodes=3 trainer.total_steps=360 env.max_episode_steps=25"
    ),
    "ppo Pendulum-v1 wrappers": (
        "sampler.steps=16 trainer.total_steps=480 env.max_episode_steps=30 policy=state_std "
        "env.wrappers=[TimeAwareObservation,{name:ClipReward,min_reward:-2,max_reward:1}]"
    ),
    "ppo Taxi-v4 masks": (
        "sampler.steps=16 trainer.total_steps=480 env.max_episode_steps=20 env.action_mask=true"
    ),
    "ppo pgrun/TokenTree-v0 groups": (
        "++env.kwargs.rule=answer ++env.kwargs.prompts=4 gamma=1 sampler=episodes variance=group "
        "variance.kind=grpo sampler.group=4 sampler.episodes=8 env.num_envs=8 trainer.total_steps=200 "
        "advantage_norm=none reward_scaling=false reference.policy=start reference.place=both"
    ),
    "off_policy_pg CartPole-v1 v_trace": (
        "algo.weights=v_trace variance=td0 advantage_norm=none sampler.episodes=2 trainer.total_steps=300 "
        "env.max_episode_steps=30"
    ),
    "storm_pg CartPole-v1 memory": (
        "sampler.episodes=3 trainer.total_steps=400 env.max_episode_steps=25 advantage_norm=none"
    ),
    "a2c CartPole-v1 vine": (
        "env.vector=loop variance=td0 critic=vine critic.continuations=2 sampler=episodes sampler.episodes=2 "
        "trainer.total_steps=2000 env.max_episode_steps=12 optimizer.schedule=linear state_norm=false "
        "reward_scaling=false"
    ),
    "a2c CartPole-v1 fitted_q": (
        "sampler.steps=8 variance=all_actions critic=fitted_q advantage_norm=none trainer.total_steps=240 "
        "env.max_episode_steps=25"
    ),
    "off_policy_pg CartPole-v1 retrace": (
        "algo.weights=retrace variance=advantage critic=fitted_q advantage_norm=none sampler.episodes=2 "
        "trainer.total_steps=300 env.max_episode_steps=30"
    ),
    "ppo LunarLander-v3 async": (  # episodes under way are played again, in processes
        "sampler.steps=16 trainer.total_steps=480 env.max_episode_steps=30 env.vector=async"
    ),
    "a2c CartPole-v1 trackers": "sampler.steps=16 trainer.total_steps=480 logger.also=[wandb]",
}
OWN = {
    "trpo": ["optimizer.schedule=linear"],
    "npg": ["optimizer.schedule=linear"],
    "online_ac": ["env.num_envs=3"],
    "storm_pg": ["reward_scaling=true"],
}  # words of PRACTICE that they do not take


def composed(name: str, checkpoint_every: int, backend: str = "auto") -> dict[str, Any]:
    """A case's settings; of one whose choices have no kernels with ``backend=auto`` in place of compiled."""
    algo, env = name.split()[:2]
    practice = [word for word in PRACTICE if word not in OWN.get(algo, ())]
    words = [f"algo={algo}", f"env={env}", f"backend={backend}", *COMMON, *practice, *CASES[name].split()]
    made = settings(f"trainer.checkpoint_every={checkpoint_every}", *words)
    unknown = backend == "compiled" and any(find_unknown_to_kernels(made))
    return composed(name, checkpoint_every) if unknown else made


@dataclass
class Case:
    """A configuration, what it leaves uninterrupted, and where its processes do."""

    name: str
    own: dict[str, Any]
    top: Path
    reference: dict[str, str] = field(default_factory=dict)
    tracked: dict[int, Any] = field(default_factory=dict)
    env_steps: int = 0
    played: int = 0
    updates: int = 0
    seconds: float = 0.0
    calls: list[tuple[str, Path]] = field(default_factory=list)

    @classmethod
    def straight(cls, name: str, top: Path, checkpoint_every: int = 1, backend: str = "auto") -> Case:
        case = cls(name, composed(name, checkpoint_every, backend), top)
        folder = case.fresh()
        end = forked(partial(start, case.own, folder))
        if end.code != 0:
            raise RuntimeError(f"{name}: exit code {end.code}: {end.out}")
        state, _ = Checkpoints(folder / "checkpoints").load()
        case.reference, case.seconds = trace(folder), end.seconds
        case.tracked = find_tracked(folder) if case.own["logger"]["also"] else {}
        case.env_steps, case.updates = state["counters"]["env_steps"], state["counters"]["updates"]
        case.played = count_played(state)
        case.calls = calls_of(case)
        return case

    def fresh(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="run_", dir=self.top))


def calls_of(case: Case) -> list[tuple[str, Path]]:
    """Every call by which the run changes a file, in order."""
    folder, note = case.fresh(), case.fresh() / "calls"

    def work() -> None:
        disk = Disk(folder, never)
        with disk.watched():
            start(case.own, folder)
        note.write_text("\n".join(f"{call}\t{path}" for call, path in disk.calls))

    assert forked(work).code == 0
    pairs = (line.split("\t") for line in note.read_text().splitlines())
    return [(call, Path(path).relative_to(folder)) for call, path in pairs]


def start(own: dict[str, Any], folder: Path) -> None:
    training.train_run(build_run(own), folder)


def resume(folder: Path, columns: int, note: Path) -> int:
    """The command; the steps that it made go to ``note``."""
    counter = StepCounter(columns)
    code = cli.run_guarded(lambda: cli.dispatch_command([f"resume={folder}"]), "pgrun")
    note.write_text(str(counter.steps))
    return code


def watched(folder: Path, strike: Strike, work: Callable[[], Any]) -> None:
    with Disk(folder, strike).watched():
        work()


def dying(updates: int, work: Callable[[], Any]) -> None:
    """SIGKILL once so many updates have been made, and all that belongs to them."""
    left, collect = iter(range(updates)), training.update_from_rollout

    def update(*given: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return collect(*given)

    training.update_from_rollout = update
    work()


@dataclass
class Tally:
    """Of one section."""

    killed: int = 0
    equal: int = 0
    unsaved: int = 0  # killed before the first checkpoint was complete: nothing had been learned
    steps: int = 0  # that the resumed processes executed: as many as remained
    items: int = 0  # of checkpoints, lost one at a time
    failures: list[str] = field(default_factory=list)


def judge(case: Case, folder: Path, tally: Tally, where: str) -> None:
    """Resume what was killed, and compare."""
    try:
        state, _ = Checkpoints(folder / "checkpoints").load()
    except LookupError:
        tally.unsaved += 1
        shutil.rmtree(folder)
        return
    over = state["final"] is not None and (folder / "summary.json").exists()
    note = case.fresh() / "steps"
    end = forked(partial(resume, folder, case.own["env"]["num_envs"], note))
    remaining = case.played - count_played(state)
    executed = int(note.read_text()) if note.exists() else -1
    wrong = [] if end.code == (2 if over else 0) else [f"exit code {end.code}: {end.out[-500:]}"]
    wrong += [] if executed == remaining else [f"{executed} steps executed, {remaining} remained"]
    wrong = wrong or differences(case.reference, trace(folder)) or tracked_otherwise(case, folder)
    tally.equal += not wrong
    tally.steps += executed
    tally.failures += [f"{case.name}, {where}: {', '.join(wrong)}"] if wrong else []
    shutil.rmtree(folder)
    shutil.rmtree(note.parent)


def count_played(state: Mapping[str, Any]) -> int:
    """Environment steps of the sampler: those of a critic's continuations are counted beside them."""
    counters = state["counters"]
    return int(counters["env_steps"] - counters["continued"])


def tracked_otherwise(case: Case, folder: Path) -> list[str]:
    """What is wrong with what a tracker was told, over all processes of the run."""
    if not case.tracked:
        return []
    try:
        return [] if find_tracked(folder) == case.tracked else ["its tracker has other rows"]
    except ValueError as error:
        return [str(error)]


def count(case: Case, end: End, folder: Path, tally: Tally, where: str) -> None:
    """A run that was ended by the kill is judged; one that was faster is none of ours."""
    if end.killed:
        tally.killed += 1
        judge(case, folder, tally, where)
    elif end.code != 0:
        tally.failures.append(f"{case.name}, {where}: exit code {end.code}: {end.out[-500:]}")
    else:
        shutil.rmtree(folder)


def at_random_times(cases: Sequence[Case], kills: int, dice: random.Random, tally: Tally) -> None:
    """Anywhere between the start of the process and its end."""
    number = 0
    while tally.killed - tally.unsaved < kills and number < 10 * kills:
        case, number = cases[number % len(cases)], number + 1
        folder, after = case.fresh(), dice.uniform(0, case.seconds)
        count(case, forked(partial(start, case.own, folder), after), folder, tally, f"after {after:.3f} s")


def at_every_update(cases: Sequence[Case], _kills: int, _dice: random.Random, tally: Tally) -> None:
    for case in cases:
        for updates in range(case.updates + 1):
            folder = case.fresh()
            end = forked(partial(dying, updates, partial(start, case.own, folder)))
            count(case, end, folder, tally, f"after update {updates}")
            if end.code == 0:
                break  # the updates that are made one by one are over


def inside(case: Case, number: int, dice: random.Random, tally: Tally) -> None:
    """One kill at a call that changes a file, with a part of it written."""
    folder, share = case.fresh(), dice.choice([0.0, dice.random(), 1.0])
    end = forked(partial(watched, folder, kill_at(number, share), partial(start, case.own, folder)))
    call, path = case.calls[number - 1]
    count(case, end, folder, tally, f"in call {number}, {call} of {path}, {share:.2f} of it written")


def in_writes(cases: Sequence[Case], kills: int, dice: random.Random, tally: Tally) -> None:
    """Of everything that is no checkpoint: every kind of call on every kind of file, and more at random."""
    for case in cases:
        numbers = {
            n: kind(call) for n, call in enumerate(case.calls, 1) if "checkpoints" not in call[1].parts
        }
        firsts = {one: n for n, one in reversed(numbers.items())}
        more = dice.sample(sorted(numbers), min(len(numbers), max(kills // len(cases) // 2, 1)))
        for number in sorted({*firsts.values(), *more}):
            inside(case, number, dice, tally)


def kind(call: tuple[str, Path]) -> tuple[str, str]:
    return call[0], "events" if "tfevents" in call[1].name else call[1].name


def while_saving(cases: Sequence[Case], kills: int, dice: random.Random, tally: Tally) -> None:
    """Twice as many as the others, at any call by which any checkpoint but the first is written."""
    for k in range(2 * kills):
        case = cases[k % len(cases)]
        numbers = [n for n, (_, path) in enumerate(case.calls, 1) if "checkpoints" in path.parts]
        moves = [n for n in numbers if case.calls[n - 1][0] == "replace"]  # moves[1]: of the first manifest
        inside(case, dice.choice([n for n in numbers if n > moves[1]]), dice, tally)


def in_chains(cases: Sequence[Case], kills: int, dice: random.Random, tally: Tally) -> None:
    """Ten kills in a row, of the run and of those that resume it: between two updates, or at any call that
    changes a file.
    """
    for case in cases:
        folder, links = case.fresh(), 0
        work: Callable[[], Any] = partial(start, case.own, folder)
        while links < 10:
            way = dice.choice([partial(dying, dice.randint(0, 1)), partial(watched, folder, anywhere(dice))])
            end = forked(partial(way, work))
            if not end.killed:
                break
            links += 1
            if any((folder / "checkpoints").glob("*.json")):
                work = partial(resume, folder, case.own["env"]["num_envs"], case.fresh() / "steps")
        tally.killed += links
        judge(case, folder, tally, f"a chain of {links} kills")


def anywhere(dice: random.Random) -> Strike:
    return kill_at(dice.randint(1, 60), dice.random())


def without_an_item(cases: Sequence[Case], _kills: int, _dice: random.Random, tally: Tally) -> None:
    """Negative control: every leaf of the checkpoint is replaced in turn by that of another seed, and must be
    missed somewhere.

    Not in every case: whole episodes do not go on from one update to the next, and only some algorithms have
    a β.
    """
    missed: dict[str, bool] = {}
    for case in cases:
        folder, state = halfway(case)
        tally.killed += 1
        if is_missed(case, folder, state):
            tally.failures.append(f"{case.name}: the whole checkpoint is missed")
        others = {
            "run": build_run({**case.own, "seed": 1}).state_dict(),
            "counters": vars(training.Counters()),
        }
        for path in leaves({name: state[name] for name in others}):
            spoilt = replaced(state, others, path)
            missed[".".join(path)] = missed.get(".".join(path), False) or is_missed(case, folder, spoilt)
            tally.items += 1
        shutil.rmtree(folder)
    tally.failures += [
        f"nothing misses {name}" for name, seen in missed.items() if not seen and name not in IDLE
    ]


def halfway(case: Case) -> tuple[Path, dict[str, Any]]:
    """A run killed in its second half, if possible where an episode has just ended; where many updates are
    made in one call, after the last that is made alone before that.
    """
    half = case.updates // 2
    for updates in (*range(half, case.updates), *range(half)[::-1]):
        folder = case.fresh()
        end = forked(partial(dying, updates, partial(start, case.own, folder)))
        assert end.killed or end.code == 0, end.out
        if end.killed:
            state, _ = Checkpoints(folder / "checkpoints").load()
            if updates < half or updates + 1 == case.updates or state["run"]["envs"]["ended"].any():
                return folder, state
        shutil.rmtree(folder)
    raise AssertionError(f"{case.name}: no update is made alone")


IDLE = {  # what these runs do not read, or write anew before anything reads it
    "run.envs.active",  # by every sampler, for each rollout
    "counters.restarts",  # none in these runs
    "counters.next_film",  # likewise
    *(f"run.reference.obs_{name}" for name in ("count", "mean", "squares")),  # 0: of the first policy
}


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict) and "bit_generator" not in node:
        for name, x in node.items():
            yield from leaves(x, (*path, name))
    elif not isinstance(node, dict) or node:
        yield path


def replaced(state: dict[str, Any], others: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """A copy whose item at ``path`` is that of the others; what they do not have is left out."""
    name, *rest = path
    result = dict(state)
    if rest:
        result[name] = replaced(state[name], others.get(name, {}), rest)
    elif name in others:
        result[name] = others[name]
    else:
        del result[name]
    return result


def is_missed(case: Case, folder: Path, state: dict[str, Any]) -> bool:
    """Whether a resume from this state is refused, fails, or ends in something else
    than the uninterrupted run.
    """
    copy = case.fresh()
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    end = forked(lambda: training.train_run(build_run(case.own), copy, state) and None)
    different = end.code != 0 or differences(case.reference, trace(copy)) != []
    shutil.rmtree(copy)
    return different


SECTIONS: dict[str, Callable[[Sequence[Case], int, random.Random, Tally], None]] = {
    "at_random_times": at_random_times,
    "at_every_update": at_every_update,
    "in_writes": in_writes,
    "while_saving": while_saving,
    "in_chains": in_chains,
    "without_an_item": without_an_item,
}


def conducted(
    names: Sequence[str], cases: Sequence[Case], kills: int, seed: int
) -> Iterator[tuple[str, Tally]]:
    """Each section with what it came to; Ctrl-C or SIGTERM ends the last of them where it is."""
    stopped = False
    for name in names:
        begun, tally = time.monotonic(), Tally()
        try:
            SECTIONS[name](cases, kills, random.Random(seed), tally)
        except KeyboardInterrupt:
            stopped = True
        columns = (tally.killed, tally.unsaved, tally.equal, len(tally.failures), tally.steps, tally.items)
        shown = "".join(f"{x:>12}" for x in columns)
        end = "  stopped" if stopped else ""
        print(f"{name:<18}{shown}{time.monotonic() - begun:>8.0f} s{end}", flush=True)
        yield name, tally
        if stopped:
            return


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="at random times; twice as many while saving")
    parser.add_argument("--seed", type=int, default=0, help="of the times and places of the kills")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--cases", nargs="+", metavar="CASE", default=list(CASES), choices=list(CASES))
    parser.add_argument("--backend", default="auto", choices=["auto", "torch", "compiled"])
    given = parser.parse_args(argv)
    track_into_files()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="crashes_", dir=folder_in_memory()) as name:
        cases = [Case.straight(one, Path(name), backend=given.backend) for one in given.cases]
        for case in cases:
            print(
                f"{case.name:<28}{case.env_steps:>5} steps{case.updates:>4} updates {len(case.calls):>4} "
                "calls on files"
            )
        heads = ("killed", "too early", "equal", "failed", "steps", "items")
        print("\n" + " " * 18 + "".join(f"{head:>12}" for head in heads))
        collected = dict(conducted(given.only, cases, given.kills, given.seed))
    failures = [failure for tally in collected.values() for failure in tally.failures]
    print("", *failures, sep="\n")
    killed, equal = (sum(getattr(tally, x) for tally in collected.values()) for x in ("killed", "equal"))
    print(f"{killed} kills, {equal} runs bit-identical to the uninterrupted one, {len(failures)} failures")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
