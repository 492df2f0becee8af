"""``pgrun-study --help``."""

from __future__ import annotations

from pathlib import Path

from pgrun.cli.help import list_group_options
from pgrun.config.pages import page_address

ABOUT = {
    "env": "or any id that python -c 'import gymnasium; gymnasium.pprint_registry()' lists, or module:Id",
    "critic": (
        "where V comes from: none, exact and scaled (environments with a transition table), random, run, "
        "fitted"
    ),
    "network": "of a fresh policy",
    "variance": "one scheme, with its settings; without it the names in schemes=[…], or all",
}

EXAMPLES = """\
  pgrun-study env=FrozenLake-v1 gamma=1 critic=exact policy.ascent=0.5 episodes=20000
  pgrun-study run=last critic=run schemes=[reward_to_go,leave_one_out,gae]
  pgrun-study -m env=pgrun/OneState-v0 gamma=1 policy.theta=0.9 critic=scaled variance=gae \
variance.lam=0,0.5,0.95,1"""

SETTINGS = """\
  run=DIR                  the policy of a run, with its environment, network and γ \
(policy.json, policy.safetensors)
  policy.theta=…           a table of logits [S·A], state by state; a number: π(action 0) of two actions
  policy.ascent=0.5        a table, by exact gradient ascent to this share of the way to the optimum
  schemes=[none,{gae:{lam:0.5}}]
  episodes=2000 batch=20   how many are collected; how many make one estimate
  reference=auto           ∇J exactly where the environment publishes its table, else sampled \
(reference_episodes=…)
  discounting=from_start   with the factor γ^t, so that all schemes estimate the same ∇J_γ
  advantage_norm=full      Ψ normalised within each estimate (center, scale, full), as many algorithms do
  critic_episodes=500      for critic=fitted, apart from those that are scored; critic.fit=before: \
then on each estimate's own
  weights=[per_decision]   importance weights, for episodes of behaviour.theta=… or of behaviour.distance=0.1
  by_step=20               the weights Ψ that good and bad actions get, by time step
  fisher=[10,100] cg=20    the sampled Fisher matrix beside the exact one; conjugate gradients
  kl.distance=0.1          the KL from a reference policy, and its estimators k1, k2, k3 with their gradients
  pathwise=true            the gradient through the problem beside the score function's, on pgrun/LQ1-v0
  decompose.by=auto        the variance of one step's term, by state, action and the rest \
(Tucker et al. 2018)
  group=4 shared=seed      episodes from each start, for variance=group; what they share: seed or start
  step.distance=1 step.kl=0.01   what a step along ∇J, and a natural one, would do to the policy
  gamma=… seed=… repeats=10 picture=true|false threads=1 modules=[…]"""

FLAGS = """\
  -m                  a sweep: every combination of comma-separated values, then one table
  --cfg job           show the composed configuration, every setting of it
  --config-dir PATH   your own options, in folders like conf/'s; your own code: modules=[my_module]"""


def format_study_help(places: list[Path]) -> str:
    own = Path(__file__).parent / "conf"
    return "\n\n".join(
        (
            "pgrun-study — freeze a policy, collect trajectories once, score every variance scheme on them",
            EXAMPLES,
            "Settings",
            SETTINGS,
            "Groups: one option of each, typed as group=option",
            list_group_options([*places, own], ABOUT, tuple(ABOUT)),
            FLAGS,
            (
                "What came out: study.json and study.png in the printed folder; "
                f"{page_address('study.md')} says how to read them"
            ),
        )
    )
