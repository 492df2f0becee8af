"""Work captured as a graph: what comes before and after the capture, with a card that is pretended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
import torch

from pgrun.rollouts.capture import capture_work
from tests.helpers.support_fake_cuda import CudaGenerator, FakeCuda, numbers_of


class PretendedGraph:
    """A graph that remembers what was done inside it, which a capture only writes down."""

    made: ClassVar[list[PretendedGraph]] = []

    def __init__(self) -> None:
        self.generators: list[torch.Generator] = []
        self.work: Any = None
        self.made.append(self)

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def replay(self) -> None:
        self.work()


class PretendedStream:
    def wait_stream(self, other: Any) -> None:
        pass


@contextmanager
def nothing(*args: Any) -> Iterator[None]:
    yield


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(PretendedGraph, "made", [])
    for name, stand_in in {
        "is_available": lambda: True,
        "Stream": lambda device: PretendedStream(),
        "current_stream": lambda device: PretendedStream(),
        "stream": nothing,
        "CUDAGraph": PretendedGraph,
        "graph": nothing,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    with FakeCuda():
        yield


def test_the_call_that_warms_up_leaves_nothing_behind(card: None) -> None:
    """What it moved and drew is put back, and every generator belongs to the graph."""
    x, generators = torch.zeros(3, device="cuda"), [CudaGenerator().manual_seed(k) for k in (1, 2)]
    before, calls = [g.get_state() for g in generators], []

    def work() -> None:
        calls.append((numbers_of(x).clone(), [g.get_state() for g in generators]))
        if len(calls) != 2:  # the second is the capture, which computes nothing
            x.add_(sum(torch.rand(3, device="cuda", generator=g) for g in generators))

    replay = capture_work(work, [x], generators)
    assert len(calls) == 2
    for numbers, states in calls:
        assert torch.equal(numbers, torch.zeros(3))
        assert all(map(torch.equal, states, before))
    assert torch.equal(numbers_of(x), torch.zeros(3))
    (graph,) = PretendedGraph.made
    assert graph.generators == generators
    graph.work = work
    replay()
    replay()
    expected = sum(torch.rand(2, 3, generator=torch.Generator().manual_seed(k)).sum(0) for k in (1, 2))
    torch.testing.assert_close(numbers_of(x), expected)


def test_work_on_the_host_is_done_as_it_is(card: None) -> None:
    def work() -> None:
        raise AssertionError("not yet")

    assert capture_work(work, [torch.zeros(1)]) is work
    assert PretendedGraph.made == []
