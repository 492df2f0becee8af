from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, mean_curve, rows_of_scalar

TARGET, STARTS = 0.01, ("0.01", "1", "100")
SETTLING = 12  # updates


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "algo.beta")
    kl = {
        b: np.concatenate([rows_of_scalar(job, "kl/old_new")[SETTLING:] for job in groups[b,]])
        for b in STARTS
    }
    inside = {b: float(((x >= TARGET / 1.5) & (x <= TARGET * 1.5)).mean()) for b, x in kl.items()}
    arrive = {b: [entry(job) for job in groups[b,]] for b in STARTS}
    last = {b: float(np.median([rows_of_scalar(job, "step/beta")[-1] for job in groups[b,]])) for b in STARTS}
    rows = [
        ("β at the start", "updates until KL is in the band", "then in the band", "median KL", "β at the end")
    ]
    rows += [
        (
            b,
            ", ".join(map(str, arrive[b])),
            f"{100 * inside[b]:.0f} %",
            f"{np.median(kl[b]):.4f}",
            f"{last[b]:g}",
        )
        for b in STARTS
    ]
    whole = float(np.mean(list(inside.values())))
    middle = [float(np.median(x)) / TARGET for x in kl.values()]
    holds = all(1 / 1.5 <= m <= 1.5 for m in middle) and max(last.values()) < 64 * min(last.values())
    return Finding(
        {
            "share of updates in [d/1.5, 1.5d] once settled": Measured(whole),
            "largest median KL once settled ÷ d": Measured(max(middle)),
            "smallest median KL once settled ÷ d": Measured(min(middle)),
            "largest β at the end ÷ smallest": Measured(max(last.values()) / min(last.values())),
            "updates until the band, at most": Measured(float(max(map(max, arrive.values())))),
        },
        rows,
        [
            Lines(
                title,
                "steps",
                [
                    Series(f"β starts at {b}", *(x.tolist() for x in mean_curve(groups[b,], tag)))
                    for b in STARTS
                ],
                log_y=True,
            )
            for title, tag in (("mean KL of an update", "kl/old_new"), ("β", "step/beta"))
        ],
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        "from β = 0.01, 1 and 100 the KL reached the band [d/1.5, 1.5d] within "
        f"{max(map(max, arrive.values()))} updates; the median of the later ones is {min(middle):.2f} to "
        f"{max(middle):.2f} of the target, and {100 * whole:.0f} % of them lie in the band; β ends at "
        f"{last['0.01']:g}, {last['1']:g} and {last['100']:g}, four decades at the start.",
    )


def entry(job: JobResult) -> int:
    """The number of the first update with KL in the band; one more than there are if none is."""
    kl = rows_of_scalar(job, "kl/old_new")
    there = (kl >= TARGET / 1.5) & (kl <= TARGET * 1.5)
    return int(there.argmax()) + 1 if there.any() else len(kl) + 1


EXPERIMENT = Experiment(
    name="penalty",
    group="trust_region",
    row=35,
    claim="The adaptive β of the KL penalty brings the KL of an update to its target.",
    chinese="我们设定一个目标距离 d_targ，在每次训练迭代后计算一下实际的 KL 距离 d，…… 这种情况就 β ← "
    "β/2，即缩小惩罚系数让他“更敢走”。",
    english="We set a target distance d_targ and compute the actual KL distance d after every iteration of "
    "training … in this case β ← β/2, that is, the penalty coefficient is reduced so that it “dares to go "
    "further”.",
    place="C L287–289",
    formula="max E[ρA − β KL];   β ← β/2 if d < d_targ/1.5,   β ← 2β if d > 1.5 d_targ",
    commands=(
        f"pgrun -m algo=ppo_penalty algo.target_kl={TARGET} algo.beta={','.join(STARTS)} env=HalfCheetah-v5 "
        "tuned=none seed=0,1 env.num_envs=8 sampler.steps=64 critic.epochs=2 diagnostics.gradient_every=0 "
        "trainer.eval_every=null trainer.eval_episodes=1 trainer.total_steps=16384",
    ),
    read=read,
    expected={
        "share of updates in [d/1.5, 1.5d] once settled": Expected(low=0.25),
        "largest median KL once settled ÷ d": Expected(high=1.5),
        "smallest median KL once settled ÷ d": Expected(low=0.66),
        "largest β at the end ÷ smallest": Expected(high=128),
        "updates until the band, at most": Expected(high=16),
    },
    verdict=Verdict.SUPPORTED,
    shows="A wrong β costs a few updates: it moves by a factor of 2 at a time. That is coarse: where one β "
    "is too small and twice as much too large, the KL swings from one side of the band to the other.",
    next="algo.target_kl=0.001; algo.epochs=1, where one step is too short to reach the target, and β goes "
    "to 0.",
    seconds=20,
)
