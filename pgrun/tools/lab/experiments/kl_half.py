from __future__ import annotations

from collections.abc import Callable, Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Verdict
from pgrun.tools.lab.seeds import group_by, mean_over_seeds, rows_of_scalar, score_jobs

RADII = ("1", "0.1", "0.01", "0.001", "0.0001", "1e-05")
WAYS = {"kl/old_new": "KL(old‖new)", "kl/new_old": "KL(new‖old)"}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "algo.delta")
    outcomes = {
        way: [mean_over_seeds(score_jobs(groups[r,], share_of_quadratic(way))) for r in RADII] for way in WAYS
    }
    gains = [mean_over_seeds(score_jobs(groups[r,], gain)) for r in RADII]
    rows = [("radius ε", *(f"{name} ÷ ΔᵀFΔ" for name in WAYS.values()), "surrogate's gain ÷ gᵀΔ")]
    rows += [(r, str(a), str(b), str(g)) for r, a, b, g in zip(RADII, *outcomes.values(), gains, strict=True)]
    last = {way: ms[-1] for way, ms in outcomes.items()}
    half = all(abs(m.value - 0.5) < 0.02 for m in last.values())
    return Finding(
        {f"{name} ÷ ΔᵀFΔ at ε = {RADII[-1]}": last[way] for way, name in WAYS.items()}
        | {
            f"{WAYS['kl/old_new']} ÷ ΔᵀFΔ at ε = 1": outcomes["kl/old_new"][0],
            f"gain ÷ gᵀΔ at ε = {RADII[-1]}": gains[-1],
        },
        rows,
        [
            Lines(
                "KL ÷ ΔᵀFΔ of one natural step",
                "radius ε",
                [
                    *(
                        Series(WAYS[way], radii(), [m.value for m in ms], [m.se for m in ms])
                        for way, ms in outcomes.items()
                    ),
                    Series("½", radii(), [0.5] * len(RADII), dashed=True),
                ],
                log_x=True,
            )
        ],
        Verdict.REFUTED if half else Verdict.SUPPORTED,
        f"KL is ½ΔᵀFΔ, and not ΔᵀFΔ: the ratio goes to {last['kl/old_new']} and, the other way round, to "
        f"{last['kl/new_old']} as steps get small. The ½ is missing in the notes; with it both "
        "directions have the same second order.",
    )


def radii() -> list[float]:
    return [float(r) for r in RADII]


def share_of_quadratic(way: str) -> Callable[[JobResult], float]:
    def of(job: JobResult) -> float:
        return float(rows_of_scalar(job, way)[0] / (2 * rows_of_scalar(job, "step/kl_quadratic")[0]))

    return of


def gain(job: JobResult) -> float:
    return float(rows_of_scalar(job, "step/gain_realised")[0] / rows_of_scalar(job, "step/gain_predicted")[0])


EXPERIMENT = Experiment(
    name="kl_half",
    group="natural",
    row=29,
    claim="For a small step the KL divergence is ΔᵀFΔ.",
    chinese="PPT 给出了近似公式：D_KL(π_θ'‖π_θ) ≈ (θ' − θ)ᵀ F (θ' − θ)",
    english=("The slide gives an approximate formula: D_KL(π_θ'‖π_θ) ≈ (θ' − θ)ᵀ F (θ' − θ)"),
    place="A L346",
    formula="KL(π_θ‖π_θ+Δ) = ½ΔᵀFΔ + O(‖Δ‖³) = KL(π_θ+Δ‖π_θ)",
    commands=(
        f"pgrun -m algo=npg algo.delta={','.join(RADII)} env=CartPole-v1 network.hidden=[16] seed=0,1,2 "
        "diagnostics.detail=true diagnostics.gradient_every=1 trainer.eval_every=null trainer.total_steps=1",
    ),
    read=read,
    expected={
        "KL(old‖new) ÷ ΔᵀFΔ at ε = 1e-05": Expected(0.5, slack=0.02),
        "KL(new‖old) ÷ ΔᵀFΔ at ε = 1e-05": Expected(0.5, slack=0.02),
        "gain ÷ gᵀΔ at ε = 1e-05": Expected(1.0, slack=0.05),
        "KL(old‖new) ÷ ΔᵀFΔ at ε = 1": Expected(low=0.0, high=0.48),
    },
    verdict=Verdict.REFUTED,
    shows="One step of each size from the same policy on the same data. With a large radius the quadratic "
    "model is wrong, which is why TRPO looks back at the KL that a step has made.",
    next="env=Pendulum-v1, a Gaussian policy; diagnostics.detail=true under any algorithm has "
    "step/kl_quadratic beside kl/old_new.",
    seconds=8,
    fast=True,
)
