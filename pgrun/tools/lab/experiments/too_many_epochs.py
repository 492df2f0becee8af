from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, mean_of, mean_over_seeds, score_jobs

COMMON = (
    "algo.epochs=1,3,10,30,100 env=CartPole-v1 tuned=none sampler.steps=128 env.num_envs=8 seed=0,1,2 "
    "critic.epochs=1 diagnostics.gradient_every=0 trainer.eval_every=null trainer.total_steps=1"
)
EPOCHS = (1, 3, 10, 30, 100)
TAGS = {"kl/old_new": "mean KL", "ratio/ess": "ESS ÷ rows", "ratio/max": "largest ratio"}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    clipped, free = (group_by(jobs, "algo.epochs") for jobs in commands)
    outcomes = {
        tag: [mean_over_seeds(score_jobs(clipped[str(n),], mean_of(tag))) for n in EPOCHS] for tag in TAGS
    }
    without = {
        tag: [mean_over_seeds(score_jobs(free[str(n),], mean_of(tag))) for n in EPOCHS] for tag in TAGS
    }
    rows = [("epochs", *TAGS.values(), "without a clip: KL", "ESS ÷ rows")]
    rows += [
        (
            str(n),
            *(str(outcomes[tag][k]) for tag in TAGS),
            *(str(without[tag][k]) for tag in ("kl/old_new", "ratio/ess")),
        )
        for k, n in enumerate(EPOCHS)
    ]
    kl, ess = ([m.value for m in outcomes[tag]] for tag in ("kl/old_new", "ratio/ess"))
    open_kl, open_ess = ([m.value for m in without[tag]] for tag in ("kl/old_new", "ratio/ess"))
    grows = open_kl == sorted(open_kl) and open_kl[-1] > 3 * open_kl[2]
    levels = kl[-1] < open_kl[-1] / 3
    verdict = Verdict.REFUTED if not grows else Verdict.DEPENDS if levels else Verdict.SUPPORTED
    return Finding(
        {
            "mean KL, 10 epochs ÷ 1": Measured(kl[2] / kl[0]),
            "mean KL without a clip, 100 epochs ÷ 10": Measured(open_kl[-1] / open_kl[2]),
            "mean KL after 100 epochs, without a clip ÷ with": Measured(open_kl[-1] / kl[-1]),
            "ESS ÷ rows, 1 epoch": outcomes["ratio/ess"][0],
            "ESS ÷ rows without a clip, 1 epoch less 100": Measured(open_ess[0] - open_ess[-1]),
        },
        rows,
        [
            Lines(
                TAGS[tag],
                "epochs",
                [
                    Series(name, EPOCHS, [m.value for m in side[tag]], [m.se for m in side[tag]])
                    for name, side in (("ε = 0.2", outcomes), ("no clip", without))
                ],
                log_x=True,
                log_y=log,
            )
            for tag, log in (("kl/old_new", True), ("ratio/ess", False))
        ],
        verdict,
        f"on one and the same batch the mean KL goes from {kl[0]:.2g} after one epoch over {kl[2]:.2g} "
        f"after ten to {kl[-1]:.2g} after a hundred with the clip, and to {open_kl[-1]:.2g} without; the "
        f"effective sample size to {100 * ess[-1]:.0f} and {100 * open_ess[-1]:.0f} % of the rows. It gets "
        "worse and worse where nothing holds it; the clip makes it level off.",
    )


EXPERIMENT = Experiment(
    name="too_many_epochs",
    group="trust_region",
    row=37,
    claim="Not too many epochs on one batch: the mismatch of the distributions grows with each.",
    chinese="更新的 epoch 不能太大，否则分布不匹配会越来越严重。",
    english="There must not be too many epochs to an update, or else the mismatch of the distributions "
    "grows worse and worse.",
    place="C L304",
    formula="ρ = π_θ(a|s)/π_old(a|s),   ESS = (Σρ)²/Σρ²,   mean KL(old‖new), after n epochs of the first "
    "update",
    commands=(
        f"pgrun -m algo=ppo algo.clip=0.2 {COMMON}",
        f"pgrun -m algo=ppo algo.clip=1e9 {COMMON}",
    ),
    read=read,
    expected={
        "mean KL, 10 epochs ÷ 1": Expected(low=10),
        "mean KL without a clip, 100 epochs ÷ 10": Expected(low=3),
        "mean KL after 100 epochs, without a clip ÷ with": Expected(low=3),
        "ESS ÷ rows, 1 epoch": Expected(low=0.99, high=1.0),
        "ESS ÷ rows without a clip, 1 epoch less 100": Expected(low=0.05),
    },
    verdict=Verdict.DEPENDS,
    shows="The first updates of these runs are the same for the epochs that they share: the column is one "
    "batch, looked at after 1, 3, 10, 30 and 100 passes.",
    next="algo.target_kl=0.015, which leaves out the rest of the epochs; algo.clip=0.1.",
    seconds=12,
)
