from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import final_eval_return, format_iqm, group_by, mean_over_seeds, score_jobs
from pgrun.tools.lab.tables import outcome_rows

if TYPE_CHECKING:
    from torch import nn

EXPECTED = {
    "multiplications for π and V, shared ÷ separate": Expected(0.5020, slack=1e-4),
    "return, separate": Expected(low=-1.0, high=1.0),
    "return, shared": Expected(low=-1.0, high=1.0),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    from pgrun.policies.networks.cnn import Cnn

    groups = group_by(commands[0], "network")
    returns = {name: score_jobs(groups[name,], final_eval_return) for name in ("cnn", "shared_cnn")}
    network = Cnn(hidden=(64,), activation="relu")
    apart = sum(count_multiplications(network.net(64, outputs).module, 64) for outputs in (3, 1))
    together = count_multiplications(network.net(64, 4).module, 64)
    share = together / apart
    numbers = (Measured(share), *map(mean_over_seeds, returns.values()))
    outcomes = dict(zip(EXPECTED, numbers, strict=True))
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars(
                "Multiplications for one observation",
                "of both networks",
                [Bar("separate", apart), Bar("shared", together)],
            ),
        ),
        Verdict.SUPPORTED if share < 0.55 else Verdict.REFUTED,
        f"one trunk takes {together:,} multiplications for π and V of an image of 8 × 8, and two take "
        f"{apart:,}. Final returns after 12 000 steps: separate {format_iqm(returns['cnn'])}, shared "
        f"{format_iqm(returns['shared_cnn'])}.",
    )


def count_multiplications(module: nn.Module, inputs: int) -> int:
    """Of one forward pass, in convolutions and linear layers: weights × places where each stands."""
    import torch

    total = 0

    def add(layer: Any, given: Any, out: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight.numel() * (out[0, 0].numel() if out.dim() == 4 else 1)

    hooks = [
        layer.register_forward_hook(add)
        for layer in module.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    module(torch.zeros(1, inputs))
    for hook in hooks:
        hook.remove()
    return total


EXPERIMENT = Experiment(
    name="shared_trunk",
    group="actor_critic",
    row=19,
    claim="On images, separate networks for actor and critic cost twice the computation.",
    chinese="缺点 :无法共享特征(feature),如果输入是图像(CNN),计算量会由两倍。",
    english="Drawback: features cannot be shared; if the input is an image (CNN), the computation doubles.",
    place="C L134",
    formula="π_θ(a|s), V_φ(s)   or   (V(s), π(·|s)) = heads(trunk_θ(s)) on −L + c_v·value loss",
    commands=(
        "pgrun -m algo=ppo network=cnn,shared_cnn env=pgrun/Catch-v0 seed=0,1,2 trainer.total_steps=12000 "
        "diagnostics.gradient_every=0 logger.every=1000",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="Nearly all of the work is in the trunk. What is shared is pulled two ways, by both losses. The "
    "runs are short: they show that neither design is far behind, and no more.",
    next="critic.coef=0.05,0.5,5 with network=shared_cnn: how hard the critic pulls.",
    seconds=90,
)
