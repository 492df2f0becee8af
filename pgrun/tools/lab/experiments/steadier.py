from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import (
    format_improvement,
    format_iqm,
    group_by,
    improvement_over,
    mean_eval_return,
    mean_over_seeds,
    score_jobs,
)

STEPS, SCHEMES = ("1", "5", "32"), ("td0", "n_step", "gae")


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "variance", "sampler.steps")
    returns = {(s, n): score_jobs(groups[s, n], mean_eval_return) for s in SCHEMES for n in STEPS}
    start = returns["td0", "1"]
    rows = [
        (
            "weight",
            "steps of 8 environments",
            "IQM of evaluations (95 %)",
            "better than td0 at every step, P (95 %)",
        )
    ]
    rows += [(s, n, format_iqm(x), format_improvement(x, start)) for (s, n), x in returns.items()]
    small = improvement_over(returns["td0", "5"], start)
    longer = {s: improvement_over(returns[s, "5"], returns["td0", "5"]) for s in ("n_step", "gae")}
    best = max(returns, key=lambda cell: returns[cell].mean())
    cured = improvement_over(returns[best], start)[1] > 0.5
    alone = small[1] > 0.5
    verdict = Verdict.INCONCLUSIVE if not cured else Verdict.SUPPORTED if alone else Verdict.DEPENDS
    return Finding(
        {
            "P(best > td0 at every step)": Measured(improvement_over(returns[best], start)[0]),
            "P(gae, 5 steps > td0, 5 steps)": Measured(longer["gae"][0]),
        },
        rows,
        [
            Lines(
                "Mean of all evaluations",
                "steps of each of 8 environments before an update",
                [
                    Series(
                        s,
                        [float(n) for n in STEPS],
                        [returns[s, n].mean() for n in STEPS],
                        [mean_over_seeds(returns[s, n]).se for n in STEPS],
                    )
                    for s in SCHEMES
                ],
                log_x=True,
            )
        ],
        verdict,
        f"best was {best[0]} over {best[1]} steps ({returns[best].mean():.0f}), ahead of td0 at every step "
        f"({start.mean():.0f}) with probability {format_improvement(returns[best], start)}. Small batches "
        "alone: td0 over "
        f"5 steps {format_improvement(returns['td0', '5'], start)}. At 5 steps, n_step against td0 "
        f"{format_improvement(returns['n_step', '5'], returns['td0', '5'])} and gae "
        f"{format_improvement(returns['gae', '5'], returns['td0', '5'])} ({len(start)} seeds).",
    )


EXPERIMENT = Experiment(
    name="steadier",
    group="actor_critic",
    row=16,
    claim="Online updates are steadied by small batches, by n-step returns or by GAE.",
    chinese="❌ 更抖：单步更新的方差更大，通常要更小学习率或做一些稳定化（例如把 online 改成“小 batch "
    "online”、或用 GAE / n-step）",
    english="❌ Shakier: the variance of a one-step update is larger, and usually wants a smaller learning "
    "rate or something that steadies it (for example, turning online into “small-batch online”, or using "
    "GAE or n-step returns).",
    place="C L175",
    formula="Ψ = δₜ;   Σ_{k<n} γᵏrₜ₊ₖ + γⁿV(sₜ₊ₙ) − V(sₜ);   Σ(γλ)ᵏδₜ₊ₖ,   over 1, 5 or 32 steps",
    commands=(
        f"pgrun -m algo=a2c variance={','.join(SCHEMES)} sampler.steps={','.join(STEPS)} env=CartPole-v1 "
        "tuned=none env.num_envs=8 seed=0,1,2 diagnostics.gradient_every=0 logger.every=1000 "
        "trainer.eval_every=2000 trainer.eval_episodes=10 trainer.total_steps=8000",
    ),
    read=read,
    expected={
        "P(best > td0 at every step)": Expected(low=0.6),
        "P(gae, 5 steps > td0, 5 steps)": Expected(low=0.0, high=1.0),
    },
    verdict=Verdict.DEPENDS,
    nearby=(Verdict.SUPPORTED,),
    shows="With one step there is nothing to look ahead over: n_step and gae are td0 there. More rows alone "
    "do not mend td0, whose trouble is a critic that knows nothing yet; looking further ahead does.",
    next="optimizer.lr=1e-4,7e-4,5e-3: each batch size has a rate of its own.",
    seconds=15,
)
