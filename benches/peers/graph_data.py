"""The graphs that are measured: 1,000,000 nodes and 5,000,000 edges, as NumPy arrays.

Uses NumPy and the standard library alone, because it is imported in the peers' environments too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads import SEED

Ids = NDArray[np.int64]


def layered(nodes: int, edges: int, width: int = 1000, *, seed: int = SEED) -> tuple[Ids, Ids]:
    """Edges from nodes of each layer to random ones of the next, in no order.

    Parameters
    ----------
    nodes, edges, width
        How many there are of each, and how many nodes a layer has.
    seed
        Seed of the choice.
    """
    rng = np.random.default_rng(seed)
    targets = rng.integers(width, nodes, edges)
    return targets // width * width - width + rng.integers(0, width, edges), targets


def scattered(nodes: int, edges: int, *, shuffled: bool = False, seed: int = SEED) -> tuple[Ids, Ids]:
    """Edges to random nodes from random ones before them, in no order.

    Parameters
    ----------
    nodes, edges
        How many there are of each.
    shuffled
        Whether ids tell nothing of the order.
    seed
        Seed of the choice.
    """
    rng = np.random.default_rng(seed)
    targets = rng.integers(1, nodes, edges)
    sources = (rng.random(edges) * targets).astype(np.int64)
    if shuffled:
        ids = rng.permutation(nodes)
        return ids[sources], ids[targets]
    return sources, targets


def weights(nodes: int, *, seed: int = SEED) -> NDArray[np.float64]:
    """How long each node lasts.

    Parameters
    ----------
    nodes
        How many there are.
    seed
        Seed of the choice.
    """
    return np.random.default_rng(seed + 1).random(nodes)
