"""Graphs of steps: order, critical path, reachability, draining, growth; imported when first asked for."""

from ferroflow.define.graph.answers import Bounds, CriticalPath, Levels, Reach, Reduction, Width
from ferroflow.define.graph.draining import Sorter
from ferroflow.define.graph.graph import DRAWN, Graph
from ferroflow.define.graph.growing import GrowingGraph

__all__ = [
    "DRAWN",
    "Bounds",
    "CriticalPath",
    "Graph",
    "GrowingGraph",
    "Levels",
    "Reach",
    "Reduction",
    "Sorter",
    "Width",
]
