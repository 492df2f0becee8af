"""Rollouts and updates of S runs as one tensor program with the seeds on a leading axis.

The runs stay what they are: each has its parameters, optimizer, environments, random streams and folder, and
whatever happens beside rollouts and updates (rows, readings, evaluations, checkpoints) is its own. For a
rollout or an update their tensors are copied side by side [S, …], and back after it. Every run draws its own
random numbers; all that is computed from them is computed for all runs at once, under ``vmap``: products of
matrices become batched ones, which add up in another order. So a run is the one of its seed alone to
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import Critic
from pgrun.envs import Envs
from pgrun.envs.tensor_program import TensorProgram
from pgrun.errors import InvalidCommand
from pgrun.policies.normalization import NoRewardScale, RewardScale
from pgrun.policies.policy import Policy
from pgrun.rollouts.capture import capture_work
from pgrun.rollouts.samplers.steps import Steps
from pgrun.rollouts.tensor_player import TensorPlayer
from pgrun.rollouts.trajectory import Finished, make_rollout
from pgrun.training.stacked.gathered import Gathered, StackedProgram, find_numbers
from pgrun.training.stacked.learner import OneOf, StackedLearner
from pgrun.training.stacked.lockstep import Lockstep
from pgrun.types import Batch, Rollout, each_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.training.build import Run


class StackedPlayer(TensorPlayer):
    """The policies of all runs, each in its own columns."""

    def __init__(self, one_of: OneOf, numbers: dict[str, Tensor], envs: StackedProgram):
        super().__init__(one_of.run.policy, envs)
        self.one_of, self.numbers = one_of, numbers

    def act_params(self) -> Tensor:
        def params(numbers: dict[str, Tensor], seen: Tensor) -> Tensor:
            policy = self.one_of.policy(numbers)
            return policy.params(policy.normaliser(seen).to(policy.theta.dtype))

        seen = self.envs.seen.view(len(self.numbers["theta"]), -1, self.envs.obs_size)
        every: Tensor = torch.vmap(params)(self.numbers, seen)
        return every.flatten(0, 1)


class Stack:
    """S runs of the same settings but for the seed."""

    def __init__(self, runs: Sequence[Run]):
        self.runs, first = runs, runs[0]
        self.sampler, self.algorithm = first.sampler, first.algorithm
        self.numbers = Gathered(lambda: [find_numbers(run) for run in runs])
        self.envs = StackedProgram([program_of(run) for run in runs])
        self.one_of = OneOf(first)
        self.player = StackedPlayer(self.one_of, self.numbers.stacked, self.envs)
        self.learner = StackedLearner(runs, self.numbers.stacked)
        self.shape = first.sampler.steps, first.envs.num_envs  # type: ignore[union-attr]
        self.batch: Batch | None = None  # [S, B, …] of the last rollouts: what an update reads
        self.replay: Callable[[], None] | None = None
        self.collected: list[tuple[Rollout, Tensor, Batch, Finished]] = []  # of each run

    def collect(self) -> None:
        """A rollout of every run, its values and its weights."""
        self.numbers.gather()
        self.envs.inner.gather()
        dist, dtype = self.player.policy.dist, self.player.policy.theta.dtype
        noise = torch.cat([dist.noise(self.shape, run.noise, dtype) for run in self.runs], 1)
        rows = self.player.play_rows(noise)
        columns, episodes = self.player.read_finished()
        self.envs.inner.scatter()
        rows = {name: x.view(len(x), len(self.runs), -1, *x.shape[2:]) for name, x in rows.items()}
        rollouts, values, batches = torch.vmap(self.weigh_one, (0, 1))(self.numbers.stacked, rows)
        self.keep_batch(batches)
        live = rollouts["mask"].sum((1, 2)).tolist()
        owner = columns // self.shape[1]
        self.collected = []
        for i, run in enumerate(self.runs):
            rollout = Rollout(
                **{name: x[i] for name, x in rollouts.items()}, count=self.count, whole_episodes=False
            )
            rollout.__dict__["live_rows"] = int(live[i])  # read with those of the others
            run.envs.episodes += np.bincount(columns[owner == i] % self.shape[1], minlength=self.shape[1])
            finished = [episodes[k] for k in np.flatnonzero(owner == i)]
            batch = Batch(**{name: x[i] for name, x in batches.items()}, **self.plain_fields)
            self.collected.append((rollout, values[i], batch, finished))

    def weigh_one(self, numbers: dict[str, Tensor], rows: dict[str, Tensor]) -> tuple[Any, Tensor, Any]:
        """(the rollout's tensors, V, the batch's tensors) of one run, from its columns."""
        policy = self.one_of.policy(numbers)
        scale, critic = self.one_of.scale(numbers), self.one_of.critic(numbers, policy)
        rollout = make_rollout(policy, scale, self.count, whole=False, state=None, **rows)
        rollout, value, batch = Estimator.weigh(self.one_of.run.estimator, rollout, critic, policy)
        return each_tensor(rollout, lambda x: x), value, each_tensor(batch, lambda x: x)

    @property
    def count(self) -> float:
        return float(self.shape[0] * self.shape[1])

    @property
    def plain_fields(self) -> dict[str, Any]:
        """What a batch has beside tensors."""
        return {"count": self.count, "shape": self.shape, "gamma": self.one_of.run.estimator.gamma}

    def keep_batch(self, tensors: dict[str, Any]) -> None:
        """Copy it to where the captured update reads it."""
        if self.batch is None:
            self.batch = Batch(**{name: x.clone() for name, x in tensors.items()}, **self.plain_fields)
        for name, x in tensors.items():
            getattr(self.batch, name).copy_(x)

    def update(self) -> None:
        """One update of every run."""
        learner, batch = self.learner, self.batch
        assert batch is not None
        for optimizer in learner.optimizers:
            optimizer.gathered.gather()

        def work() -> None:
            self.algorithm.update(batch, learner)

        if self.replay is None:
            self.replay = capture_work(work, learner.find_moved(), learner.generators)
        self.replay()
        self.numbers.scatter(*{"theta", "phi"}.intersection(self.numbers.stacked))
        for optimizer in learner.optimizers:
            optimizer.gathered.scatter()


class Seats:
    """Where the runs of a stack join it, each in a thread of its own."""

    def __init__(self, members: int):
        self.lockstep = Lockstep(members)
        self.joined: dict[int, Run] = {}  # by seat
        self.stack: Stack | None = None

    def join(self, seat: int, run: Run) -> Run:
        """The run, which collects and learns with the others from now on."""
        program_of(run)
        self.joined[seat] = run
        member = Member(self, seat)
        run.sampler = MemberSteps(run.sampler.steps, member)  # type: ignore[union-attr]
        run.estimator = MemberEstimator(**shallow_fields(run.estimator), member=member)
        run.learner = MemberLearner(**shallow_fields(run.learner), member=member)
        return run

    def collect(self) -> None:
        if self.stack is None:
            self.stack = Stack([self.joined[seat] for seat in sorted(self.joined)])
        self.stack.collect()

    def update(self) -> None:
        assert self.stack is not None
        self.stack.update()


@dataclass(frozen=True)
class Member:
    """One run's place in a stack."""

    seats: Seats
    seat: int

    def meet_to_collect(self) -> tuple[Rollout, Finished]:
        self.seats.lockstep.meet(self.seats.collect)
        rollout, _, _, finished = self.collected
        return rollout, finished

    def meet_to_update(self) -> None:
        self.seats.lockstep.meet(self.seats.update)

    @property
    def collected(self) -> tuple[Rollout, Tensor, Batch, Finished]:
        """What the last meeting made of its columns."""
        assert self.seats.stack is not None
        return self.seats.stack.collected[sorted(self.seats.joined).index(self.seat)]


@dataclass
class MemberSteps(Steps):
    member: Member | None = None

    def collect(
        self, policy: Policy, envs: Envs, generator: torch.Generator, scale: RewardScale | NoRewardScale
    ) -> tuple[Rollout, Finished]:
        assert self.member is not None
        return self.member.meet_to_collect()


@dataclass(frozen=True)
class MemberEstimator(Estimator):
    member: Member | None = None

    def weigh(self, rollout: Rollout, critic: Critic, policy: Policy) -> tuple[Rollout, Tensor, Batch]:
        """What was computed with the rollout."""
        assert self.member is not None
        _, value, batch, _ = self.member.collected
        return rollout, value, batch


@dataclass
class MemberLearner(Learner):
    member: Member | None = None

    def take_update(self, algorithm: Algorithm, batch: Batch) -> None:
        """Learn with the others, each from the batch of its last rollout."""
        assert self.member is not None
        self.member.meet_to_update()


def program_of(run: Run) -> TensorProgram:
    """Its environments. Raises ``InvalidCommand`` where they are no tensor program."""
    if not isinstance(run.envs, TensorProgram):
        raise InvalidCommand(
            "trainer.stack_seeds",
            "true",
            f"the columns of {run.envs.name} cannot be stepped as tensors here",
            "leave it out, and the seeds are run one by one",
        )
    return run.envs


def shallow_fields(record: Any) -> dict[str, Any]:
    """The fields of ``Estimator`` or ``Learner``, as they are."""
    kind = Estimator if isinstance(record, Estimator) else Learner
    return {f.name: getattr(record, f.name) for f in fields(kind)}
