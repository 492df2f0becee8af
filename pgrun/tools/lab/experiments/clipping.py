from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, mean_of, mean_over_seeds, score_jobs

CLIPS, EPOCHS = ("0.1", "0.2", "0.4", "1e+09"), (1, 10, 40)
CASES = (
    ("A > 0, ρ = 1.5", 1.0, 1.5, 0.0),
    ("A < 0, ρ = 1.5", -1.0, 1.5, -1.5),
    ("A > 0, ρ = 0.5", 1.0, 0.5, 0.5),
    ("A < 0, ρ = 0.5", -1.0, 0.5, 0.0),
)
TAGS = ("kl/old_new", "ratio/max", "ratio/clip_fraction")


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "algo.clip", "algo.epochs")
    cells = {
        (c, n): {tag: mean_over_seeds(score_jobs(groups[c, str(n)], mean_of(tag))) for tag in TAGS}
        for c in CLIPS
        for n in EPOCHS
    }
    rows: list[tuple[str, ...]] = [("clip ε", "epochs", "mean KL", "largest ratio", "share of rows clipped")]
    rows += [
        ("none" if c == "1e+09" else c, str(n), *(str(cell[tag]) for tag in TAGS))
        for (c, n), cell in cells.items()
    ]
    kl = {cell: scalars["kl/old_new"].value for cell, scalars in cells.items()}
    held = [kl[c, 40] for c in CLIPS]
    beyond = {c: cells[c, 40]["ratio/max"].value for c in CLIPS[:3]}
    outside = all(ratio > 1 + float(c) for c, ratio in beyond.items())
    nearer = held == sorted(held) and held[0] < held[-1] / 3
    return Finding(
        {
            f"gradient's weight, {name}": Measured(weight(advantage, ratio))
            for name, advantage, ratio, _ in CASES
        }
        | {
            "mean KL after 40 epochs, ε = 0.1 ÷ no clip": Measured(held[0] / held[-1]),
            "clips whose ratios stay below 1 + ε": Measured(
                float(sum(ratio <= 1 + float(c) for c, ratio in beyond.items()))
            ),
            "clips whose KL does not grow from 1 to 10 epochs": Measured(
                float(sum(not kl[c, 1] < kl[c, 10] for c in CLIPS))
            ),
        },
        rows,
        [
            Lines(
                title,
                "epochs",
                [
                    Series(
                        "no clip" if c == "1e+09" else f"ε = {c}",
                        EPOCHS,
                        [cells[c, n][tag].value for n in EPOCHS],
                    )
                    for c in CLIPS
                ],
                log_x=True,
                log_y=True,
            )
            for title, tag in (
                ("Mean KL of an update", "kl/old_new"),
                ("Largest ratio of an update", "ratio/max"),
            )
        ],
        Verdict.DEPENDS if nearer and outside else Verdict.SUPPORTED if nearer else Verdict.REFUTED,
        f"the clip keeps the policy nearer (mean KL after 40 epochs {held[0]:.2g}, {held[1]:.2g}, "
        f"{held[2]:.2g} for ε = 0.1, 0.2, 0.4 and {held[3]:.2g} without), by letting go of the gradient in "
        "the two cases where it says so. It is no wall: after forty epochs the largest ratio is "
        f"{beyond['0.1']:.2f}, {beyond['0.2']:.2f} and {beyond['0.4']:.2f}, beyond 1 + ε, pushed by other "
        "rows that share the parameters, and KL grows with the epochs all the same.",
    )


def weight(advantage: float, ratio: float) -> float:
    """∂/∂log π of min(ρA, clip(ρ)A) for one row, ε = 0.2, from the algorithm itself."""
    import torch

    from pgrun.algorithms.ppo import Ppo
    from pgrun.types import Batch

    one, none = torch.ones(1), torch.zeros(1)
    batch = Batch(none[:, None], none, none, none[:, None], advantage * one, one, none, none, count=1.0)
    return round(float(Ppo(clip=0.2).gradient_weight(torch.tensor([ratio]).log(), batch)), 6)


EXPERIMENT = Experiment(
    name="clipping",
    group="trust_region",
    row=34,
    claim="Clipping the ratio to [1 − ε, 1 + ε] takes the incentive away to go further: the new policy "
    "stays near the old one.",
    chinese="当 r > 1+ε 的时候梯度会消失，即不鼓励超出太多。…… 我们想把这个概率降低，但是低过 1−ε "
    "就不能再低了。",
    english="When r > 1+ε the gradient vanishes: to go much further is not encouraged. … We want to lower "
    "this probability, but below 1−ε it can go no lower.",
    place="C L280–282",
    formula="L = E min(ρA, clip(ρ, 1 − ε, 1 + ε)A);   ∂L/∂log π = ρA, and 0 where A > 0, ρ > 1 + ε or A < "
    "0, ρ < 1 − ε",
    commands=(
        "pgrun -m algo=ppo algo.clip=0.1,0.2,0.4,1e9 algo.epochs=1,10,40 env=CartPole-v1 tuned=none "
        "sampler.steps=128 env.num_envs=8 seed=0,1 critic.epochs=10 diagnostics.gradient_every=0 "
        "trainer.eval_every=null trainer.total_steps=6144",
    ),
    read=read,
    expected={f"gradient's weight, {name}": Expected(wanted, slack=1e-5) for name, _, _, wanted in CASES}
    | {
        "mean KL after 40 epochs, ε = 0.1 ÷ no clip": Expected(high=0.33),
        "clips whose ratios stay below 1 + ε": Expected(0.0),
        "clips whose KL does not grow from 1 to 10 epochs": Expected(0.0),
    },
    verdict=Verdict.DEPENDS,
    shows="Means over the updates of a run. Two of the four cases lose their gradient; in the other two, the "
    "wrong side of 1, it stays and pulls back. 'Below 1 − ε it can go no lower' is only about the "
    "gradient: the ratio itself goes on.",
    next="algo.target_kl=0.01 against algo.clip=1e9; `pgrun-lab too_many_epochs`.",
    seconds=20,
)
