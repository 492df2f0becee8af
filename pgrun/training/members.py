"""The objects that config groups describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgrun.config.schema import construct_from_settings, find_class
from pgrun.policies.families import Family


def build_member(settings: Mapping[str, Any], group: str) -> Any:
    """The object that a config group describes: its class by name, its fields from the rest."""
    given = dict(settings[group])
    return construct_from_settings(find_class(group, given.pop("name"), tuple(settings["modules"])), given)


def family_of(settings: Mapping[str, Any]) -> Family:
    """How real actions are distributed; a run of earlier days says nothing, and has a Gaussian."""
    family: Family = build_member({"policy": {"name": "gaussian"}, **settings}, "policy")
    return family
