"""What the user's own scheme, algorithm or network does wrong ends in a sentence: file, line, method, what
came, what is needed.
"""

from __future__ import annotations

import copy
import json
import re
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgrun.algorithms.a2c import A2c
from pgrun.command import setting_check
from pgrun.config import user_modules
from pgrun.config.own_code import find_own_fault, require_state
from pgrun.config.own_state import OwnState, digest_value
from pgrun.config.schema import find_class
from pgrun.diagnostics.gradient_variance import measure_gradient_variance
from pgrun.errors import OwnCodeFault
from pgrun.training.build import Run
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout
from pgrun.training.saver import Saver
from pgrun.variance.base import Scheme
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun
from tests.helpers.support_own_code import OwnAlgorithm, OwnDeleteOne, OwnEstimate, OwnNetwork, OwnScheme
from tests.helpers.support_pipeline import built

FILE = r"support_own_code\.py, line \d+: "
MISTAKES = {  # mistake → what is said, after the file and line
    "vector": r"OwnScheme\.psi returned a tensor \[2\]; needed: a tensor \[T, N\], .*, here \[5, 2\]",
    "turned": r"OwnScheme\.psi returned a tensor \[2, 5\]; .*, here \[5, 2\]",
    "array": r"OwnScheme\.psi returned ndarray \[5, 2\]; ",
    "nothing": r"OwnScheme\.psi returned nothing \(None\); ",
    "double": r"OwnScheme\.psi returned a tensor \[5, 2\] of float64; .*, here of float32: \.to\(torch",
    "whole": r"OwnScheme\.psi returned a tensor \[5, 2\] of int64; needed: ",
    "elsewhere": r"OwnScheme\.psi returned a tensor \[5, 2\] on meta; .*, here on cpu: \.to\('cpu'\) takes",
    "graph": r"OwnScheme\.psi returned a tensor .* that requires a gradient; .*: \.detach\(\) makes it that",
    "no pair": r"OwnEstimate\.estimate returned a tensor \[5, 2\]; needed: a pair: Ψ",
    "short correction": r"OwnEstimate\.estimate returned a tensor \[3\]; needed: a pair: Ψ .*, here \[\d+\]",
    "double pair": r"OwnEstimate\.estimate returned a tensor \[5, 2\] of float64; needed: a pair",
    "no delete-one": r"OwnDeleteOne\.delete_one_psi returned a tensor \[5, 2\]; needed: a DeleteOnePsi of x",
    "long scale": r"OwnDeleteOne\.delete_one_psi returned a tensor \[10\] as scale; .*\[5, 2\] or \[1, 2\]",
    "double reward": r"OwnAlgorithm\.prepare_rollout returned reward of float64; .* of float32: \.to\(torch",
    "short reward": r"OwnAlgorithm\.prepare_rollout returned a tensor \[4, 2\] as reward; .*\[5, 2\]",
    "extra elsewhere": r"OwnAlgorithm\.prepare_rollout returned extra\['flat'\] on meta; .* on cpu",
    "double weight": r"OwnAlgorithm\.gradient_weight returned a tensor \[10\] of float64; .* of float32",
    "raises": r"OwnScheme\.psi raised AttributeError: 'Rollout' object has no attribute 'rewards'; needed: a",
    "no rollout": r"OwnAlgorithm\.prepare_rollout returned nothing \(None\); needed: the rollout, or a copy",
    "flat extra": r"OwnAlgorithm\.prepare_rollout returned a tensor \[10\] as extra\['flat'\]; .*\[5, 2\]",
    "surrogate raises": r"OwnAlgorithm\.surrogate raised TypeError: mean\(\).*; needed: a tensor \[\]",
    "rows": r"OwnAlgorithm\.surrogate returned a tensor \[10\]; needed: a tensor \[\], one number",
    "constant": r"OwnAlgorithm\.surrogate returned a number that log_prob has no part in; needed",
    "no surrogate": r"OwnAlgorithm\.surrogate returned nothing \(None\); ",
    "one weight": r"OwnAlgorithm\.gradient_weight returned a tensor \[\]; needed: .*, here \[10\]",
    "undeclared": r"OwnAlgorithm\.scalars returned 'own/shares'; .*here tags = \('own/share',\)",
    "number": r"OwnAlgorithm\.scalars returned float under 'own/share'; needed: a dict of tensors",
    "list": r"OwnAlgorithm\.scalars returned list; ",
    "module": r"OwnNetwork\.net returned Linear; needed: a TorchModuleNet .*inputs = 4, outputs = 3",
    "wide": r"OwnNetwork\.net returned a module that gives a tensor \[2, 4\] for .*; needed: .*\[2, 3\]",
    "inner sizes": r"OwnNetwork\.net returned a module that gives RuntimeError: mat1 and mat2 shapes",
    "buffers": r"OwnNetwork\.net raised ValueError: BatchNorm1d has buffers",
}


WITH_MORE = {  # by the last word of the mistake
    "pair": OwnEstimate,
    "correction": OwnEstimate,
    "delete-one": OwnDeleteOne,
    "scale": OwnDeleteOne,
}


@cache
def small_run() -> Run:
    words = ("algo=reinforce", "variance=reward_to_go", "sampler.episodes=2", "env.num_envs=2")
    short = ("sampler.max_steps=5", "sampler.at_cap=truncate", "diagnostics.gradient_every=0")
    return built(*words, *short, "backend=torch")


def update_with(mistake: str) -> None:
    """One update of a run whose scheme, algorithm or network makes this mistake."""
    scheme = WITH_MORE.get(mistake.rpartition(" ")[2], OwnScheme)
    OwnNetwork(mistake=mistake).policy_net(4, small_run().policy.dist, True)
    run = replace(
        small_run(),
        algorithm=OwnAlgorithm(mistake=mistake),
        estimator=replace(small_run().estimator, scheme=scheme(mistake=mistake)),
    )
    rollout = collect_rollout(run)[0]
    learn_from_rollout(run, rollout, Counters(next_eval=0))
    if scheme is OwnDeleteOne:
        value = torch.zeros(len(rollout.mask) + 1, rollout.mask.shape[1])
        measure_gradient_variance(run.policy, rollout, value, run.estimator)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_in_a_sentence(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_modules, "IMPORTED", {OwnScheme.__module__})
    monkeypatch.setattr("pgrun.config.own_code.IMPORTED", {OwnScheme.__module__})
    with pytest.raises(Exception) as caught:  # noqa: PT011
        update_with(mistake)
    fault = caught.value if isinstance(caught.value, OwnCodeFault) else find_own_fault(caught.value)
    assert re.match(FILE + MISTAKES[mistake], str(fault)), str(fault)


def test_no_mistake_and_faults_of_others() -> None:
    update_with("")
    assert find_own_fault(ValueError("of pgrun itself")) is None


def test_the_line_is_where_it_happened(here: Path) -> None:  # noqa: F811
    """In a command: exit code 2, one paragraph, and a run that is recorded as failed."""
    own = here / "own_ranks.py"
    own.write_text(
        "from pgrun.variance.base import Scheme\n"
        "class OwnRanks(Scheme):\n"
        "    whole_episodes = True\n"
        "    def psi(self, rollout, value, gamma):\n"
        "        return 1 / 0\n"
    )
    options = here / "conf" / "variance" / "own_ranks.yaml"
    options.parent.mkdir(parents=True)
    options.write_text("name: own_ranks\n")
    answer = pgrun(
        f"--config-dir conf modules=[own_ranks] algo=reinforce variance=own_ranks {QUICK} hydra.run.dir=r"
    )
    assert answer.code == 2
    said = "own_ranks.py, line 5: OwnRanks.psi raised ZeroDivisionError: division by zero"
    assert answer.err.startswith(f"pgrun: {said}; needed: a tensor [T, N]")
    summary = json.loads((here / "r" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"].startswith(said)


class Empty(Scheme):
    """Forgets psi."""


def test_a_scheme_without_psi(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls, problems in ((Empty, 1), (OwnScheme, 0)):
        monkeypatch.setattr(setting_check, "find_class", lambda *_, cls=cls: cls)
        options: dict[str, Any] = {"name": "x"}
        values = list(setting_check.group_values("variance", "variance", options, {"modules": []}))
        assert len(values) == problems
        assert all("Empty has no psi(self, rollout, value, gamma)" in one.sentence() for one in values)


def test_the_user_s_module_is_asked_for() -> None:
    with pytest.raises(LookupError, match=r"no class Mine in pgrun.variance; .* modules=\[my_module\]"):
        find_class("variance", "mine")


@dataclass
class Remembering(A2c):
    """What a user's algorithm keeps from update to update."""

    rate: float = 0.5
    mean: torch.Tensor | None = field(init=False, default=None)
    given: Any = field(init=False, default_factory=dict)
    seen: list[int] = field(init=False, default_factory=list)

    def note(self) -> None:
        self.mean, self.rate = torch.ones(2), 0.25
        self.seen.append(1)

    def state_dict(self) -> Any:
        return self.given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            None,
            r"own_code\.py, line \d+: Remembering\.state_dict returned nothing \(None\); needed",
        ),
        ({"mean": {1, 2}}, r"returned set under 'mean'; needed: a dict of tensors, arrays, numbers"),
        ({"deep": [{"x": [object()]}]}, r"returned object under 'deep'; "),
    ],
)
def test_a_state_that_cannot_be_saved_is_refused(given: Any, said: str) -> None:
    algorithm = Remembering()
    algorithm.given = given
    with pytest.raises(OwnCodeFault, match=said):
        require_state(algorithm.state_dict, algorithm.state_dict())


def test_what_can_be_saved() -> None:
    kept = {"a": torch.ones(1), "b": [1, 2.5, "x", None, {"c": (True,)}], "d": np.float64(3), "e": np.ones(2)}
    require_state(Remembering().state_dict, kept)


def test_what_its_state_forgets_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What has changed since the first checkpoint, settings and lists too; not what pgrun's classes keep."""
    algorithm, saver = Remembering(), Saver(tmp_path, None)
    saver.look_at_own_state(algorithm, {})
    algorithm.note()
    saver.look_at_own_state(algorithm, {})
    assert caplog.text == ""  # no class of the user's
    monkeypatch.setattr("pgrun.config.own_state.IMPORTED", {__name__})
    algorithm, saver.own_state = Remembering(), OwnState()
    saver.look_at_own_state(algorithm, {})
    saver.look_at_own_state(algorithm, {})
    assert caplog.text == ""
    algorithm.note()
    for _ in range(2):
        saver.look_at_own_state(algorithm, {})
    assert caplog.text.count("Remembering changes mean, rate, seen, which its state_dict does not give") == 1
    given = {"mean": algorithm.mean, "rate": 0.25}
    assert saver.own_state.find_forgotten(algorithm, given) == ["seen"]
    monkeypatch.setattr(Remembering, "recomputed", ("seen",))
    assert saver.own_state.find_forgotten(algorithm, given) == []
    saver.close()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2), torch.tensor([0.0, 1e-45])),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (np.zeros(2), np.zeros((2, 1))),
        ([1, 2], [1, 2, 3]),
        ({"a": [1]}, {"a": [2]}),
        (deque([1.0]), deque([-1.0])),
        (None, 0),
        (1, True),
    ],
)
def test_a_digest_tells_what_a_checkpoint_would(one: Any, other: Any) -> None:
    assert digest_value(one) != digest_value(other)
    assert digest_value(one) == digest_value(copy.deepcopy(one))
