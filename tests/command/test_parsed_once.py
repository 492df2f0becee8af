"""Files of options and ``${…}`` are parsed, and the same options merged, once in a process; a file that
changes is read again.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Union

import hydra._internal.defaults_list as hydra_defaults
import pytest
import yaml
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ConfigDefault, GroupDefault
from omegaconf import DictConfig, ListConfig, OmegaConf, ValidationError

from pgrun.command.compose import compose_jobs
from pgrun.command.hydra_internals import parse_once, sources
from pgrun.command.overrides import read_command


def compose(*words: str) -> dict:
    return compose_jobs(read_command(list(words))).composed[0].settings


def write_option(folder: Path, lr: float, age: float) -> None:
    path = folder / "optimizer" / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"name: adam\nlr: {lr}\nbetas: [0.9, 0.999]\nusual: {{a: 1}}\n")
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))


def test_a_second_composition_parses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("algo=ppo", "gamma=0.5")
    first = compose(*words)

    def refuse(*_given: object, **_named: object) -> None:
        raise AssertionError

    monkeypatch.setattr(yaml, "load", refuse)
    for name in ("parse", "create_defaults_list", "merge_defaults"):
        monkeypatch.setattr(parse_once, name, refuse)
    assert compose("algo=ppo", "gamma=0.25") == {**first, "gamma": 0.25}
    assert compose("algo=ppo", "seed=7")["gamma"] != 0.5, "a word of an earlier command is forgotten"
    monkeypatch.setattr(parse_once, "parse_rule", refuse)
    assert compose(*words) == first


def test_the_time_in_a_folder_s_name_is_each_composition_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for year in (2001, 2002):
        monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=partial(datetime, year, 1, 1)))
        job = compose_jobs(read_command(["algo=a2c", "gamma=0.125"])).composed[0]
        assert str(job.folder) == job.hydra.run.dir
        folders.append(job.folder.parts[1])
    assert folders == ["2001-01-01", "2002-01-01"]


def test_options_are_merged_as_hydra_merges_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of its own are merged once, whatever follows; types and flags are the same, too."""
    lines = (
        "algo=ppo env=Pendulum-v1",
        "-m algo=a2c hydra/launcher=slurm",
        "-m hydra/sweeper=optuna gamma=interval(0.9,1)",
    )
    merged: dict[bool, list[Any]] = {True: [], False: []}
    after_hydra = parse_once.merge_after_hydra
    for ours in merged:
        merge = after_hydra if ours else parse_once.merge_defaults

        def noting(*given: Any, ours: bool = ours, merge: Any = merge) -> Any:
            whole = merge(*given)
            merged[ours].append(sources.OwnPickle(pickle.dumps(whole)).load())
            return whole

        monkeypatch.setattr(parse_once, "merge_after_hydra", noting)
        parse_once.COMPOSED.clear()
        for line in lines:
            compose_jobs(read_command(line.split()))
    assert len(merged[True]) == len(merged[False]) >= len(lines)
    for one, other in zip(merged[True], merged[False], strict=True):
        OmegaConf.clear_cache(other)
        assert list(describe_nodes(one)) == list(describe_nodes(other))


def describe_nodes(node: Any) -> Iterator[tuple[str, str, Any]]:
    """Each node of a configuration: its type, its flags and what it holds."""
    content = node._content if isinstance(node, DictConfig | ListConfig) else node._value()
    nested = content.values() if isinstance(content, dict) else content if isinstance(content, list) else None
    yield type(node).__name__, repr(node._metadata), None if nested else content
    for inner in nested or ():
        yield from describe_nodes(inner)


def test_a_word_that_is_parsed_once_is_read_the_same() -> None:
    """Also where what was read is changed meanwhile, and but for a list that is shuffled."""
    parser = parse_once.overrides_parser.OverridesParser.create()
    for word in ("x=[1,'b',{c: 2}]", "x=1,2", "x=range(0,3)", "~x", "+x=null", "x=choice(a,b)"):
        one, other = (parser.parse_override(word) for _ in range(2))
        assert one == other == parse_once.parse_rule(parser, word, "override")
        assert one is not other
    one = parser.parse_override("x=[1,2]")
    one._value.append(3)
    assert parser.parse_override("x=[1,2]").value() == [1, 2]
    word = f"x=shuffle([{','.join(map(str, range(30)))}])"
    assert parser.parse_override(word).value() != parser.parse_override(word).value()


@pytest.mark.parametrize("age", [0.0, 100.0])
def test_a_file_that_changes_is_read_again(age: float, tmp_path: Path) -> None:
    """Also where it keeps its size, and its time is that of a moment ago."""
    words = ("--config-dir", str(tmp_path), "optimizer=mine")
    for lr in (0.1, 0.2):
        write_option(tmp_path, lr, age)
        assert compose(*words)["optimizer"]["lr"] == lr


def make_repository(folder: Path) -> ConfigRepository:
    places = ConfigSearchPathImpl()
    places.append("own", f"file://{folder}")
    places.append("schema", "structured://")
    return ConfigRepository(places)


def test_what_is_made_of_a_file_is_the_composition_s_own(tmp_path: Path) -> None:
    write_option(tmp_path, 0.1, 100)
    repo = make_repository(tmp_path)
    one, other = (repo.load_config("optimizer/mine") for _ in range(2))
    assert type(one) is type(other) is sources.KeptResult
    one.config.usual.a = 2
    assert OmegaConf.to_container(other.config)["usual"] == {"a": 1}
    assert OmegaConf.to_container(repo.load_config("optimizer/mine").config)["usual"] == {"a": 1}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ConfigStore:
    """What is registered in a test is forgotten after it."""
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", copy.deepcopy(store.repo))
    return store


def test_another_node_of_the_same_name_is_another_one(store: ConfigStore, tmp_path: Path) -> None:
    """Of those that a program registers; and what is known by its identity is kept alive."""
    repo = make_repository(tmp_path)
    for value in range(5):
        store.store("registered", {"a": value})
        assert [repo.load_config("registered").config.a for _ in range(2)] == [value, value]
        node = store.repo["registered.yaml"]
        assert any(known is node for known, _ in sources.LOADED.values())


def test_so_it_is_in_a_composition(store: ConfigStore) -> None:
    adam = compose("optimizer=adam")["optimizer"]
    for lr in (0.25, 0.125):
        store.store("mine", {**adam, "lr": lr}, group="optimizer", package="optimizer")
        assert compose("optimizer=mine")["optimizer"]["lr"] == lr


@dataclass
class OfTwoKinds:
    steps: int | float = 0.5
    name: Union[str, int] | None = None  # noqa: UP007


def test_a_registered_class_may_have_unions(store: ConfigStore, tmp_path: Path) -> None:
    store.store("unions", OfTwoKinds)
    config = make_repository(tmp_path).load_config("unions").config
    assert OmegaConf.to_container(config) == {"steps": 0.5, "name": None}
    config.steps = 3
    with pytest.raises(ValidationError):
        config.steps = "three"


def test_a_project_as_a_folder_of_options_is_not_looked_through(tmp_path: Path) -> None:
    """It may hold all results; what changes in it is read again all the same."""
    (tmp_path / "outputs").mkdir()
    with pytest.raises(LookupError):
        list(sources.stamp_folder(str(tmp_path)))
    for lr in (0.1, 0.2):
        write_option(tmp_path, lr, 100)
        assert compose("--config-dir", str(tmp_path), "optimizer=mine")["optimizer"]["lr"] == lr


def test_a_file_at_two_places_is_two_copies() -> None:
    settings = compose("optimizer=sgd", "+optimizer@critic.optimizer=sgd", "optimizer.lr=0.5")
    assert settings["optimizer"]["lr"] == 0.5
    assert settings["critic"]["optimizer"]["lr"] != 0.5


def test_choices_are_mapped_as_hydra_maps_them() -> None:
    """Where a defaults list asks for them: groups, one with several options, a file, and ``_self_``."""
    overrides = SimpleNamespace(known_choices={"algo": "ppo", "several": ["a", "b"]})
    defaults = [
        GroupDefault(group="algo", value="ppo"),
        GroupDefault(group="several", value=["a", "b"]),
        ConfigDefault(path="other"),
        ConfigDefault(path="_self_"),
        GroupDefault(group="of", value="${algo}"),
    ]
    for default in defaults:
        default.update_parent("", "")
    spec = spec_from_file_location("hydra._internal.untouched", hydra_defaults.__file__)
    spec.loader.exec_module(untouched := module_from_spec(spec))
    for self_added in (True, False):
        ours = parse_once.map_choices_if_asked(overrides, defaults, self_added)
        theirs = untouched._create_interpolation_map(overrides, defaults, self_added)
        assert list(describe_nodes(ours)) == list(describe_nodes(theirs))
    assert parse_once.map_choices_if_asked(overrides, defaults[:-1], True) is None


def test_options_of_two_groups_are_not_one_object() -> None:
    settings = compose("algo=ppo", "optimizer=adam", "critic/optimizer=adam", "optimizer.lr=0.5")
    assert settings["optimizer"]["lr"] == 0.5
    assert settings["critic"]["optimizer"]["lr"] != 0.5
