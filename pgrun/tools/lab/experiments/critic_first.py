from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows
from pgrun.tools.lab.units import bias_in_theta

STEPS, RATE, BATCH, TRUE = (1, 5, 30), 0.1, 8, 100.0  # ∇J = 1/(1 − θ)² at θ = 0.9


def bias(steps: int) -> float:
    """After K steps V is (1 − (1 − β)ᴷ)Ḡ and something that no data of the batch has touched;
    E[B̄Ḡ] = ∇J/(N + 1).
    """
    return -(1 - (1 - RATE) ** steps) * TRUE / (BATCH + 1)


EXPECTED = {f"bias, fitted before, K_v = {k}": Expected(bias(k)) for k in STEPS} | {
    f"bias, fitted after, K_v = {k}": Expected(0.0) for k in STEPS
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    outcomes: dict[str, Measured] = {}
    for job in commands[0]:
        label = f"bias, fitted {job.words['critic.fit']}, K_v = {job.words['critic.epochs']}"
        outcomes[label] = bias_in_theta(job.result["schemes"]["value_baseline"], 0.9)
    before, after = (
        [outcomes[f"bias, fitted {order}, K_v = {k}"] for k in STEPS] for order in ("before", "after")
    )
    biased = abs(before[-1].value) > 4 * before[-1].se
    clean = all(abs(m.value) < 4 * m.se for m in after)
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Lines(
                f"Bias of the gradient (∇J = {TRUE:g})",
                "K_v, critic steps on the batch",
                (
                    Series(
                        "critic first, then Ψ",
                        STEPS,
                        [m.value for m in before],
                        [m.se for m in before],
                        points=True,
                    ),
                    Series(
                        "Ψ from the critic of earlier data",
                        STEPS,
                        [m.value for m in after],
                        [m.se for m in after],
                    ),
                    Series(
                        "−(1 − (1 − β)ᴷ)·∇J/(N + 1)",
                        range(1, 31),
                        [bias(k) for k in range(1, 31)],
                        dashed=True,
                    ),
                ),
            ),
        ),
        Verdict.DEPENDS if biased and clean else Verdict.SUPPORTED,
        "a critic that is fitted to the batch first has seen the returns it is subtracted from: the "
        f"gradient is off by {before[0]} after one step and by {before[-1]} after {STEPS[-1]}, of {TRUE:g}. "
        f"Taking Ψ from the critic before it is fitted leaves {after[-1]}.",
    )


EXPERIMENT = Experiment(
    name="critic_first",
    group="critics",
    row=18,
    claim="Batch actor-critic: fit the critic on the batch, then compute the advantages with it.",
    chinese="先把数据攒起来,再用 mini-batch 的方式把 critic 拟合得更靠谱,然后用这一批数据统一更新 actor …… "
    "# 2) update critic …… # 3) compute advantages on the batch …… # 4) update actor",
    english="First collect the data, then fit the critic more reliably with mini-batches, then update the "
    "actor at once with this batch of data … # 2) update critic … # 3) compute advantages on the batch … # "
    "4) update actor",
    place="C L162–165",
    formula="V ← V + β(Ḡ − V), K_v times;   E[1/N Σᵢ Σₜ gₜ(Gₜ − V)] = ∇J·(1 − (1 − (1 − β)^K_v)/(N + 1))  "
    "on OneState",
    commands=(
        "pgrun-study -m env=pgrun/OneState-v0 env.kwargs.theta=0.9 env.max_episode_steps=400 gamma=1 "
        "critic=fitted critic/optimizer=sgd critic.optimizer.lr=0.1 critic.target=mc critic.minibatches=1 "
        "critic.fit=before,after critic.epochs=1,5,30 critic_episodes=8 'schemes=[value_baseline]' batch=8 "
        "episodes=8000 env.num_envs=256 repeats=1",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="The order of the pseudo code is not wrong, but it is no longer unbiased; the smaller the batch "
    "and the harder the fit, the more so. In the limit the critic reproduces every return, and nothing is "
    "left to learn from.",
    next="batch=32 in the command: the bias falls like 1/(N + 1). In training the choice is critic.fit, and "
    "`after` is the default.",
    seconds=25,
)
