from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import make_model
from pgrun.tools.lab.tables import outcome_rows

SIZE = 3
EXPECTED = {
    "rloo − leave_one_out of the group": Expected(0.0, slack=1e-12),
    "rloo − K/(K−1)·dr_grpo": Expected(0.0, slack=1e-12),
    "E rloo − ∇J": Expected(0.0, slack=1e-12),
    "E dr_grpo − (K−1)/K·∇J": Expected(0.0, slack=1e-12),
    "rloo − dr_grpo": Expected(low=0.01),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    from pgrun.variance.group import Group
    from pgrun.variance.leave_one_out import LeaveOneOut

    model = make_model(words=2, length=2, prompts=2, seed=1)
    _, chance, rloo = model.estimates(Group("rloo"), SIZE)
    dr_grpo, out = (model.estimates(scheme, SIZE)[2] for scheme in (Group("dr_grpo"), LeaveOneOut()))
    truth, share = model.gradient(), (SIZE - 1) / SIZE
    outcomes = {
        "rloo − leave_one_out of the group": Measured(float((rloo - out).abs().max())),
        "rloo − K/(K−1)·dr_grpo": Measured(float((rloo - dr_grpo / share).abs().max())),
        "E rloo − ∇J": Measured(float((chance @ rloo - truth).abs().max())),
        "E dr_grpo − (K−1)/K·∇J": Measured(float((chance @ dr_grpo - share * truth).abs().max())),
        "rloo − dr_grpo": Measured(float((rloo - dr_grpo).abs().max())),
    }
    same = all(outcomes[label].value < 1e-9 for label in list(outcomes)[:4])
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "largest entry, over all groups"),
        (Bars("Largest difference", "of an entry", [Bar(label, m.value) for label, m in outcomes.items()]),),
        Verdict.SUPPORTED if same else Verdict.REFUTED,
        f"over all {len(chance)} groups of {SIZE} answers, entry by entry: three names, one estimator, but "
        "for the factor K/(K − 1), which a learning rate, and Adam by itself, takes up.",
    )


EXPERIMENT = Experiment(
    name="group_identities",
    group="language_models",
    row=1,
    claim="rloo is leave_one_out of the group, and K/(K − 1) times dr_grpo.",
    place="Kool et al. 2019; Ahmadian et al. 2024, eq. 7; Liu et al. 2025, §3.2",
    formula="R − 1/(K−1) Σ_{j≠i} Rⱼ = K/(K−1)·(R − mean of all K)",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="What is called a new method differs by a constant from one of 2019.",
    next="shrinkage, the same in a batch: the mean baseline is (N − 1)/N of leave_one_out.",
    seconds=1,
    fast=True,
)
