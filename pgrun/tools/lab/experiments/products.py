from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

HORIZONS = (1, 10, 100, 500)
WEIGHTS = ("trajectory", "trajectory_rtg", "per_decision", "past_only", "state_ratio", "per_step")
EXPECTED = (
    {f"largest W possible, T = {t}": Expected(1.1**t, slack=1e-9 * 1.1**t) for t in HORIZONS}
    | {f"E[W²], T = {t}": Expected(1.01**t, slack=1e-9 * 1.01**t) for t in HORIZONS}
    | {f"E[W²] measured, T = {t}": Expected(1.01**t) for t in HORIZONS[:3]}
    | {f"mean W, T = {t}": Expected(1.0) for t in HORIZONS[:3]}
    | {"variance of per_decision ÷ per_step, T = 500": Expected(low=2.0)}
    | {"largest single ratio, T = 500": Expected(1.1, slack=1e-9)}
)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    parts = {t: job.result["products"] for t, job in zip(HORIZONS, commands[0], strict=True)}
    entries = {t: job.result["schemes"] for t, job in zip(HORIZONS, commands[0], strict=True)}
    relative = {
        w: [entries[t][w]["variance"] / entries[t]["per_step"]["variance"] for t in HORIZONS] for w in WEIGHTS
    }
    outcomes = {f"largest W possible, T = {t}": Measured(parts[t]["max_exact"]) for t in HORIZONS}
    outcomes |= {f"E[W²], T = {t}": Measured(parts[t]["square_exact"]) for t in HORIZONS}
    outcomes |= {
        f"E[W²] measured, T = {t}": Measured(parts[t]["square"], parts[t]["square_se"]) for t in HORIZONS[:3]
    }
    outcomes |= {f"mean W, T = {t}": Measured(parts[t]["mean"], parts[t]["mean_se"]) for t in HORIZONS[:3]}
    outcomes["variance of per_decision ÷ per_step, T = 500"] = Measured(relative["per_decision"][-1])
    outcomes["largest single ratio, T = 500"] = Measured(parts[500]["largest_ratio"])
    rows: list[tuple[str, ...]] = [
        ("T", "largest W possible", "largest seen", "E[W²]", "measured", "ESS", "measured")
    ]
    for t, p in parts.items():
        ess = [f"{100 * p[key]:.3g} %" for key in ("ess_exact", "ess")]
        rows.append(
            (
                str(t),
                f"{p['max_exact']:.4g}",
                f"{p['max']:.4g}",
                f"{p['square_exact']:.4g}",
                f"{p['square']:.4g}",
                *ess,
            )
        )
    explodes = parts[500]["max_exact"] > 1e6 and parts[500]["ess_exact"] < 0.05
    last = parts[500]
    return Finding(
        outcomes,
        rows,
        (
            Lines(
                "Effective sample size of ∏ρ",
                "T, steps of an episode",
                (
                    Series("measured, 10,000 episodes", HORIZONS, [p["ess"] for p in parts.values()]),
                    Series("1/1.01ᵀ", HORIZONS, [1.01**-t for t in HORIZONS], dashed=True),
                ),
                log_x=True,
                log_y=True,
            ),
            Lines(
                "Variance, of that with per-step weights",
                "T, steps of an episode",
                [Series(w, HORIZONS, relative[w]) for w in WEIGHTS],
                log_x=True,
                log_y=True,
            ),
        ),
        Verdict.SUPPORTED if explodes else Verdict.REFUTED,
        "ratios that are 1.1 or 0.9 make products of up to 1.1ᵀ: 13,781 at T = 100, "
        f"{last['max_exact']:.0e} at T = 500, with E[W²] = 1.01ᵀ and an effective sample size of "
        f"{100 * parts[100]['ess_exact']:.0f} % and {100 * last['ess_exact']:.1f} %. The sample itself "
        f"hides it: at T = 500 it says {100 * last['ess']:.1f} %, since the products that matter were not "
        "drawn. The ratio of a single step stays at 1.1.",
    )


EXPERIMENT = Experiment(
    name="products",
    group="off_policy",
    row=24,
    claim="A product of ratios that are each only a little off explodes or vanishes: 1.1¹⁰⁰.",
    chinese="连乘的那个比值哪怕每一项都只偏离一点点（比如 1.1 或 0.9），如果你乘上 100 "
    "步（1.1^100），这个数值就会变得巨大或者接近于零。这会让梯度计算极其不稳定（方差极大）。",
    english="In that product of ratios, even if every factor is off by a little only (say 1.1 or 0.9), once "
    "you multiply 100 steps (1.1^100) the number becomes huge or close to zero. That makes the computation "
    "of the gradient extremely unstable (enormous variance).",
    place="A L231; C L240",
    formula="π = (0.55, 0.45), β = (½, ½), W = ∏ρₜ:   max W = 1.1ᵀ,   E_β[W] = 1,   E_β[W²] = 1.01ᵀ,   ESS "
    "= (ΣW)²/ΣW² → 1.01⁻ᵀ",
    commands=(
        "pgrun-study -m env=pgrun/FixedHorizon-v0 env.kwargs.T=1,10,100,500 gamma=1 policy.theta=0.55 "
        "behaviour.theta=0.5 "
        "'weights=[trajectory,trajectory_rtg,per_decision,past_only,state_ratio,per_step]' batch=20 "
        "episodes=10000 env.num_envs=256 repeats=1",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="Dropping weights brings the variance down step by step: those of actions after a reward "
    "(per_decision), those between (past_only), those before (per_step, which is PPO's). `pgrun-lab "
    "past_only` and `state_shift` are the price.",
    next="{trajectory:{truncate:10}} in the list of weights: a cap on the product, some bias for much less "
    "variance.",
    seconds=40,
)
