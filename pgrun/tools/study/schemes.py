"""The schemes of a study: which were asked for, which apply, and what is claimed of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgrun.cli.compatibility_table import list_option_names
from pgrun.config.own_classes import find_class_mistakes
from pgrun.config.paths import conf_dir
from pgrun.config.schema import (
    construct_from_settings,
    find_class,
    format_value,
    setting_kinds,
)
from pgrun.errors import Mistake
from pgrun.tools.study.settings import TERMS, Study

if TYPE_CHECKING:
    from pgrun.critics.base import CriticSettings
    from pgrun.exact import Problem
    from pgrun.variance.base import Scheme

UNBIASED = "unbiased"
NORMALISED = "biased: normalised"
ZERO = "its mean is 0"


@dataclass(frozen=True)
class Asked:
    """A scheme by name, with the settings that are not its own defaults."""

    name: str
    given: Mapping[str, Any]

    @property
    def label(self) -> str:
        """``gae``, ``gae lam=0.5``"""
        typed = (f"{key}={format_value(value)}" for key, value in self.given.items() if key != "discounting")
        return " ".join((self.name, *typed))

    def build(self, study: Study) -> Scheme:
        """Discounted as the whole study is, where nothing else is asked for."""
        cls = find_scheme_class(self.name, study.modules)
        usual = {"discounting": study.discounting} if "discounting" in setting_kinds(cls) else {}
        return construct_from_settings(cls, {**usual, **self.given})


def find_scheme_class(name: str, modules: tuple[str, ...]) -> type:
    """The class of a scheme, or of a term that only a study has. Raises ``LookupError``."""
    return find_class("variance", name, (*modules, TERMS))


def list_asked_schemes(settings: Mapping[str, Any]) -> list[Asked]:
    """``variance=…`` with its settings, or ``schemes``, or all that ship."""
    one, several = settings.get("variance"), settings.get("schemes")
    if settings.get("weights") is not None:
        return []
    if one is not None:
        given = {key: value for key, value in one.items() if key != "name"}
        return [Asked(one["name"], drop_defaults(one["name"], given, settings))]
    if several is None:
        return [Asked(name, {}) for name in list_option_names(conf_dir() / "variance")]
    return [scheme for entry in as_list(several) for scheme in read_scheme_entry(entry)]


def read_scheme_entry(entry: Any) -> Iterator[Asked]:
    if isinstance(entry, Mapping):
        for name, given in entry.items():
            yield Asked(str(name), dict(given or {}))
    else:
        yield Asked(str(entry), {})


def as_list(several: Any) -> list[Any]:
    return several if isinstance(several, list) else [several]


def is_settings(given: Any) -> bool:
    return given is None or isinstance(given, Mapping)


def drop_defaults(name: str, given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is the class's own default, so that labels stay short."""
    cls = find_scheme_class(name, tuple(settings["modules"]))
    usual = {key: getattr(cls, key, None) for key in given}
    return {key: value for key, value in given.items() if value != usual[key] or key == "discounting"}


def find_wrong_schemes(settings: Mapping[str, Any], modules: tuple[str, ...]) -> Iterator[Mistake]:
    """Names that are no schemes, settings that they lack, and the same one twice."""
    from pgrun.variance.base import Scheme

    several = settings.get("schemes")
    if settings.get("weights") is not None and (several is not None or settings.get("variance") is not None):
        yield Mistake("weights and schemes", None, "one of them; each of the weights has its own Ψ")
        return
    if several is not None and settings.get("variance") is not None:
        yield Mistake(
            "schemes and variance", None, "one of them; schemes=[none,{gae:{lam:0.5}}] takes settings too"
        )
        return
    if (
        several is not None
        and not (isinstance(several, str | Mapping) or (isinstance(several, list) and several))
    ) or any(
        isinstance(entry, Mapping) and not all(map(is_settings, entry.values())) for entry in as_list(several)
    ):
        yield Mistake("schemes", format_value(several), "must be a list such as [none,gae,{gae:{lam:0.5}}]")
        return
    asked = list_asked_schemes(settings) if several is not None else []
    for one in asked:
        try:
            cls = find_scheme_class(one.name, modules)
        except (LookupError, ImportError):
            known = ", ".join(list_option_names(conf_dir() / "variance"))
            yield Mistake("schemes", None, f"there is no {one.name}; there are {known}")
        else:
            where = f"schemes: {one.name}."
            yield from find_class_mistakes("schemes", where, one.name, one.given, cls, Scheme)
    labels = [one.label for one in asked]
    for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
        yield Mistake("schemes", None, f"{label} stands there twice")


def equally_long(p: Problem | None) -> bool:
    """Whether every episode lasts as long, whatever is done: then nobody's actions
    decide how many steps are left.
    """
    from pgrun.exact import state_visits

    if p is None:
        return False
    states, actions = p.reward.shape
    uniform = p.reward.new_full((states, actions), 1 / actions)
    return bool((state_visits(p, uniform).sum(1) > 1 - 1e-12).all())


def find_obstacle(
    scheme: Scheme, study: Study, critic: type[CriticSettings], even: bool = False
) -> str | None:
    """Why a scheme cannot be scored in this study, and what to add; None where it can."""
    if scheme.uses_q and not critic.knows_q:
        return (
            "needs Q(s, a): critic=exact, on an environment with a transition table, or critic=fitted_q "
            "where actions are Discrete"
        )
    if scheme.uses_critic and critic.__name__ == "None_":
        return "needs a critic: critic=fitted, or exact on an environment with a transition table"
    if scheme.compares_episodes and study.batch < 2:
        return "compares episodes: batch must be at least 2"
    if scheme.usual_group > 1 and study.group < 2:
        return f"compares episodes from the same start: add group={scheme.usual_group}"
    if getattr(scheme, "normalised", False) and not even:
        return "averages over the steps left in the rollout, and here the episodes' lengths decide those"
    return None


def fits_first(critic: Mapping[str, Any]) -> bool:
    return critic["name"] == "fitted" and critic.get("fit") == "before"


def claim_of_scheme(scheme: Scheme, critic: str, gamma: float, truncates: bool, seen: bool = False) -> str:
    """What is known of the estimate's mean, for ∇J_γ of the time-limited problem;
    empty for schemes of the user's own.

    ``seen``: the critic was fitted to the very episodes.
    """
    name = type(scheme).__name__
    exact = critic in ("exact", "vine")
    if getattr(scheme, "mean_zero", False):
        return ZERO
    if name == "ActionBaseline" and not scheme.corrects_gradient:
        return "biased: its baseline depends on the action"
    if seen and scheme.uses_critic:
        return "biased: the critic has seen these returns"
    if gamma < 1 and getattr(scheme, "discounting", None) == "reward_to_go" and reads_discounting(scheme):
        return "biased: leaves out γ^t"
    if name == "MeanBaseline":
        return "shrunk: (N−1)/N" if getattr(scheme, "returns", "") == "whole" else "shrunk, by step"
    if name == "Group":
        return claim_of_group(scheme)
    if name in ("None_", "RewardToGo", "LeaveOneOut", "OptimalBaseline", "ActionBaseline"):
        return UNBIASED
    if name == "ValueBaseline" or (name == "Gae" and getattr(scheme, "lam", None) == 1):
        good = (
            exact or critic == "scaled" or not truncates
        )  # the exact V, and multiples of it, are 0 at the time limit
        return UNBIASED if good else "biased at truncations"
    if name in ("Td0", "NStep", "Gae", "Q", "Advantage", "AllActions"):
        return UNBIASED if exact else "biased where the critic is wrong"
    return ""


def claim_of_group(scheme: Any) -> str:
    if scheme.length != "constant":
        return "biased: divided by lengths of the same episodes"
    if scheme.kind == "grpo":
        return "biased: divided by the group's σ"
    scaled = "" if scheme.constant == 1 else f"÷ {scheme.constant:g}"
    if scheme.kind == "dr_grpo":
        return " ".join(filter(None, ("shrunk: (K−1)/K", scaled)))
    return f"scaled: {scaled}" if scaled else UNBIASED


def reads_discounting(scheme: Scheme) -> bool:
    switch, value = getattr(scheme, "read_when", {}).get("discounting", (None, None))
    return switch is None or getattr(scheme, switch) == value


def select_schemes(
    settings: Mapping[str, Any], study: Study, critic: type[CriticSettings], even: bool = False
) -> tuple[dict[str, Scheme], dict[str, str]]:
    """(schemes by label, reasons by label of those that do not apply)"""
    taken: dict[str, Scheme] = {}
    left_out: dict[str, str] = {}
    for one in list_asked_schemes(settings):
        scheme = one.build(study)
        reason = find_obstacle(scheme, study, critic, even)
        if reason is None:
            taken[one.label] = scheme
        else:
            left_out[one.label] = reason
    return taken, left_out


def names_its_schemes(settings: Mapping[str, Any]) -> bool:
    return settings.get("schemes") is not None or settings.get("variance") is not None
