"""What a study refuses, and the policy that an environment brings."""

from __future__ import annotations

import gymnasium as gym
import pytest

from tests.helpers.support_study import pgrun_study, study

ENV = "env=pgrun/OneState-v0 policy.theta=0.5"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("behaviour.theta=0.5", "behaviour: episodes of another policy need weights"),
        ("weights=[per_step] schemes=[none]", "weights and schemes: one of them"),
        ("weights=[per_stop]", "weights: there is no per_stop; there are trajectory, "),
        ("'weights=[{per_step:{truncate:0}}]'", "must be > 0"),
        ("'weights=[{per_step:{reuses:2}}]'", "per_step takes truncate=…, and nothing else"),
        ("weights=7", "must be a list such as"),
        ("weights=[per_step] by_step=3", "by_step: the weights Ψ of schemes"),
        ("weights=[per_step] behaviour.theta=1.5", "behaviour.theta=1.5: must be in (0, 1)"),
        ("weights=[per_step] behaviour.theta=0.5 behaviour.distance=0.1", "one of them"),
        ("fisher=[0]", "fisher=[0]: must be ≥ 1"),
        ("step.kl=0", "step.kl=0: must be > 0"),
        (
            "env=CartPole-v1 weights=[per_step] behaviour.distance=0.1",
            "behaviour.distance: env=CartPole-v1 publishes no transition table",
        ),
        ("env=CartPole-v1 weights=[state_ratio]", "state_ratio needs the transition table"),
        ("env=CartPole-v1 fisher=[10]", "a matrix of 4610² entries"),
        ("env=pgrun/OneState-v0 env.kwargs.theta=1.5", "must be in (0, 1)"),
    ],
)
def test_what_does_not_go_together_is_refused(words: str, said: str) -> None:
    answer = pgrun_study(
        f"{'' if 'env=' in words else ENV} gamma=1 critic=none episodes=40 picture=false {words}"
    )
    assert answer.code == 2
    assert said in answer.err


def test_the_environment_brings_its_theta() -> None:
    short = "gamma=1 critic=none schemes=[none] episodes=40 env.max_episode_steps=50"
    theirs = study(f"env=pgrun/OneState-v0 env.kwargs.theta=0.7 {short}")
    ours = study(f"env=pgrun/OneState-v0 policy.theta=0.7 {short}")
    assert theirs["policy"] == ours["policy"]
    assert gym.make("pgrun/OneState-v0", theta=0.7, disable_env_checker=True).unwrapped.theta == 0.7  # type: ignore[attr-defined]
