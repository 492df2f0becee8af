"""Work with static shapes on a device, captured once as a CUDA graph and replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

allowed = True  # benchmarks turn it off, to compare


def capture_work(
    work: Callable[[], None], moved: Sequence[Tensor], generators: Sequence[torch.Generator] = ()
) -> Callable[[], None]:
    """What does ``work`` when called: its graph on CUDA, ``work`` itself elsewhere, with the same numbers.

    ``work`` reads and writes tensors that stay where they are, draws from ``generators`` alone and waits for
    nothing. ``moved``: what it changes and reads again, which is put back after the first call, that only
    warms up.
    """
    device = moved[0].device
    if device.type != "cuda" or not (allowed and torch.cuda.is_available()):
        return work
    before, drawn = [x.clone() for x in moved], [g.get_state() for g in generators]
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream(device).wait_stream(stream)
    for x, old in zip(moved, before, strict=True):
        x.copy_(old)
    graph = torch.cuda.CUDAGraph()
    for generator, state in zip(generators, drawn, strict=True):
        generator.set_state(state)
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work()
    replay: Callable[[], None] = graph.replay
    return replay
