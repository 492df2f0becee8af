from __future__ import annotations

import math
from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, mean_over_seeds, rows_of_scalar, score_jobs

SCALES = (0.1, 1.0, 10.0)
RULES = {"npg": "npg, dynamic α", "euclidean_pg": "fixed ‖Δθ‖", "reinforce": "fixed α"}
EPSILON = 1e-4
COMMON = (
    "env=CartPole-v1 network.hidden=[] network.logit_scale=0.1,1,10 seed=0,1,2 diagnostics.detail=true "
    "diagnostics.gradient_every=1 logger.every=1 trainer.eval_every=null"
)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by([job for jobs in commands for job in jobs], "algo", "network.logit_scale")
    kl = {
        rule: [mean_over_seeds(score_jobs(groups[rule, f"{c:g}"], first_kl)) for c in SCALES]
        for rule in RULES
    }
    power = {
        rule: math.log10(ms[-1].value / ms[0].value) / math.log10(SCALES[-1] / SCALES[0])
        for rule, ms in kl.items()
    }
    whole = [mean_over_seeds(score_jobs(groups["npg", f"{c:g}"], realised)) for c in SCALES]
    rows = [("rule", *(f"KL, logits × {c:g}" for c in SCALES), "grows by")]
    rows += [
        (RULES[rule], *(f"{m.value:.3g}" for m in ms), f"10^{power[rule]:.2f} a decade")
        for rule, ms in kl.items()
    ]
    rows.append(("npg: KL ÷ ε, all updates", *(str(m) for m in whole), ""))
    holds = abs(power["npg"]) < 0.05 and power["euclidean_pg"] > 1.9 and power["reinforce"] > 3.8
    return Finding(
        {f"exponent of {RULES[rule]}": Measured(power[rule]) for rule in RULES}
        | {f"npg: KL ÷ ε at scale {c:g}": m for c, m in zip(SCALES, whole, strict=True)},
        rows,
        [
            Lines(
                "KL of the first update",
                "scale of the logits",
                [Series(RULES[rule], SCALES, [m.value for m in ms]) for rule, ms in kl.items()],
                log_x=True,
                log_y=True,
            )
        ],
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"the natural step moves the policy by {whole[0].value:.3f}, {whole[1].value:.3f} and "
        f"{whole[2].value:.3f} of ε = {EPSILON:g} whatever the scale of the logits; a fixed length of Δθ "
        f"makes a KL that grows by 10^{power['euclidean_pg']:.2f} for each decade of scale, a fixed α by "
        f"10^{power['reinforce']:.2f}.",
    )


def first_kl(job: JobResult) -> float:
    """The KL of the one update that every representation makes from the same policy on the same data; by
    ½ΔᵀFΔ, since float32 loses a KL of 1e-10.
    """
    return float(rows_of_scalar(job, "step/kl_quadratic")[0])


def realised(job: JobResult) -> float:
    return float(rows_of_scalar(job, "kl/old_new").mean()) / EPSILON


EXPERIMENT = Experiment(
    name="same_kl",
    group="natural",
    row=28,
    claim="With the dynamic α every update changes the policy by KL = ε, whatever its representation.",
    chinese="该方案的强大之处在于，无论分布的表示如何，它总是以相同的幅度改变策略。",
    english="The strength of this scheme is that, whatever the representation of the distribution, it "
    "always changes the policy by the same amount.",
    place="B L42, L46, L53",
    formula="Δθ = √(2ε/gᵀF⁻¹g) F⁻¹g;   logits = c·f_θ(s), the same first policy for each c:  KL ∝ 1 "
    "(natural), c² (‖Δθ‖ = ε), c⁴ (Δθ = αg)",
    commands=(
        f"pgrun -m algo=npg algo.delta={EPSILON:g} algo.damping=0 trainer.total_steps=4096 {COMMON}",
        f"pgrun -m algo=euclidean_pg algo.radius=1e-3 trainer.total_steps=1 {COMMON}",
        f"pgrun -m algo=reinforce optimizer=sgd optimizer.lr=1e-4 trainer.total_steps=1 {COMMON}",
    ),
    read=read,
    expected={
        "exponent of npg, dynamic α": Expected(0.0, slack=0.02),
        "exponent of fixed ‖Δθ‖": Expected(2.0, slack=0.05),
        "exponent of fixed α": Expected(4.0, slack=0.1),
    }
    | {f"npg: KL ÷ ε at scale {c:g}": Expected(1.0, slack=0.05) for c in SCALES},
    verdict=Verdict.SUPPORTED,
    shows="The policy is the same function with its last layer c times smaller and its outputs c times "
    "larger. What a step does to it should not depend on that, and for the natural one it does not; KL "
    "is ε up to the third order, a relative O(√ε), and rounding.",
    next="algo.delta=0.1: the third order shows. network.hidden=[64,64], where a damping is needed and the "
    "invariance is lost with it.",
    seconds=10,
)
