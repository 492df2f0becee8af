"""What does not go together: scheme, algorithm, sampler, critic, network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pgrun.config.schema import construct_from_settings
from pgrun.config.settings import CENTERING
from pgrun.errors import Mistake


def find_misfits(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[Mistake]:
    """Each with the nearest choice that fits."""
    scheme, algo, sampler = chosen["variance"], chosen["algo"], settings["sampler"]
    name, kind = settings["variance"]["name"], sampler["name"]
    if kind not in algo.samplers:
        fits = algo.samplers[0]
        yield Mistake(
            "algo",
            settings["algo"]["name"],
            f"needs sampler={fits}, not sampler={kind}",
            f"add sampler={fits}",
        )
    yield from find_wrong_scheme(settings, chosen)
    yield from find_wrong_critic(settings, chosen)
    if algo.takes_own_step and chosen["network"].shared:
        yield Mistake(
            "algo", settings["algo"]["name"], "steps in the policy's parameters alone", "add network=separate"
        )
    if scheme.whole_episodes and kind != "episodes":
        yield Mistake(
            "variance",
            name,
            "needs whole episodes",
            "add sampler=episodes, or take variance=value_baseline or gae",
        )
    if kind == "episodes" and scheme.compares_episodes and sampler["episodes"] < 2:
        yield Mistake("variance", name, "compares episodes: sampler.episodes must be at least 2")
    if kind == "episodes":
        yield from find_wrong_group(settings, chosen)
    if build_scheme(settings, chosen).corrects_gradient:
        yield from find_not_one_plain_step(settings)
        if not algo.takes_corrections:
            yield Mistake(
                "variance",
                name,
                f"adds to the gradient what algo={settings['algo']['name']} cannot weigh",
                "add variance=value_baseline",
            )
    if kind == "episodes" and settings["variance"].get("normalised"):
        instead = "add sampler=steps, or variance.normalised=false"
        if "steps" not in algo.samplers:
            instead = "add variance.normalised=false"
        yield Mistake(
            "variance.normalised",
            "true",
            (
                "averages over the steps left in the rollout, and with sampler=episodes the length "
                f"of the episodes themselves decides how many those are, which biases: {instead}"
            ),
        )
    yield from find_wrong_advantage_norm(settings, chosen)
    if kind == "steps":
        yield from find_too_many_minibatches(settings, chosen)
    if kind == "replay":
        yield from find_wrong_replay(sampler, settings["trainer"]["total_steps"])


def find_wrong_scheme(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[Mistake]:
    scheme, algo, name = chosen["variance"], chosen["algo"], settings["variance"]["name"]
    if algo.allowed_schemes and name not in algo.allowed_schemes:
        yield Mistake(
            "algo",
            settings["algo"]["name"],
            f"takes variance={' or '.join(algo.allowed_schemes)}, not {name}",
            f"add variance={algo.allowed_schemes[0]}",
        )
    elif scheme.uses_q and not chosen["critic"].knows_q:
        instead = "algo.baseline=expectation of " if scheme.uses_every_q else ""
        yield Mistake(
            "variance",
            name,
            "needs Q(s, a)",
            "add critic=fitted_q where actions are Discrete, or critic=exact on a tabular environment, "
            f"or take {instead}algo=off_policy_ac",
        )


def find_wrong_critic(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[Mistake]:
    algo, name, critic = settings["algo"]["name"], settings["critic"]["name"], chosen["critic"]
    if not chosen["variance"].uses_critic:
        return
    if critic.of_actions != chosen["algo"].of_actions:
        fits = "action_value" if chosen["algo"].of_actions else "fitted"
        yield Mistake("algo", algo, f"cannot learn from critic={name}", f"add critic={fits}")
    if chosen["network"].shared and not critic.shares:
        yield Mistake("critic", name, "is no head of the policy's network", "add network=separate")


def find_wrong_group(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[Mistake]:
    """Groups of one, or that the episodes cannot be divided into."""
    scheme, sampler = settings["variance"]["name"], settings["sampler"]
    usual, episodes = chosen["variance"].usual_group, sampler["episodes"]
    size = sampler["group"] or usual
    if usual > 1 and size < 2:
        yield Mistake(
            "sampler.group",
            "1",
            f"variance={scheme} compares episodes from the same start",
            f"add sampler.group={usual}, or take variance=reward_to_go",
        )
    elif episodes % size:
        fits = max(episodes // size, 1) * size
        yield Mistake(
            "sampler.group",
            size,
            f"must divide sampler.episodes={episodes}",
            f"add sampler.episodes={fits}, or another sampler.group",
        )


def find_not_one_plain_step(settings: Mapping[str, Any]) -> Iterator[Mistake]:
    """What corrects the gradient itself does so at θ_old and in its own units."""
    scheme = settings["variance"]
    what, instead = f"variance={scheme['name']}", "variance=advantage"
    if "kind" in scheme:
        what, instead = f"variance.kind={scheme['kind']}", "variance.kind=scalar"
    several = [key for key in ("epochs", "minibatches", "reuses") if settings["algo"].get(key, 1) > 1]
    if several:
        yield Mistake(
            what,
            None,
            f"corrects one gradient, and algo.{several[0]} asks for several steps",
            f"take algo=reinforce, or {instead}",
        )
    if settings["advantage_norm"] != "none":
        yield Mistake(what, None, "corrects the gradient as it is", "add advantage_norm=none")


def find_wrong_advantage_norm(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[Mistake]:
    """Minibatches that there are none of, and normalisation that makes every Ψ zero."""
    norm, sampler, algo = settings["advantage_norm"], settings["sampler"], settings["algo"]
    scope = settings["advantage_scope"]
    if scope == "minibatch" and "minibatches" not in algo:
        yield Mistake(
            "advantage_scope",
            "minibatch",
            f"algo={algo['name']} has no minibatches",
            "add advantage_scope=batch",
        )
    if norm not in CENTERING:
        return
    zero = f"advantage_norm={norm} subtracts the mean of Ψ"
    if sampler["name"] == "episodes":
        if sampler["episodes"] == 1 and gives_constant_baseline(settings, chosen):
            yield Mistake(
                (
                    f"{zero}, and with sampler.episodes=1 variance={settings['variance']['name']} gives "
                    "every action the same"
                ),
                None,
                "nothing would be learned",
                "add advantage_norm=scale or none, or sampler.episodes=2",
            )
        return
    rows = sampler["batch"] if sampler["name"] == "replay" else sampler["steps"] * settings["env"]["num_envs"]
    parts = algo.get("minibatches", 1) if scope == "minibatch" else 1
    if rows // parts == 1:
        what = "a batch" if parts == 1 else "a minibatch"
        yield Mistake(
            f"{zero}, and {what} here is one row", None, "nothing would be learned", "add advantage_norm=none"
        )


def gives_constant_baseline(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    """Whether the scheme, with its settings, gives every action of the batch its return minus one number."""
    constant: bool = build_scheme(settings, chosen).has_constant_baseline
    return constant


def build_scheme(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Any:
    """The scheme with its settings."""
    given = {key: value for key, value in settings["variance"].items() if key != "name"}
    return construct_from_settings(chosen["variance"], given)


def find_too_many_minibatches(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> Iterator[Mistake]:
    rows = settings["sampler"]["steps"] * settings["env"]["num_envs"]
    counts = {"algo.minibatches": settings["algo"].get("minibatches", 1)}
    if chosen["variance"].uses_critic and not chosen["network"].shared:
        counts["critic.minibatches"] = settings["critic"].get("minibatches", 1)
    reported = []  # the critic's follow the algorithm's by default
    for key, count in counts.items():
        if count > rows and count not in reported:
            reported.append(count)
            yield Mistake(key, count, f"a batch has only {rows} rows (sampler.steps × env.num_envs)")


def find_wrong_replay(sampler: Mapping[str, Any], total: float) -> Iterator[Mistake]:
    for name in ("warmup", "batch"):
        if sampler[name] > sampler["capacity"]:
            yield Mistake(
                f"sampler.{name}",
                sampler[name],
                f"the buffer holds only sampler.capacity={sampler['capacity']}",
            )
    if sampler["warmup"] >= total:
        yield Mistake(
            "sampler.warmup", sampler["warmup"], f"nothing would be learned in trainer.total_steps={total}"
        )
