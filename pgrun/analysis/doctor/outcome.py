"""How it ended: what there is to see where no cause is."""

from __future__ import annotations

from pgrun.analysis.doctor.run_data import Chart
from pgrun.analysis.doctor.steps import CAUSES, suggest_shorter_steps, takes_natural_steps
from pgrun.analysis.doctor.symptom import Symptom, format_figure

STEPS = ("kl-explodes", "everything-is-clipped", "few-effective-samples")
USUAL_KL = 0.05  # nats: trust regions take 0.01, healthy PPO up to 0.03
OTHERS = ("exploration-gone", "gradient-lost-in-noise", "values-out-of-reach", "critic-explains-nothing")


def detect_collapse(chart: Chart) -> str | None:
    course = chart.returns
    if course is None or not course.collapsed or course.worse:
        return None
    return (
        f"the return was {format_figure(course.best.mean)} and fell back to {format_figure(course.end.mean)}"
    )


def suggest_keeping_best(chart: Chart) -> str:
    keys: tuple[str, ...] = ("optimizer.schedule",)
    if takes_natural_steps(chart):  # with algo.step=fixed nothing falls
        keys = ("algo.delta_schedule", "algo.radius_schedule") * (chart.settings.get("algo.step") != "fixed")
    falling = next((f"{key}=linear" for key in keys if chart.settings.get(key) == "constant"), None)
    return f"{falling or 'smaller steps towards the end'}; policy_best is the one before the fall"


def detect_worse_return(chart: Chart) -> str | None:
    course = chart.returns
    if course is None or not course.worse:
        return None
    return (
        f"the return got worse: {format_figure(course.start.mean)} at the start, "
        f"{format_figure(course.end.mean)} at the "
        "end"
    )


def suggest_for_worse_return(chart: Chart) -> str:
    if chart.typical("kl/old_new") < USUAL_KL:
        return (
            "a look at the signs, of the reward and of an objective of your own: the steps have a usual size"
        )
    return (
        f"{suggest_shorter_steps(chart)}, then look at the signs of the reward and of an objective of your "
        "own"
    )


def detect_flat_return(chart: Chart) -> str | None:
    course = chart.returns
    if course is None or not course.stuck or course.worse or course.constant:
        return None
    start, end = (
        f"{format_figure(part.mean)} ± {format_figure(part.error)}" for part in (course.start, course.end)
    )
    return f"the return has not risen beyond its noise: {start} at the start, {end} at the end"


def suggest_longer_training(chart: Chart) -> str:
    total = chart.setting("trainer.total_steps", 1e5)
    return (
        f"trainer.total_steps={10 * total:.0f}, state_norm=true, reward_scaling=true, algo=ppo: one at a time"
    )


SYMPTOMS = (
    Symptom("return-collapsed", detect_collapse, suggest_keeping_best, STEPS),
    Symptom("return-got-worse", detect_worse_return, suggest_for_worse_return, CAUSES),
    Symptom("return-flat", detect_flat_return, suggest_longer_training, (*CAUSES, *STEPS, *OTHERS)),
)
