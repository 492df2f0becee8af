from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

SIZES, ITERATIONS = (8, 64, 256, 1024), 20
EXPECTED = {
    "distance from the dense solution, 58 parameters": Expected(0.0, slack=1e-6),
    "distance from the dense solution, 450 parameters": Expected(0.0, slack=1e-6),
    "residual after 10 iterations, largest network": Expected(low=0.0, high=0.1),
    "power of the parameters with which a product's time grows": Expected(low=0.5, high=1.6),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    parts = [job.result["cg"] for job in commands[0]]
    parameters = [p["parameters"] for p in parts]
    times = [p["microseconds_product"] for p in parts]
    slope = float(np.log(times[-1] / times[1]) / np.log(parameters[-1] / parameters[1]))
    outcomes = {
        "distance from the dense solution, 58 parameters": Measured(parts[0]["off_dense"]),
        "distance from the dense solution, 450 parameters": Measured(parts[1]["off_dense"]),
        "residual after 10 iterations, largest network": Measured(parts[-1]["residuals"][9]),
        "power of the parameters with which a product's time grows": Measured(slope),
    }
    rows: list[tuple[str, ...]] = [
        (
            "parameters P",
            "ms a product",
            "residual after 5",
            "after 10",
            f"after {ITERATIONS}",
            "from the dense solution",
            "ms, dense",
        )
    ]
    for p in parts:
        dense = (
            (f"{p['off_dense']:.0e}", f"{p['microseconds_dense'] / 1e3:.0f}")
            if "off_dense" in p
            else ("–", "–")
        )
        cells = (f"{p['residuals'][i]:.1e}" for i in (4, 9, ITERATIONS - 1))
        rows.append((f"{p['parameters']:,}", f"{p['microseconds_product'] / 1e3:.2f}", *cells, *dense))
    holds = all(m.value < 1e-6 for m in list(outcomes.values())[:2]) and slope < 1.6
    steps = range(1, ITERATIONS + 1)
    return Finding(
        outcomes,
        rows,
        (
            Lines(
                "Residual ‖ĝ − Hx‖/‖ĝ‖",
                "iteration",
                [Series(f"{p['parameters']:,} parameters", steps, p["residuals"]) for p in parts],
                log_y=True,
            ),
            Lines(
                "Time of one product Hv",
                "parameters P",
                (
                    Series("milliseconds", parameters, [t / 1e3 for t in times]),
                    Series(
                        "∝ P",
                        parameters,
                        [times[-1] / 1e3 * n / parameters[-1] for n in parameters],
                        dashed=True,
                    ),
                ),
                log_x=True,
                log_y=True,
            ),
        ),
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"after {ITERATIONS} products the solution is within "
        f"{outcomes['distance from the dense solution, 450 parameters'].value:.0e} of that with the matrix "
        f"written out, and a product's time grows like P to the power {slope:.1f}: {times[-1] / 1e3:.1f} ms "
        f"at {parameters[-1]:,} parameters, where the matrix itself would have "
        f"{parameters[-1] ** 2 / 1e6:.0f} million entries.",
    )


EXPERIMENT = Experiment(
    name="conjugate_gradients",
    group="natural",
    row=31,
    claim="H⁻¹g is found by conjugate gradients in O(N) time, without forming H.",
    chinese="核心逻辑在于不需要显式构建 H，只需要知道给定向量 v，Hv 的结果是多少。…… 所以算 H⁻¹g 可以在 "
    "O(N) 时间内完成。",
    english="The core of it is that H need not be built explicitly; it is enough to know what Hv is for a "
    "given vector v. … So H⁻¹g can be computed in O(N) time.",
    place="C L267–268",
    formula="Hx = ĝ by products Hv = Jᵀ M J v alone (J: the network's Jacobian, M: the metric of the "
    "distribution), one forward and one backward pass each",
    commands=(
        "pgrun-study -m env=CartPole-v1 network.hidden=[8],[64],[256],[1024] critic=none 'schemes=[none]' "
        "cg=20 episodes=100 batch=20 reference_episodes=100 repeats=1",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="O(N) is the cost of one product. How many products are needed depends on how H's eigenvalues "
    "spread, and damping (0.01 here) bounds that; TRPO takes ten.",
    next="network.hidden=[64,64], which algo=trpo trains by default.",
    seconds=30,
)
