"""What every sampler does after collecting."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch

from pgrun.envs import Envs
from pgrun.envs.simulated import Simulated
from pgrun.policies.gsde import GsdeGaussian
from pgrun.policies.normalization import NoRewardScale, RewardScale
from pgrun.policies.policy import Actor, NumpyActor, Policy
from pgrun.rollouts.trajectory import Recorder
from pgrun.stateless import Stateless
from pgrun.types import Rollout

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pgrun.envs.program import Program
    from pgrun.envs.tensor_program import TensorProgram
    from pgrun.rollouts.compiled_player import Player
    from pgrun.rollouts.tensor_player import TensorPlayer


def find_device_player(policy: Policy, envs: Envs) -> TensorPlayer | None:
    """What plays whole rollouts on the policy's device; None where the environment is not on it."""
    if not envs.on_device:
        return None
    from pgrun.rollouts.tensor_player import TensorPlayer

    program = cast("TensorProgram", envs)
    if program.player is None or program.player.policy is not policy:
        program.player = TensorPlayer(policy, program)
    player: TensorPlayer = program.player
    return player


def find_player(policy: Policy, envs: Envs) -> Player | None:
    """What plays whole rollouts of ``policy`` in one kernel call; None where there is no such thing.

    Both the policy and the environment have to be compiled.
    """
    if not (policy.compiled and envs.is_program):
        return None
    from pgrun.rollouts.compiled_player import player_of

    return player_of(policy, cast("Program", envs))


def advance_recorder(
    track: Recorder,
    actor: Actor,
    envs: Envs,
    noise: Tensor | None,
    most: int,
    left: np.ndarray | None = None,
) -> int:
    """Record one step, or up to ``most`` where a kernel plays them: fewer where no column has any of its
    episodes ``left`` [N].

    ``noise`` [most, N, …]: of these steps. Returns how many they were.
    """
    if most > 1 and isinstance(envs, Simulated) and not isinstance(actor, NumpyActor):
        from pgrun.rollouts.simulated_player import advance_simulated

        if rows := advance_simulated(track, actor, envs, noise, most, left):
            return rows
    track.step(actor, envs, None if noise is None else noise[0])
    return 1


def draw_noise(policy: Policy, steps: int, columns: int, generator: torch.Generator) -> Tensor:
    """Noise [steps, columns, …] of a rollout that begins here; held where the distribution says so."""
    dist, dtype = policy.dist, policy.theta.dtype
    if not isinstance(dist, GsdeGaussian):
        return dist.noise((steps, columns), generator, dtype)
    hold = dist.hold or steps
    fresh = dist.noise((-(-steps // hold), columns), generator, dtype)
    return fresh.repeat_interleave(hold, 0)[:steps]


class HeldNoise:
    """Of columns that play whole episodes: another when an episode begins, and every ``hold`` steps."""

    def __init__(self, hold: int | None):
        self.hold, self.noise = hold, torch.empty(0)

    def follow(self, fresh: Tensor, length: np.ndarray) -> Tensor:
        """The noise [N, …] of a step; ``length`` [N]: which step of its episode it is, from 1."""
        since = length - 1
        due = since == 0 if self.hold is None else since % self.hold == 0
        if not self.noise.numel():
            self.noise = fresh.clone()
        self.noise = torch.where(torch.from_numpy(due).to(fresh.device)[:, None], fresh, self.noise)
        return self.noise


class OnPolicy(Stateless):
    """What was just collected is what is learned from."""

    tags: ClassVar[tuple[str, ...]] = ()  # of ``scalars``

    def follow_scheme(self, usual_group: int) -> None:
        """Take what the scheme usually compares, where no setting says otherwise."""

    def recall(
        self, rollout: Rollout, policy: Policy, scale: RewardScale | NoRewardScale, generator: torch.Generator
    ) -> Rollout | None:
        return rollout

    def scalars(self, rollout: Rollout, policy: Policy) -> dict[str, Tensor]:
        """What the sampler alone can tell of what was learned from; ``policy`` may have moved since."""
        return {}
