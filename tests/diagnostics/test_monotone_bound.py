"""L and L − C·max KL: L by the sum over all episodes, the bound never above J, tight where nothing moves."""

from __future__ import annotations

import pytest
import torch

from pgrun.diagnostics.monotone_bound import monotone_bound
from pgrun.exact import Problem
from tests.helpers.support_enumerate import world
from tests.helpers.support_exact import EXACT, FAR, MDPS, Mdp, probabilities, time_limited


def problem_of(mdp: Mdp) -> Problem:
    reward = (mdp.chance * mdp.reward).sum(-1)
    start = torch.eye(mdp.states, dtype=torch.float64)[0]
    seen = torch.arange(mdp.states)
    return Problem(mdp.chance[..., :-1], reward, start, seen, mdp.states, mdp.horizon)


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_it_is_never_above_j_and_l_is_a_sum_over_episodes(name: str, gamma: float) -> None:
    mdp, theta, every_episode = world(name)
    p, pi = problem_of(mdp), probabilities(mdp, theta)
    q, v = time_limited(mdp, theta, gamma)
    r, draw = every_episode.rollout, torch.Generator().manual_seed(1)
    state = every_episode.state[:-1].clamp(max=mdp.states - 1)
    time = torch.arange(mdp.horizon)[:, None]
    advantage = q[time, state, r.action] - v[time, state]
    gaps = []
    for size in (0.0, 0.01, 0.3, 3.0):
        moved = theta + size * torch.randn(len(theta), generator=draw, dtype=torch.float64)
        after = probabilities(mdp, moved)
        ratio = after[state, r.action] / pi[state, r.action]
        wanted = (
            v[0, 0] + (every_episode.probability * r.mask * gamma ** time.double() * ratio * advantage).sum()
        )
        surrogate, bound = monotone_bound(p, pi, after, gamma)
        assert abs(surrogate - wanted) < EXACT
        j = time_limited(mdp, moved, gamma)[1][0, 0]
        assert bound <= j + EXACT
        gaps.append(float(j - bound))
    assert gaps[0] < EXACT
    assert gaps[1] < gaps[3]
    assert gaps[3] > FAR
