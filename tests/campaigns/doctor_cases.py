"""The doctor on runs that are ill on purpose, and on runs that are well.

    python tests/campaigns/doctor_cases.py             # all, one at a time: some ten minutes on an idle core
    python tests/campaigns/doctor_cases.py sign gamma  # those whose name begins so
    python tests/campaigns/doctor_cases.py --runs DIR  # where they are kept; finished ones are not made again

Ill: exit code 1 unless ten of the twelve kinds are named. Well: exit code 1 if any of the twenty is called
ill.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from pgrun.analysis.doctor.known_symptoms import find_symptoms  # noqa: E402
from pgrun.analysis.doctor.run_data import read_chart  # noqa: E402
from pgrun.policies.normalization import RunningNorm  # noqa: E402
from tests.helpers.support_cli import pgrun  # noqa: E402

OWN = "modules=[doctor_module]"
PPO = "algo=ppo tuned=none trainer.total_steps=50000"


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


@contextmanager
def frozen() -> Iterator[None]:
    """A normaliser that never looks at a state."""
    with mock.patch.object(RunningNorm, "update", return_value=None):
        yield


@dataclass(frozen=True)
class Case:
    """``named``: any of these is a right answer; none for a run that is well."""

    words: str
    named: tuple[str, ...] = ()
    broken: Callable = field(default=as_it_is)


ILL = {
    "lr_times_1000": Case(f"{PPO} optimizer.lr=0.3", ("kl-explodes",)),
    "lr_over_1000": Case(f"{PPO} optimizer.lr=3e-7", ("steps-too-small",)),
    "sign_flipped": Case(f"algo=flipped {OWN} trainer.total_steps=50000", ("return-got-worse",)),
    "gamma_0": Case(f"{PPO} gamma=0", ("short-sighted",)),
    "no_exploration": Case(
        "algo=ppo env=Pendulum-v1 network.log_std=-6 trainer.total_steps=50000", ("exploration-gone",)
    ),
    "normaliser_frozen": Case(
        f"algo=ppo env=doctor_module:FarAway-v0 {OWN} state_norm=true trainer.total_steps=30000",
        ("normaliser-frozen",),
        frozen,
    ),
    "batch_of_one": Case(
        "algo=reinforce variance=none sampler.episodes=1 env.num_envs=1 advantage_norm=false "
        "trainer.total_steps=30000",
        ("batch-of-one",),
    ),
    "critic_lr_times_1000": Case(f"{PPO} critic.optimizer.lr=1", ("critic-explains-nothing",)),
    "too_many_epochs": Case(
        "algo=ppo tuned=none algo.epochs=100 algo.minibatches=8 algo.clip=10 trainer.total_steps=20000",
        ("kl-explodes", "few-effective-samples"),
    ),
    "never_rewarded": Case(
        "algo=ppo env=MountainCar-v0 trainer.total_steps=50000", ("every-return-the-same",)
    ),
    "endless_episodes": Case(
        f"algo=ppo env=doctor_module:Endless-v0 {OWN} trainer.total_steps=20000 trainer.eval_episodes=1",
        ("no-episode-ends",),
    ),
    "rewards_times_10000": Case(
        f"algo=ppo env=doctor_module:Dear-v0 {OWN} trainer.total_steps=50000", ("values-out-of-reach",)
    ),
}
MORE_ILL = {
    "far_away_states": Case(
        f"algo=ppo env=doctor_module:FarAway-v0 {OWN} trainer.total_steps=30000", ("all-states-look-alike",)
    ),
    "noise_that_pays": Case(
        "algo=ppo env=Pendulum-v1 algo.entropy=1 optimizer.lr=1e-2 trainer.total_steps=50000",
        ("noise-grows",),
    ),
}
WELL = {
    "a2c": Case("algo=a2c trainer.total_steps=100000"),
    "euclidean_pg": Case("algo=euclidean_pg trainer.total_steps=100000"),
    "npg": Case("algo=npg trainer.total_steps=100000"),
    "off_policy_ac": Case("algo=off_policy_ac trainer.total_steps=20000"),
    "off_policy_pg": Case("algo=off_policy_pg trainer.total_steps=100000"),
    "online_ac": Case("algo=online_ac trainer.total_steps=50000"),
    "ppo": Case("algo=ppo tuned=none trainer.total_steps=50000"),
    "ppo_penalty": Case("algo=ppo_penalty trainer.total_steps=100000"),
    "reinforce": Case("algo=reinforce trainer.total_steps=100000"),
    "trpo": Case("algo=trpo trainer.total_steps=100000"),
    "tuned_ppo_cartpole": Case("algo=ppo trainer.total_steps=50000"),
    "tuned_ppo_pendulum": Case("algo=ppo env=Pendulum-v1 trainer.total_steps=100000"),
    "reinforce_with_a_critic": Case("algo=reinforce variance=value_baseline trainer.total_steps=60000"),
    "ppo_acrobot": Case("algo=ppo env=Acrobot-v1 trainer.total_steps=60000"),
    "ppo_shared_network": Case(f"{PPO} network=shared"),
    "reinforce_fixed_horizon": Case("algo=reinforce env=pgrun/FixedHorizon-v0 trainer.total_steps=20000"),
    "reinforce_random_walk": Case("algo=reinforce env=pgrun/RandomWalk-v0 gamma=1 trainer.total_steps=30000"),
    "reinforce_one_state": Case("algo=reinforce env=pgrun/OneState-v0 trainer.total_steps=20000"),
    "npg_lq1": Case("algo=npg env=pgrun/LQ1-v0 network.hidden=[] trainer.total_steps=50000"),
    "reinforce_two_gaussians": Case("algo=reinforce env=pgrun/TwoGaussians-v0 trainer.total_steps=20000"),
}


def options(runs: Path) -> Path:
    """A folder with ``algo=flipped``: PPO's own settings under the name of the class that is wrong."""
    text = (ROOT / "conf" / "algo" / "ppo.yaml").read_text()
    place = runs / "options" / "algo" / "flipped.yaml"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text.replace("name: ppo\n", "name: flipped\n"))
    return runs / "options"


def made(name: str, case: Case, runs: Path) -> Path:
    """The run's directory; one that has ended stays as it is."""
    folder = runs / name
    if not ended(folder):
        shutil.rmtree(folder, ignore_errors=True)
        own = f"--config-dir {options(runs)}" if "flipped" in case.words else ""
        with case.broken():
            said = pgrun(f"{own} {case.words} logger.progress=false hydra.run.dir={folder}")
        if not ended(folder):
            raise RuntimeError(f"{name}: pgrun {case.words} ended with {said.code}\n{said.out}\n{said.err}")
    return folder


def ended(folder: Path) -> bool:
    try:
        return json.loads((folder / "summary.json").read_text())["status"] in ("finished", "failed")
    except OSError:
        return False


def right(name: str, case: Case, runs: Path) -> bool:
    """Make the run, ask the doctor, say what he says."""
    names = [finding.name for finding in find_symptoms(read_chart(made(name, case, runs)))]
    good = bool({*names} & {*case.named}) if case.named else not names
    print(f"{'right' if good else 'WRONG'}  {name:24s} {', '.join(names) or 'nothing found'}", flush=True)
    return good


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("cases", nargs="*", metavar="CASE", help="beginnings of names; all without one")
    p.add_argument("--runs", type=Path, default=ROOT / "outputs" / "doctor")
    given = p.parse_args()
    runs = given.runs.resolve()
    runs.mkdir(parents=True, exist_ok=True)
    collected = [
        {name: right(name, case, runs) for name, case in group.items() if wanted(name, given.cases)}
        for group in (ILL, MORE_ILL, WELL)
    ]
    ill, more, well = collected
    print(f"named {sum(ill.values())} of {len(ill)} illnesses, and {sum(more.values())} of {len(more)} more")
    print(f"no alarm on {sum(well.values())} of {len(well)} healthy runs")
    missed = len(ill) - sum(ill.values())
    return 0 if missed <= 2 and all(well.values()) else 1


def wanted(name: str, cases: list[str]) -> bool:
    return not cases or any(name.startswith(case) for case in cases)


if __name__ == "__main__":
    sys.exit(main())
