"""The parts of a study beside the scores, on the terminal: a line or a small table each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Part = Mapping[str, Any]
SHOWN = 8  # time steps


def format_sections(result: Mapping[str, Any]) -> Iterator[str]:
    """What was asked for, in the order of study.json."""
    for key, tell in TELL.items():
        if key in result:
            yield tell(result[key])


def format_weight_products(part: Part) -> str:
    line = (
        f"W = ∏ρ of an episode: mean {part['mean']:.4g} ± {part['mean_se']:.2g}, largest {part['max']:.4g}, "
        f"E[W²] {part['square']:.4g} ± {part['square_se']:.2g}, effective sample size "
        f"{100 * part['ess']:.2g} %; largest single ρ {part['largest_ratio']:.4g}"
    )
    if "max_exact" not in part:
        return line
    states = part["states"]
    return (
        f"{line}\nexactly: largest {part['max_exact']:.4g}, E[W²] {part['square_exact']:.4g}, effective "
        f"sample size {100 * part['ess_exact']:.2g} %; states: max |p'/p − 1| {max(states['ratio']):.3g}, "
        f"Σ|p' − p| {max(states['shift']):.3g}"
    )


def format_psi_by_step(part: Part) -> str:
    lines = ["Ψ by time step: mean of good actions, of bad ones, share of wrong signs"]
    for label, by in part.items():
        for t in range(min(SHOWN, sum(n > 0 for n in by["count"]))):
            cells = (by[f"{name}_{what}"][t] for what in ("mean", "wrong") for name in ("good", "bad"))
            lines.append(f"  {label} t={t}: " + "  ".join("–" if x is None else f"{x:.3g}" for x in cells))
    return "\n".join(lines)


def format_fisher_errors(part: Part) -> str:
    lines = [f"Fisher matrix of {part['parameters']} parameters, rank {part['rank_exact']}; from N samples:"]
    lines += [
        f"  N={e['samples']}: relative error {e['error']:.3g} ± {e['error_se']:.1g} (√(c/N): "
        f"{e['predicted']:.3g}), rank {e['rank']}, a product {e['microseconds_outer']:.0f} µs, of the KL's "
        f"Hessian {e['microseconds_hessian']:.0f} µs"
        for e in part["sizes"]
    ]
    return "\n".join(lines)


def format_conjugate_gradients(part: Part) -> str:
    off = f", {part['off_dense']:.1g} from the dense solution" if "off_dense" in part else ""
    residuals = " ".join(f"{r:.1e}" for r in part["residuals"])
    product = f"{part['microseconds_product']:.0f} µs a product"
    return f"conjugate gradients, {part['parameters']} parameters, {product}{off}; residuals {residuals}"


def format_single_step(part: Part) -> str:
    return "\n".join(
        f"{name} step: ‖Δθ‖ {e['distance']:.4g}, KL {e['kl_old_new']:.4g} (½ΔᵀFΔ {e['kl_predicted']:.4g}), "
        f"gain {e['gain_predicted']:.4g} to first order"
        for name, e in part.items()
        if isinstance(e, Mapping)
    )


def of_kl(part: Part) -> str:
    lines = [
        f"KL from the reference {part['exact_value']:.4g}, ‖gradient‖ {part['reward_gradient_norm']:.4g}, "
        f"states as they are {part['loss_gradient_norm']:.4g}; bias, variance of an episode's estimate:"
    ]
    for name, e in part["estimators"].items():
        pairs = (
            f"{place} {e[f'{key}_bias']:.3g}, {e[f'{key}_variance']:.3g}"
            for place, key in (
                ("value", "value"),
                ("gradient in the loss", "loss_gradient"),
                ("in the reward", "reward_gradient"),
            )
        )
        lines.append(f"  {name:<6}" + "; ".join(pairs))
    return "\n".join(lines)


def format_decomposition(part: Part) -> str:
    how = "over all episodes" if part["by"] == "exact" else "sampled"
    decomposition = [f"variance of one step's term, {how}: by the state + by the action + by the rest"]
    for label, e in part["schemes"].items():
        cells = (format_part(e, name) for name in ("total", "state", "action", "rest"))
        decomposition.append(f"  {label:<16} " + "{} = {} + {} + {}".format(*cells))
    return "\n".join(
        [*decomposition, *(f"  {label}: {reason}" for label, reason in part["left_out"].items())]
    )


def format_part(e: Part, name: str) -> str:
    """A part with its error; rounding is 0."""
    if abs(e[name]) < 1e-12 * e["total"]:
        return "0"
    return f"{e[name]:.4g}" + (f" ± {e[f'{name}_se']:.2g}" if e[f"{name}_se"] else "")


TELL: dict[str, Callable[[Part], str]] = {
    "by_step": format_psi_by_step,
    "products": format_weight_products,
    "fisher": format_fisher_errors,
    "cg": format_conjugate_gradients,
    "step": format_single_step,
    "kl": of_kl,
    "decompose": format_decomposition,
}
