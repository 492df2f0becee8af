"""Steps that are too large, too small, or in no direction; and policies that no longer explore."""

from __future__ import annotations

import math

from pgrun.analysis.doctor.run_data import Chart
from pgrun.analysis.doctor.symptom import Symptom, format_figure, format_scaled_setting

KL_LASTING = 1.0  # nats: a Gaussian moved by 1.4 σ in every state; runs that learned stayed below 0.6
KL_ONCE = 5.0  # nats: 3 σ, after which old samples say nothing; 4 at most in runs that learned
CLIPPED = 0.6  # of the samples have no gradient any more; runs that learned had 0.02 to 0.5
EFFECTIVE = 0.2  # of the samples count; in runs that learned 0.4 at the least
GONE = 0.05  # of the entropy at the start: with two actions, one of them has 0.5 % (H = 0.035 of 0.69)
NARROW = 0.02  # σ of actions in [−1, 1]: noise of 1 % of their range
WIDE = 5.0  # σ of actions in [−1, 1]: five in six of them are clipped to an end
PATH = 0.1  # σ: the policy's move if all updates had gone the same way, KL = 0.005 in the whole run
HOPELESS = 0.1  # (‖ĝ‖² − variance)/variance: a batch ten times as large would have as much signal as noise
LITTLE_NOISE = -2.0  # log σ: σ = 0.14
EPOCHS = 20  # over one batch: as many as any of the tuned settings
READINGS = 10  # of the gradient's variance, for their median to be worth something
FEW = 8  # rows of a batch that are hardly more than one
COIN = math.log(2)  # the least entropy that a policy starts with, unless network.policy_gain makes it certain
CAUSES = (
    *("every-return-the-same", "no-episode-ends", "normaliser-frozen", "all-states-look-alike"),
    *("short-sighted", "batch-of-one", "kl-explodes", "noise-grows", "steps-too-small"),
)  # of a return that does not rise
GAUSSIAN = 0.5 * math.log(2 * math.pi * math.e)  # entropy of N(0, 1)


def takes_natural_steps(chart: Chart) -> bool:
    return chart.settings.get("algo.name") in ("npg", "trpo", "euclidean_pg")


def suggest_shorter_steps(chart: Chart) -> str:
    """A tenth of whatever makes the steps long."""
    for key in ("algo.radius", "algo.delta"):
        if takes_natural_steps(chart) and key in chart.settings:
            return format_scaled_setting(chart, key, 0.1, 0.01)
    if chart.setting("network.log_std", -0.5) < LITTLE_NOISE:
        return "network.log_std=-0.5: in units of so small a σ every step is long"
    smaller = format_scaled_setting(chart, "optimizer.lr", 0.1, 3e-4)
    if chart.setting("algo.epochs", 1) > EPOCHS:
        return f"algo.epochs=10 (now {chart.setting('algo.epochs'):.0f}), then {smaller}"
    stop = " or algo.target_kl=0.02" if chart.settings.get("algo.name") == "ppo" else ""
    return f"{smaller}{stop}"


def is_spared_by_replay(chart: Chart) -> bool:
    """Learning from replayed states with actions drawn anew: nothing hangs on how near the last policy is."""
    return chart.settings.get("sampler.name") == "replay" and chart.learning


def detect_kl_explosion(chart: Chart) -> str | None:
    """One long step that the run got over is no illness."""
    once, lasting = chart.values("kl/old_new"), chart.windows("kl/old_new")
    if not len(once):
        return None
    lasts = max(lasting) > KL_LASTING and not is_spared_by_replay(chart)
    if not (lasts or (once.max() > KL_ONCE and not chart.learning)):
        return None
    return f"KL explodes: one update moved the policy by {format_figure(once.max())} nats (0.01 is usual)"


def detect_all_clipped(chart: Chart) -> str | None:
    worst = max(chart.windows("ratio/clip_fraction"), default=0)
    if not worst > CLIPPED or detect_kl_explosion(chart):
        return None
    return f"the clip is active on {worst:.0%} of the samples for a sixth of the run (2 to 40 % is usual)"


def detect_few_effective_samples(chart: Chart) -> str | None:
    worst = min(chart.windows("ratio/ess"), default=1)
    if not worst < EFFECTIVE or detect_kl_explosion(chart) or is_spared_by_replay(chart):
        return None
    return (
        f"after an update the batch is worth {worst:.2g} of its samples (ratio/ess): the policy has left them"
    )


def final_sigma(chart: Chart) -> float:
    """σ of the actions at the end, exp(H/d − ½ log 2πe); NaN where they are no Gaussian's."""
    entropy = chart.typical("policy/entropy", 0.1)
    return math.exp(min(entropy / chart.actions - GAUSSIAN, 700)) if chart.actions else math.nan


def detect_no_exploration(chart: Chart) -> str | None:
    """A policy may well end without noise: it is an illness where the return is bad."""
    entropy = chart.values("policy/entropy")
    if not len(entropy) or not chart.failing or chart.actions == 0:
        return None
    if chart.actions:
        narrow = final_sigma(chart)
        return f"exploration is gone: σ of the actions is {narrow:.2g}" if narrow < NARROW else None
    first, last = float(entropy[0]), chart.typical("policy/entropy", 0.1)
    if chart.actions is None and (first < 0 or last < 0):
        return None  # Gaussian, and how many dimensions is not known
    if last > GONE * max(first, COIN):
        return None
    begun = f"{format_figure(first)} at first" if first > last else "from the first update on"
    return f"exploration is gone: entropy {format_figure(last)}, {begun}"


def suggest_exploring(chart: Chart) -> str:
    if chart.setting("network.log_std", -0.5) < LITTLE_NOISE:
        return "network.log_std=-0.5, where the noise starts"
    if chart.setting("network.policy_gain", 0.01) > 1:
        return "network.policy_gain=0.01: all actions alike at the start"
    return f"algo.entropy=0.01, and {suggest_shorter_steps(chart)}"


def detect_growing_noise(chart: Chart) -> str | None:
    wide = final_sigma(chart)
    if not (chart.failing and wide > WIDE):
        return None
    return f"the noise has grown to σ = {format_figure(wide)} in actions of [−1, 1]: they are all at the ends"


def suggest_less_noise(chart: Chart) -> str:
    if chart.setting("algo.entropy", 0) > 0:
        return (
            f"algo.entropy=0 (now {chart.setting('algo.entropy'):g}): its bonus for noise is larger than "
            "what the actions earn"
        )
    return "reward_scaling=true and state_norm=true"


def detect_small_steps(chart: Chart) -> str | None:
    """n updates of KL k move a policy by n√(2k) of its own σ at the most."""
    typical = chart.typical("kl/old_new")
    path = chart.updates * math.sqrt(2 * max(typical, 0.0))
    if math.isnan(typical) or not chart.updates or not chart.failing or path > PATH:
        return None
    return f"the policy hardly moves: KL {typical:.1e} an update, {chart.updates:,} updates"


def suggest_larger_steps(chart: Chart) -> str:
    if takes_natural_steps(chart):
        return "algo.radius=0.1" if "algo.radius" in chart.settings else "algo.delta=0.01"
    return format_scaled_setting(chart, "optimizer.lr", 100, 3e-4)


def detect_single_unit(chart: Chart) -> str | None:
    if not chart.failing:
        return None
    sampler, columns = chart.settings.get("sampler.name"), chart.setting("env.num_envs", 1)
    if sampler == "episodes" and chart.setting("sampler.episodes") == 1:
        return "each gradient comes from a single episode, and the return does not rise"
    rows = chart.setting("sampler.steps") * columns
    if sampler == "steps" and rows <= FEW:
        return f"each gradient comes from {rows:,.0f} step{'s' * (rows > 1)}, and the return does not rise"
    return None


def suggest_more_data(chart: Chart) -> str:
    if chart.settings.get("sampler.name") == "episodes":
        return "sampler.episodes=16 env.num_envs=16"
    return "sampler.steps=128 env.num_envs=8, which algo=a2c or ppo take"


def detect_gradient_lost_in_noise(chart: Chart) -> str | None:
    ratio = chart.values("gradient/snr")
    stuck = chart.failing and chart.returns is not None and not chart.returns.rising
    if not stuck or len(ratio) < READINGS or not chart.typical("gradient/snr") < HOPELESS:
        return None
    typical = chart.typical("gradient/snr")
    return (
        f"the gradient is lost in its noise: signal to noise {typical:.2g} (median of {len(ratio)} readings)"
    )


def suggest_quieter_gradient(chart: Chart) -> str:
    episodes = chart.settings.get("sampler.name") == "episodes"
    kind = str(chart.settings.get("sampler.name"))
    key = {"episodes": "sampler.episodes", "replay": "sampler.batch"}.get(kind, "sampler.steps")
    better = (
        " and variance=value_baseline" if episodes and chart.settings.get("variance.name") == "none" else ""
    )
    return f"{format_scaled_setting(chart, key, 4, 128)}{better}: the variance falls as one over the batch"


SYMPTOMS = (
    Symptom("batch-of-one", detect_single_unit, suggest_more_data),
    Symptom("kl-explodes", detect_kl_explosion, suggest_shorter_steps, ("not-finite",)),
    Symptom("everything-is-clipped", detect_all_clipped, suggest_shorter_steps),
    Symptom("few-effective-samples", detect_few_effective_samples, suggest_shorter_steps),
    Symptom("exploration-gone", detect_no_exploration, suggest_exploring, ("kl-explodes", "batch-of-one")),
    Symptom("noise-grows", detect_growing_noise, suggest_less_noise),
    Symptom(
        "steps-too-small",
        detect_small_steps,
        suggest_larger_steps,
        ("exploration-gone", "all-states-look-alike"),
    ),
    Symptom(
        "gradient-lost-in-noise",
        detect_gradient_lost_in_noise,
        suggest_quieter_gradient,
        (*CAUSES, "exploration-gone"),
    ),
)
