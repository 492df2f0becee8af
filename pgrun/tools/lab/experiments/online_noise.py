from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import format_iqm, group_by, mean_eval_return, mean_of, mean_over_seeds, score_jobs

COLUMNS, STEPS = (4, 16, 64, 256), 16
FLOOR = 9.4  # what CartPole returns to a policy that always pushes the same way
RATES = ("0.0001", "0.001", "0.01")
COMMON = (
    f"optimizer.lr={','.join(RATES)} optimizer=adam optimizer.schedule=constant critic/optimizer=adam "
    "critic.optimizer.lr=1e-3 critic.optimizer.schedule=constant env=CartPole-v1 tuned=none seed=0,1,2 "
    "diagnostics.gradient_every=0 logger.every=1000 trainer.eval_every=1000 trainer.eval_episodes=10 "
    "trainer.total_steps=4000"
)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    batches = group_by(commands[0], "env.num_envs")
    noise = [
        mean_over_seeds(score_jobs(batches[str(n),], mean_of("gradient/variance", first=1))) for n in COLUMNS
    ]
    rows_of = [n * STEPS for n in COLUMNS]
    slope = float(np.polyfit(np.log(rows_of), np.log([m.value for m in noise]), 1)[0])
    online, batch = (group_by(jobs, "optimizer.lr") for jobs in commands[1:])
    returns = {
        name: {r: score_jobs(side[r,], mean_eval_return) for r in RATES}
        for name, side in (("online", online), ("batch", batch))
    }
    learns = {
        name: max((float(r) for r in RATES if by_rate[r].mean() > 2 * FLOOR), default=0.0)
        for name, by_rate in returns.items()
    }
    best = {name: max(by_rate[r].mean() for r in RATES) for name, by_rate in returns.items()}
    rows = [("rows of an update", "Var ĝ", "steps from data to its effect, mean")]
    rows += [(str(b), str(m), f"{b / 2:g}") for b, m in zip(rows_of, noise, strict=True)]
    rows += [
        (f"{name}, lr {r}", format_iqm(by_rate[r]), "IQM of evaluations (95 %)")
        for name, by_rate in returns.items()
        for r in RATES
    ]
    smaller = 0 < learns["online"] < learns["batch"]
    falls = -1.3 < slope < -0.7
    return Finding(
        {
            "slope of log Var ĝ over log rows": Measured(slope),
            "online: greatest lr that learns": Measured(learns["online"]),
            "batch: greatest lr that learns": Measured(learns["batch"]),
        },
        rows,
        [
            Lines(
                "Variance of one update's gradient",
                "rows of the update",
                [
                    Series("measured", rows_of, [m.value for m in noise], [m.se for m in noise]),
                    Series(
                        "∝ 1/rows", rows_of, [noise[0].value * rows_of[0] / b for b in rows_of], dashed=True
                    ),
                ],
                log_x=True,
                log_y=True,
            ),
            Lines(
                "Mean of all evaluations",
                "learning rate",
                [
                    Series(
                        name,
                        [float(r) for r in RATES],
                        [by_rate[r].mean() for r in RATES],
                        [mean_over_seeds(by_rate[r]).se for r in RATES],
                    )
                    for name, by_rate in returns.items()
                ],
                log_x=True,
            ),
        ],
        (Verdict.SUPPORTED if smaller else Verdict.DEPENDS) if falls else Verdict.REFUTED,
        f"the variance of an update falls with its rows, with exponent {slope:.2f}, and its data are on "
        "average half a batch old when they take effect. That online updates want a smaller learning rate "
        f"{'shows' if smaller else 'does not show'} here: the greatest that learns at all is "
        f"{learns['online']:g} online and {learns['batch']:g} with batches of 40 rows; at the best rates "
        f"online reaches {best['online']:.0f} and batches {best['batch']:.0f}, in the same steps "
        f"({len(returns['online'][RATES[0]])} seeds).",
    )


EXPERIMENT = Experiment(
    name="online_noise",
    group="actor_critic",
    row=15,
    claim="Batch updates are steadier and late; online ones are quick and noisy, and want a smaller "
    "learning rate.",
    chinese="✅ 梯度更稳：一次用一批样本估计方向，噪声更小 ❌ 更新更“滞后” …… ✅ "
    "反应快：每一步都能立刻修正策略 ❌ 更抖：单步更新的方差更大，通常要更小学习率",
    english="✅ A steadier gradient: the direction is estimated from a batch of samples at once, with less "
    "noise. ❌ Updates lag behind more. … ✅ Quick to react: every step can correct the policy at once. ❌ "
    "Shakier: the variance of a one-step update is larger, and usually wants a smaller learning rate.",
    place="C L167–175",
    formula="Var ĝ ∝ 1/rows;   online: θ ← θ + α δₜ∇log π(aₜ|sₜ) at every step",
    commands=(
        "pgrun -m algo=a2c variance=td0 env=CartPole-v1 tuned=none "
        f"env.num_envs={','.join(map(str, COLUMNS))} sampler.steps={STEPS} seed=0,1,2,3,4 "
        "diagnostics.gradient_every=1 trainer.eval_every=null trainer.eval_episodes=1 trainer.total_steps=1",
        f"pgrun -m algo=online_ac {COMMON}",
        f"pgrun -m algo=a2c variance=td0 critic.target=td0 env.num_envs=8 sampler.steps=5 {COMMON}",
    ),
    read=read,
    expected={
        "slope of log Var ĝ over log rows": Expected(-1.0, slack=0.25),
        "online: greatest lr that learns": Expected(low=1e-4, high=1e-3),
        "batch: greatest lr that learns": Expected(low=1e-4, high=1e-2),
    },
    verdict=Verdict.DEPENDS,
    nearby=(Verdict.SUPPORTED,),
    shows="The same steps of the environment and Adam for both, a decade between the rates. Online has forty "
    "times the updates of batches in the same steps, each of full length, whatever its gradient is "
    "worth; td0 leans on a critic that both must learn first.",
    next="optimizer=sgd; trainer.total_steps=50000; `pgrun-lab steadier`.",
    seconds=45,
)
