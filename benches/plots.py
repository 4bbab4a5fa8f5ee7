"""Draws how cost grows, from the asv suite's last results: `docs/growth-*.svg`.

python benches/plots.py benches/.asv/results docs
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from asv.results import Results
from matplotlib import pyplot as plt

mpl.use("svg")
# The same figures make the same file.
mpl.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9})


class Plot(NamedTuple):
    """One picture: seconds of some benchmarks along one parameter, a line for each of the others' values.

    Attributes
    ----------
    name, title, along
        Of the file, of the picture, of the axis.
    benchmarks
        What its lines are called, and the benchmarks.
    fixed
        Values, as results spell them, that other parameters are held at, by their place.
    """

    name: str
    title: str
    along: str
    benchmarks: dict[str, str]
    fixed: tuple[tuple[int, str], ...] = ()


PLOTS = [
    Plot(
        "graphs", "graphs of 5 edges a node", "nodes",
        {
            "make": "bench_graph.Graphs.time_make",
            "order": "bench_graph.Graphs.time_order",
            "critical path and floats": "bench_graph.Graphs.time_critical_path",
            "drain": "bench_graph.Graphs.time_drain",
            "drain by rank": "bench_graph.Graphs.time_drain_by_rank",
        },
        ((1, "5"),),
    ),
    Plot(
        "reach", "reachability in layers of 1,000 nodes, 5 edges a node", "nodes",
        {
            "index": "bench_graph.Reach.time_index",
            "100,000 questions": "bench_graph.Reach.time_100_000_questions",
        },
        ((1, "5"),),
    ),
    Plot("access", "the borrow check, three accesses a step", "steps", {"": "bench_access.Check.time_check"}),
    Plot("plan-tasks", "planners, 8 nodes", "tasks", {"": "bench_plan.Planning.time_plan"}, ((1, "8"),)),
    Plot("plan-nodes", "planners, 1,000 tasks", "nodes", {"": "bench_plan.Nodes.time_plan"}),
    Plot("simulate-steps", "simulations, 64 nodes", "steps", {"": "bench_simulate.Steps.time_simulate"}),
    Plot("simulate-nodes", "simulations, 100,000 steps", "nodes", {"": "bench_simulate.Nodes.time_simulate"}),
]  # fmt: skip


def lines(results: Any, plot: Plot) -> dict[str, list[tuple[float, float]]]:
    """Return (size, seconds) by the name of a line."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, benchmark in plot.benchmarks.items():
        params = results.get_result_params(benchmark)
        seconds = results.get_result_value(benchmark, params)
        for values, took in zip(product(*params), seconds, strict=True):
            texts = [value.strip("'") for value in values]
            if took is None or any(texts[at] != value for at, value in plot.fixed):
                continue
            held = {at for at, _ in plot.fixed}
            rest = [text for at, text in enumerate(texts) if at and at not in held]
            line = ", ".join(it for it in (name, *rest) if it)
            found.setdefault(line, []).append((float(texts[0]), took))
    return found


def draw(results: Any, plot: Plot, folder: Path) -> None:
    """Draw one picture."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name, points in lines(results, plot).items():
        axes.loglog(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1.2, label=name)
    axes.set(title=plot.title, xlabel=plot.along, ylabel="seconds")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(folder / f"growth-{plot.name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw all from the newest results in a folder of a machine."""
    where, folder = Path(sys.argv[1]), Path(sys.argv[2])
    files = [path for path in where.glob("*/*.json") if path.name != "machine.json"]
    newest = max(files, key=lambda path: json.loads(path.read_bytes())["date"])
    results = Results.load(str(newest))
    for plot in PLOTS:
        draw(results, plot, folder)
        print(f"wrote {folder / f'growth-{plot.name}.svg'}")


if __name__ == "__main__":
    main()
