"""What a value of another tool's is here, where it takes the run's own numbers to say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pgrun.command.foreign_names import TRACKERS, ForeignName
from pgrun.config.schema import find_class
from pgrun.config.user_modules import user_module_names

Settings = Mapping[str, Any]
LAYERS = ("l", "n_layers", "-l", "layers")
SIZES = ("size", "-s", "layer_size")
LIST = re.compile(r"\[[\d, ]*\]")
NUMBER = r"-?[\d.]+(?:e-?\d+)?"
ACTIVATION = re.compile(r"\b(tanh|relu|gelu|elu|silu)\b", re.IGNORECASE)


def put_value(here: str, value: str) -> str:
    """``here`` with a value in Hydra's spelling: Python's True and None, several values, ``lin_3e-4``."""
    falling = re.fullmatch(r"lin_(.+)", value)
    value = falling[1] if falling else value
    value = {"True": "true", "False": "false", "None": "null"}.get(value, value)
    if " " in value and not re.search(r"[\[{(]", value):
        value = ",".join(value.split())
    if "," in value and "critic.optimizer" in here:  # one sweep, not two
        here = re.sub(r"critic\.(optimizer\.\w+)=\{\}", r"critic.\1=${\1}", here)
    words = here.replace("{}", value)
    if falling and here.startswith("optimizer.lr="):
        words += " optimizer.schedule=linear critic.optimizer.schedule=linear"
    return words


def has_own_critic(settings: Settings) -> bool:
    """Whether there is a critic with an optimizer of its own."""
    return uses_critic(settings) and not is_shared(settings)


def is_shared(settings: Settings) -> bool:
    return bool(getattr(find_chosen_class(settings, "network"), "shared", False))


def uses_critic(settings: Settings) -> bool:
    return bool(getattr(find_chosen_class(settings, "variance"), "uses_critic", False))


def find_chosen_class(settings: Settings, group: str) -> type | None:
    """The class of a group, the user's own included; None where there is none, or no importing it: the check
    of the modules says why.
    """
    try:
        return find_class(group, settings[group]["name"], user_module_names(settings))
    except (Exception, SystemExit):  # of the user's module: whatever it raises
        return None


def count_batch_rows(settings: Settings) -> int | None:
    """Rows of a batch; None where whole episodes decide."""
    sampler = settings["sampler"]
    if sampler["name"] == "steps":
        return int(sampler["steps"] * settings["env"]["num_envs"])
    return None


EPISODES = "whole episodes are played: sampler.episodes={} says how many"


def convert_minibatches(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    """How many minibatches have ``value`` rows; for an algorithm without them ``value`` is the batch."""
    rows = count_batch_rows(settings)
    if rows is None or "minibatches" not in settings["algo"]:
        return convert_steps(row, value, settings, others)
    parts = apply_to_each_value(value, lambda size: max(-(-rows // size), 1))
    what = f"{rows} rows (sampler.steps × env.num_envs) ÷ {value}"
    return (f"algo.minibatches={parts}", what) if parts else ("", row.note)


def convert_steps(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    envs = settings["env"]["num_envs"]
    if settings["sampler"]["name"] == "episodes":
        return "", EPISODES.format(settings["sampler"]["episodes"])
    parts = apply_to_each_value(value, lambda total: max(-(-total // envs), 1))
    return (
        (f"sampler.steps={parts}", f"{value} steps ÷ {envs} environments (env.num_envs)")
        if parts
        else ("", row.note)
    )


def apply_to_each_value(value: str, of: Callable[[int], int]) -> str:
    """The function of each value of a sweep; "" where one is no whole number above 0."""
    try:
        numbers = [int(float(part)) for part in value.split(",")]
    except ValueError:
        return ""
    return ",".join(str(of(number)) for number in numbers) if min(numbers) > 0 else ""


def convert_iterations(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    batch = next((others[name] for name in ("-b", "batch_size", "steps_per_epoch") if others.get(name)), None)
    rows = count_batch_rows(settings) if batch is None else int(apply_to_each_value(batch, int) or 0)
    total = rows and apply_to_each_value(value, lambda count: count * rows)
    if not total:
        return "", "training is as long as trainer.total_steps says, in environment steps"
    return f"trainer.total_steps={total}", f"{value} iterations × {rows} rows"


def convert_epochs(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    counts = [apply_to_each_value(others.get(name, ""), int) for name in ("epoch", "step_per_epoch")]
    if not all(counts):
        return "", "trainer.total_steps is epoch × step_per_epoch, in environment steps"
    total = int(counts[0]) * int(counts[1])
    return f"trainer.total_steps={total}", "epoch × step_per_epoch"


def convert_gae(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    choice = "" if settings["variance"]["name"] == "gae" else "variance=gae "
    return choice + put_value(row.here, value), row.note


def convert_critic(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    choice = "" if uses_critic(settings) else "variance=value_baseline "
    return choice + put_value(row.here, value), row.note


def convert_coef(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    """The value loss has a factor ½ here and in CleanRL, and none in the other tools."""
    if not is_shared(settings):
        return "", row.note
    if row.cleanrl:
        return put_value(row.here, value), "the weight of the value loss in the joint loss"
    try:
        twice = ",".join(f"{2 * float(part):g}" for part in value.split(","))
    except ValueError:
        return "", f"{row.note}; twice the number, which has a factor ½ here"
    return put_value(row.here, twice), "twice the number: the value loss has a factor ½ here, and none there"


def convert_target_kl(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    if "delta" in settings["algo"]:
        return f"algo.delta={value}", "the step's KL, to second order"
    return put_value(row.here, value), row.note


def convert_layers(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    if own := read_own_layers(value):
        return own, row.note
    lists = LIST.findall(value)
    if lists:
        shapes = dict.fromkeys(shape.replace(" ", "") for shape in lists)
        return f"network.hidden={','.join(shapes)}", row.note
    if len(value.split()) > 1:
        return f"network.hidden=[{','.join(value.split())}]", row.note
    depth = next((others[name] for name in LAYERS if name in others), "2")
    size = next((others[name] for name in (*SIZES, "hid") if name in others), "64")
    if not (apply_to_each_value(depth, int) and apply_to_each_value(size, int)):
        return "", "network.hidden=[64,64] is a list of layers"
    return f"network.hidden=[{','.join([size] * int(depth))}]", f"{depth} layers of {size} units"


def read_own_layers(value: str) -> str:
    """The words for ``pi=[32,32], vf=[64,64]``, a shape for each network; "" where there are not both."""
    shapes = dict(re.findall(r"\b(pi|vf)\W*[=:]\s*(\[[\d, ]*\])", value.replace(" ", "")))
    if len(shapes) < 2:
        return ""
    return f"network.hidden={shapes['pi']} network.critic_hidden={shapes['vf']}"


def convert_policy_kwargs(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    words = []
    if own := read_own_layers(value):
        words.append(own)
    elif shapes := LIST.findall(value):
        words.append(f"network.hidden={shapes[0].replace(' ', '')}")
    if kind := ACTIVATION.search(value):
        words.append(f"network.activation={kind[0].lower()}")
    if re.search(r"ortho_init\W+False", value, re.I):
        words.append("network.init=torch")
    if sigma := re.search(rf"log_std_init\W*[=:]\s*({NUMBER})", value):
        owner = "policy" if settings["policy"]["name"] == "gsde" else "network"
        words.append(f"{owner}.log_std={sigma[1]}")
    return " ".join(words), row.note


def convert_activation(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    kind = ACTIVATION.search(value)
    return (f"network.activation={kind[0].lower()}" if kind else "", "tanh, relu, gelu, elu or silu")


def convert_kwargs(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    """``goal_velocity:10 a:1``, as rl-zoo has it, or a dict."""
    pairs = value.strip("{} ").replace("'", "").replace(": ", ":").replace(",", " ").split()
    return f"env.kwargs={{{','.join(pairs)}}}", row.note


def convert_seeds(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    count = apply_to_each_value(value, int)
    if not count or "," in count:
        return "", "-m seed=0,1,2 is a sweep over seeds"
    return f"seed={','.join(map(str, range(int(count))))}", "a sweep, -m"


def convert_logger(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    return (f"logger.also=[{value}]" if value in TRACKERS else "", row.note)


def convert_project(
    row: ForeignName, value: str, settings: Settings, others: Mapping[str, str]
) -> tuple[str, str]:
    """A project is read where a tracker is asked for."""
    asked = others.get("track", "false").lower() not in ("false", "0", "no")
    tracked = asked or others.get("logger") in TRACKERS
    return (put_value("logger.project={}", value), "") if tracked else ("", row.note)


COMPUTE: dict[str, Callable[[ForeignName, str, Settings, Mapping[str, str]], tuple[str, str]]] = {
    function.__name__.removeprefix("convert_"): function
    for function in (
        *(
            convert_minibatches,
            convert_steps,
            convert_iterations,
            convert_epochs,
            convert_gae,
            convert_critic,
            convert_coef,
            convert_target_kl,
        ),
        *(
            convert_layers,
            convert_policy_kwargs,
            convert_activation,
            convert_kwargs,
            convert_seeds,
            convert_logger,
            convert_project,
        ),
    )
}
