"""Splitting a batch of rows at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from pgrun.types import Batch


def shuffle_into_minibatches(batch: Batch, parts: int, generator: torch.Generator) -> Iterator[Batch]:
    """``parts`` random minibatches, each row once, sizes equal up to one; as many as there are rows where
    those are fewer. The whole batch as it is for one part.
    """
    size = len(batch.mask)
    parts = min(parts, size)
    if parts == 1:
        yield batch
        return
    order = torch.randperm(size, generator=generator, device=generator.device)
    mixed = batch.rows(order.to(batch.mask.device))
    edges = [size * k // parts for k in range(parts + 1)]
    for start, stop in pairwise(edges):
        yield mixed.rows(slice(start, stop))


def shuffled_episodes(batch: Batch, parts: int, generator: torch.Generator) -> Iterator[Batch]:
    """The same of whole columns: ``parts`` random sets of a whole batch's episodes, sizes equal up to one."""
    size = batch.shape[1]
    parts = min(parts, size)
    if parts == 1:
        yield batch
        return
    rows = torch.arange(len(batch.mask), device=batch.mask.device).view(batch.shape)
    order = torch.randperm(size, generator=generator, device=generator.device).to(rows.device)
    for start, stop in pairwise(size * k // parts for k in range(parts + 1)):
        columns = rows[:, order[start:stop]]
        yield replace(batch.rows(columns.flatten()), shape=(batch.shape[0], stop - start))


def find_edges(size: int, parts: int, epochs: int) -> np.ndarray:
    """Where each minibatch of ``epochs`` passes over ``size`` rows begins, and the last ends
    [epochs·parts + 1]: sizes equal up to one, and no more parts than rows.
    """
    parts = min(parts, size)
    starts = [size * epoch + size * k // parts for epoch in range(epochs) for k in range(parts)]
    return np.array([*starts, size * epochs])


def split_at_random(
    size: int, parts: int, generator: torch.Generator, epochs: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The same split as indices, for ``epochs`` passes: (rows in the order of their minibatches
    [epochs·size], edges [epochs·parts + 1]).

    The edges are where each minibatch begins and the last ends.
    """
    edges = find_edges(size, parts, epochs)
    if min(parts, size) == 1:
        return np.tile(np.arange(size), epochs), edges
    shuffled = [torch.randperm(size, generator=generator, device=generator.device) for _ in range(epochs)]
    return torch.cat(shuffled).numpy(), edges
