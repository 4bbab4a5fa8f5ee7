"""Compares planners with anrg-saga's, method by method and the portfolio with the best of them.

    python benches/peers/plan_quality.py build/peers/saga/bin/python [--quick]

`anrg-saga` breaks ties by the order in which its sets come, so that its results hang on the hash seed: the
seed is fixed, and ferroflow numbers tasks and nodes in the order that anrg-saga went through them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from array import array
from collections import defaultdict
from pathlib import Path
from typing import Any

from ferroflow import _core
from ferroflow.plan import Instance, Link, Node, Platform, Schedule, plan
from plan_instances import layered, recorded, workflows

HERE = Path(__file__).parent


def instances(quick: bool) -> list[dict[str, Any]]:
    """Return random layered graphs and recorded workflows, with few nodes."""
    found: list[dict[str, Any]] = []
    sizes = [(20, 3), (50, 8)] if quick else [(n, m) for n in (20, 50, 100) for m in (3, 4, 8)] + [(180, 8)]
    for tasks, nodes in sizes:
        for ratio in (0.1, 1.0, 5.0):
            for uniform in (True, False):
                found.append(layered(len(found) + 1, tasks, nodes, ratio, uniform=uniform))
    for at, path in enumerate(workflows(60 if quick else 200)):
        found += [recorded(path, nodes, at) for nodes in (4, 8)]
    return found


def large(quick: bool) -> list[dict[str, Any]]:
    """Return recorded workflows of up to 2,000 tasks on 32 nodes, for HEFT and CPOP."""
    paths = [it for it in workflows(2000) if it not in workflows(400)]
    paths = [it for it in paths if "montage" in it.stem or not quick]
    found = [recorded(path, 32, 7) | {"methods": ["heft", "cpop"]} for path in paths]
    return found[-1:] if quick else found


def peer(python: str, given: list[dict[str, Any]], limit: float) -> dict[str, dict[str, Any]]:
    """Return what anrg-saga makes of instances."""
    with tempfile.TemporaryDirectory() as folder:
        read, written = Path(folder) / "given.json", Path(folder) / "made.json"
        read.write_text(json.dumps(given))
        command = [python, str(HERE / "saga_methods.py"), str(read), str(written), str(limit)]
        surroundings = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        subprocess.run(
            command, check=True, env=surroundings | {"PYTHONHASHSEED": "1"}, stdout=subprocess.DEVNULL
        )
        return {it["name"]: it for it in json.loads(written.read_text())}


def ours(given: dict[str, Any], seen: dict[str, Any]) -> tuple[Instance, Platform]:
    """Return an instance as anrg-saga saw it: its super source and sink, its orders."""
    order = seen["nodes"]
    nodes = [Node(f"n{at}", speed=given["speeds"][at]) for at in order]
    rates = given["bandwidth"]
    if given["uniform"]:
        platform = Platform(nodes, bandwidth=rates[0][1])
    else:
        pairs = [(a, b) for a in order for b in order if a < b]
        platform = Platform(nodes, links=[Link(f"n{a}", f"n{b}", rates[a][b]) for a, b in pairs])
    edges = seen["edges"]
    sources, targets = (array("I", [it[at] for it in edges]) for at in (0, 1))
    return Instance(seen["costs"], sources, targets, array("d", [it[2] for it in edges])), platform


def methods(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Print a row a method: how it compares, and where anrg-saga has nothing valid."""
    rows = defaultdict(list)
    wrong = defaultdict(list)
    for given, seen in pairs:
        instance, platform = ours(given, seen)
        for method, its in seen["methods"].items():
            if method == "mst":
                continue
            if "error" in its or its["wrong"]:
                wrong[method].append((given["name"], its.get("error") or f"invalid: {its['wrong']}"))
                continue
            begun = time.perf_counter()
            made = plan(instance, platform, method)
            took = time.perf_counter() - begun
            assert made.check() == [], (method, given["name"])
            rows[method].append((made.makespan, its["makespan"], took, its["seconds"]))
    print("\n| method | instances | not longer | equal | mean, ours | its mean | time, ours | its time |")
    print("|---|---|---|---|---|---|---|---|")
    for method, found in rows.items():
        fine = sum(a <= b + 1e-6 for a, b, *_ in found) / len(found)
        equal = sum(abs(a - b) <= 1e-6 * b + 1e-9 for a, b, *_ in found) / len(found)
        means = [statistics.mean(row[at] for row in found) for at in range(4)]
        cells = f"{fine:.1%} | {equal:.1%} | {means[0]:.3f} | {means[1]:.3f}"
        print(f"| `{method}` | {len(found)} | {cells} | {means[2] * 1e3:.2f} ms | {means[3] * 1e3:.0f} ms |")
    for method, failed in wrong.items():
        by_reason: dict[str, list[str]] = defaultdict(list)
        for name, reason in failed:
            by_reason["tasks are missing" if "missing" in reason else reason.split(":")[0]].append(name)
        for reason, names in by_reason.items():
            print(f"anrg-saga `{method}` on {len(names)} instances: {reason} ({', '.join(names[:3])}, …)")


def portfolio(pairs: list[tuple[dict[str, Any], dict[str, Any]]], what: str) -> None:
    """Print how the portfolio within a second compares with the best of anrg-saga's methods."""
    worse, open_, better, gaps, left = [], 0, 0, [], []
    for given, seen in pairs:
        instance, platform = ours(given, seen)
        valid = [it["makespan"] for it in seen["methods"].values() if "error" not in it and not it["wrong"]]
        best = min(valid)
        made = plan(instance, platform, seconds=1.0)
        assert made.check() == []
        gaps.append(made.gap)
        if made.makespan > best * (1 + 1e-9):
            worse.append(given["name"])
        if best > made.bounds.best * 1.01:
            open_ += 1
            if made.makespan < best * (1 - 1e-9):
                better += 1
            else:
                left.append(given["name"])
    print(f"\n{what}: {len(pairs)} instances, worse on {len(worse)} {worse};")
    print(f"{open_} are more than 1 % above the bound, strictly better on {better} of them;", end=" ")
    print(f"gap to the bound {statistics.mean(gaps):.2%} on average,")
    print(f"{statistics.median(gaps):.2%} in the middle. As good as anrg-saga's best: {left}")


def many(tasks: int = 100_000, nodes: int = 100) -> None:
    """Print how long HEFT takes for very many tasks, and how much memory."""
    draw = random.Random(1)
    sources, targets = array("I"), array("I")
    for task in range(1, tasks):
        for _ in range(draw.randint(1, 9)):
            sources.append(max(0, task - draw.randint(1, 3000)))
            targets.append(task)
    costs = array("d", [draw.uniform(1, 20) for _ in range(tasks)])
    sizes = array("d", [draw.uniform(1, 20) for _ in sources])
    platform = Platform([Node(f"n{at}", speed=draw.uniform(0.5, 2)) for at in range(nodes)], bandwidth=1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    made: Schedule = plan(Instance(costs, sources, targets, sizes), platform, "heft")
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"\nHEFT, {tasks} tasks, {len(sources)} dependencies, {nodes} nodes: {took:.2f} s,", end=" ")
    print(f"{peak / 1024:.0f} MiB at most ({before / 1024:.0f} before); {made!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if _core.build_profile != "release":
        parser.error("this is a debug build: nothing it measures would be true")
    many()
    big = large(options.quick)
    made = peer(options.python, big, 600.0)
    for given in big:
        its = made[given["name"]]["methods"]["heft"]
        instance, platform = ours(given, made[given["name"]])
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            mine = plan(instance, platform, "heft")
            times.append(time.perf_counter() - begun)
        ratio = its["seconds"] / min(times)
        print(f"HEFT, {given['name']}: {mine.makespan:.6f} s in {min(times) * 1e3:.2f} ms;", end=" ")
        print(f"anrg-saga {its['makespan']:.6f} s in {its['seconds']:.2f} s: 1/{ratio:.0f}")
    portfolio([(it, made[it["name"]]) for it in big], "portfolio, up to 2,000 tasks on 32 nodes")
    small = instances(options.quick)
    made = peer(options.python, small, 60.0)
    pairs = [(it, made[it["name"]]) for it in small]
    methods(pairs)
    portfolio(pairs, "portfolio, up to 200 tasks on 8 nodes")


if __name__ == "__main__":
    main()
