"""Graphs: arrays in and out, bad input, and rustworkx as the oracle."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustworkx as rx
from hypothesis import given
from hypothesis import strategies as st

import ferroflow as ff
from ferroflow.define import graph as module

Edges = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn, most: int = 25) -> tuple[int, Edges]:
    nodes = draw(st.integers(1, most))
    name = draw(st.permutations(range(nodes)))
    pair = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)).filter(lambda it: it[0] != it[1])
    return nodes, [(name[min(it)], name[max(it)]) for it in draw(st.lists(pair, max_size=4 * nodes))]


def ours(nodes: int, edges: Edges, **options: Any) -> ff.Graph:
    return ff.Graph(nodes, [a for a, _ in edges], [b for _, b in edges], **options)


def theirs(nodes: int, edges: Edges) -> rx.PyDiGraph[int, float]:
    made: rx.PyDiGraph[int, float] = rx.PyDiGraph(multigraph=False)
    made.add_nodes_from(range(nodes))
    made.add_edges_from([(a, b, 0.0) for a, b in edges])
    return made


# ------------------------------------------------------------------------------------ against an oracle


@pytest.mark.req("P1.22", "P7.94", "P7.137", "P7.138", "P7.153")
@given(graphs())
def test_what_there_is_agrees_with_rustworkx(drawn: tuple[int, Edges]) -> None:
    graph, oracle = ours(*drawn), theirs(*drawn)
    place = {node: at for at, node in enumerate(graph.order())}
    assert sorted(place) == [*range(drawn[0])]
    assert all(place[a] < place[b] for a, b in drawn[1])
    assert [list(level) for level in graph.levels()] == [
        sorted(it) for it in rx.topological_generations(oracle)
    ]
    assert graph.depth == rx.dag_longest_path_length(oracle) + 1
    assert graph.cycle() is None
    for node in range(drawn[0]):
        assert set(graph.descendants(node)) == rx.descendants(oracle, node)
        assert set(graph.ancestors(node)) == rx.ancestors(oracle, node)
        assert list(graph.successors(node)) == sorted(oracle.successor_indices(node))
        assert list(graph.predecessors(node)) == sorted(oracle.predecessor_indices(node))
        assert graph.out_edges(node) == [(node, it) for it in graph.successors(node)]
        assert graph.in_edges(node) == [(it, node) for it in graph.predecessors(node)]
        assert all(graph.reach(node, it) == (it in rx.descendants(oracle, node)) for it in range(drawn[0]))
    assert graph.closure_size().low == sum(len(rx.descendants(oracle, it)) for it in range(drawn[0]))
    reduced, exact = graph.transitive_reduction()
    assert exact
    assert sorted(zip(*reduced.edges(), strict=True)) == sorted(
        rx.transitive_reduction(oracle)[0].edge_list()
    )


@pytest.mark.req("P7.96", "P7.151")
@given(graphs(), st.data())
def test_the_critical_path_agrees_with_rustworkx(drawn: tuple[int, Edges], data: st.DataObject) -> None:
    nodes, edges = drawn
    edges = list(dict.fromkeys(edges))
    weights = data.draw(st.lists(st.integers(0, 9), min_size=nodes, max_size=nodes))
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=len(edges), max_size=len(edges)))
    graph = ours(nodes, edges, weights=weights, edge_weights=np.array(lengths, dtype=np.float64))
    found = graph.critical_path()
    # Theirs weighs edges alone: each has its source's weight too, and another node comes last.
    oracle = theirs(nodes + 1, [])
    oracle.add_edges_from([(a, b, weights[a] + w) for (a, b), w in zip(edges, lengths, strict=True)])
    oracle.add_edges_from([(node, nodes, weights[node]) for node in range(nodes)])
    assert found.length == rx.dag_weighted_longest_path_length(oracle, lambda _a, _b, weight: float(weight))
    assert [*found.critical] == [it for it in range(nodes) if found.earliest[it] == found.latest[it]]
    assert {*found.path} <= {*found.critical}


@pytest.mark.req("P7.95")
@given(graphs())
def test_draining_agrees_with_rustworkx(drawn: tuple[int, Edges]) -> None:
    sorter, oracle = ours(*drawn).sorter(), rx.TopologicalSorter(theirs(*drawn), check_cycle=True)
    nodes = sorter.take()
    while sorter.is_active():
        assert sorter.taken == len(nodes)
        assert sorter.ready == 0
        ready = oracle.get_ready()
        assert sorted(nodes) == sorted(ready)
        nodes = sorter.done(nodes)
        oracle.done(ready)
    assert not oracle.is_active()
    assert not nodes


@given(graphs(most=12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30))
def test_growing_agrees_with_making_anew(drawn: tuple[int, Edges], more: Edges) -> None:
    nodes, edges = drawn
    growing = ours(*drawn).growing()
    assert growing.add_node(after=np.arange(nodes)) == nodes
    edges = [*edges, *((node, nodes) for node in range(nodes))]
    for source, target in more:
        if source >= nodes or target >= nodes or source == target:
            continue
        if growing.leads(target, source):
            with pytest.raises(ff.CyclicGraph) as caught:
                growing.add_edge(source, target)
            assert (caught.value.cycle[0], caught.value.cycle[-1]) == (target, source)
        else:
            assert growing.add_edge(source, target) == ((source, target) not in edges)
            edges.append((source, target))
    anew = ours(nodes + 1, edges)
    assert growing.graph().edges() == anew.edges()
    assert growing.edge_count == anew.edge_count
    assert sorted(growing.order()) == [*range(len(growing))]


# ---------------------------------------------------------------------------------------- arrays

KINDS = [np.uint32, np.int32, np.uint64, np.int64, np.int16, np.uint8]


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_whole_numbers_are_taken_whatever_their_kind(kind: Any) -> None:
    sources, targets = np.array([0, 1, 2], dtype=kind), np.array([1, 2, 3], dtype=kind)
    graph = ff.Graph(4, sources, targets)
    assert [list(it) for it in graph.edges()] == [[0, 1, 2], [1, 2, 3]]
    assert list(graph.reach.many(sources, targets)) == [True] * 3
    assert list(graph.ready(sources)) == [3]


def test_there_are_no_more_threads_than_work() -> None:
    reach = ff.Graph(3, [0, 1], [1, 2]).reach
    assert list(reach.many([0, 2], [2, 0], threads=1_000_000)) == [True, False]


def test_arrays_of_different_kinds_and_with_gaps_are_taken() -> None:
    spread = np.arange(10, dtype=np.int64)[::2]
    graph = ff.Graph(9, spread[:-1], [int(it) for it in spread[1:]])
    assert [list(it) for it in graph.edges()] == [[0, 2, 4, 6], [2, 4, 6, 8]]
    assert ff.Graph(3, range(2), np.array([1, 2], dtype=np.uint32)).edge_count == 2


def test_results_are_arrays_that_numpy_takes_as_they_are() -> None:
    graph = ff.Graph(3, [0, 1], [1, 2])
    order = graph.order()
    array = np.asarray(order)
    assert array.dtype == np.uint32
    assert np.shares_memory(array, np.asarray(order))
    assert not array.flags.writeable
    found = graph.critical_path()
    assert np.asarray(found.float).dtype == np.float64
    assert np.asarray(graph.reach.many([0], [1])).dtype == np.bool_
    del graph, order, found
    assert list(array) == [0, 1, 2]


@pytest.mark.req("P7.98")
def test_a_chain_of_a_million_steps() -> None:
    ids = np.random.default_rng(1).permutation(1_000_000)
    graph = ff.Graph(1_000_000, ids[:-1], ids[1:])
    assert np.array_equal(np.asarray(graph.order()), ids)
    assert graph.depth == 1_000_000
    assert graph.critical_path().length == 1_000_000
    assert graph.reach(int(ids[0]), int(ids[-1]))
    assert graph.width().size == (1, 1)
    assert graph.reach.bytes <= 64 * 1_000_000
    sorter = graph.sorter()
    nodes = sorter.take()
    for _ in range(1000):
        nodes = sorter.done(nodes)
    assert list(nodes) == [ids[1000]]


# ------------------------------------------------------------------------------------- names, workflows


@pytest.mark.req("P7.97", "P7.136")
def test_names_stand_for_nodes() -> None:
    graph = ff.Graph.from_edges([("b", "c"), ("a", "c")], nodes=["z"])
    assert graph.names == ("z", "b", "c", "a")
    assert graph.named(graph.predecessors("c")) == ["b", "a"]
    assert graph.reach("b", "c")
    assert not graph.reach("c", "a")
    rest = graph.without("b", "z")
    assert rest.names == ("c", "a")
    assert rest.in_edges("c") == [(1, 0)]
    sorter = graph.sorter()
    sorter.take()
    assert graph.named(sorter.done(["a", "b"])) == ["c"]
    with pytest.raises(ff.InvalidGraph, match="no node 'x' in the graph"):
        graph.successors("x")
    cyclic = ff.Graph.from_edges([("a", "b"), ("b", "c"), ("c", "b")])
    with pytest.raises(ff.CyclicGraph, match="b -> c -> b") as caught:
        cyclic.order()
    assert caught.value.cycle == cyclic.cycle() == [1, 2]


def test_what_is_left_keeps_its_weights() -> None:
    graph = ff.Graph(4, [0, 1, 2, 0], [1, 2, 3, 3], weights=[1, 2, 4, 8], edge_weights=[1, 1, 1, 50])
    rest = graph.without(1)
    assert rest.critical_path().length == 1 + 50 + 8
    assert list(rest.critical_path().earliest) == [0, 0, 51]


@ff.task(name="two")
def two(a: int, b: int = 0) -> int:
    return a + b


@pytest.mark.req("P7.134", "P4.148")
def test_the_graph_of_a_workflow_has_what_its_steps_need_and_come_after() -> None:
    @ff.workflow
    def flow(n: int) -> int:
        first = two(n)
        second = two(n)
        third = two.options(after=[second])(first)
        ff.sleep(0)
        return third

    graph = ff.Graph.of(flow)
    assert graph.named(graph.predecessors("two_3")) == ["two", "two_2"]
    assert graph.named(graph.sources()) == ["two", "two_2", "sleep"]
    assert list(graph.predecessors("two")) == []


def test_joins_have_names() -> None:
    parts = [ff.library.condition.term("data", it) for it in range(6)]
    graph = ff.Graph.of(
        ff.Workflow.from_term("w", (parts[0] & parts[1] & parts[2]) >> (parts[3] & parts[4] & parts[5]))
    )
    assert graph.names is not None
    assert [name for name in graph.names if "join" in name] == ["$join_6"]
    assert graph.edge_count == 6


def test_a_small_graph_is_drawn_and_a_large_one_is_not() -> None:
    picture = ff.Graph.from_edges([("load", "store")])._repr_svg_()
    assert picture is not None
    assert picture.startswith("<svg")
    assert "load" in picture
    assert ff.Graph(module.DRAWN + 1, [], [])._repr_svg_() is None


# ------------------------------------------------------------------------------------------ bad input

BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: ff.Graph(-1, [], []), "no -1 nodes"),
    (lambda: ff.Graph(2**32, [], []), "at most 4294967294"),
    (lambda: ff.Graph(2, [0], []), "1 sources and 0 targets"),
    (lambda: ff.Graph(2, [0, 0], [1, 2]), "edge 1 names node 2, and there are 2 nodes"),
    (lambda: ff.Graph(2, [0, -1], [1, 0]), "edge 1 names node -1"),
    (lambda: ff.Graph(2, np.array([-5]), np.array([1])), "names node -5"),
    (lambda: ff.Graph(2, np.array([2**64 - 1], np.uint64), np.array([1], np.uint64)), "18446744073709551615"),
    (lambda: ff.Graph(2, [2**40], np.array([1])), "names node 1099511627776"),
    (lambda: ff.Graph(2, [0, 2**64], [1, 1]), "no node 18446744073709551616: ids are 0 or more"),
    (lambda: ff.Graph(-1, [], []), "no -1 nodes"),
    (lambda: ff.Graph(2**32, [], []), "4294967296 nodes: a graph has at most 4294967294"),
    (lambda: ff.Graph(2**70, [], []), "nodes: a graph has at most 4294967294"),
    (lambda: ff.Graph(2, [1], [1]), "edge 0 leads from node 1 to itself"),
    (lambda: ff.Graph.from_edges([("a", "b"), ("b", "b")]), "edge 1 leads from 'b' to itself"),
    (lambda: ff.Graph.from_edges([], nodes=["a", "a"]), "two nodes have the name 'a'"),
    (lambda: ff.Graph(2, [], [], names=["a", "a"]), "two nodes have the name 'a'"),
    (lambda: ff.Graph(2, [], [], names=["a"]), "1 names for 2 nodes"),
    (lambda: ff.Graph(2, [], [], weights=[1]), "1 weights for 2 nodes"),
    (lambda: ff.Graph(2, [], [], weights=[1, float("nan")]), "node 1 weighs NaN"),
    (lambda: ff.Graph(2, [], [], weights=[-1, 1]), "node 0 weighs -1"),
    (lambda: ff.Graph(2, [0], [1], edge_weights=[float("inf")]), "edge 0, from 0 to 1, weighs inf"),
    (lambda: ff.Graph(2, [0], [1], edge_weights=[]), "0 weights for 1 edges"),
    (lambda: ff.Graph(2, [0], [1]).critical_path([1, -1]), "node 1 weighs -1"),
    (lambda: ff.Graph(2, [0], [1]).critical_path([1e308, 1e308]), "add up to more"),
    (lambda: ff.Graph(2, [0], [1]).sorter([0, float("nan")]), "node 1 has rank NaN"),
    (lambda: ff.Graph(2, [0], [1]).sorter([0]), "1 weights for 2 nodes"),
    (lambda: ff.Graph(2, [0], [1]).sorter().done([0]), "node 0 was not handed out"),
    (lambda: ff.Graph(2, [0], [1]).sorter().done(np.array([9])), "no node 9"),
    (lambda: ff.Graph(2, [0], [1]).successors(2), "no node 2"),
    (lambda: ff.Graph(2, [0], [1]).successors(-1), "no node -1"),
    (lambda: ff.Graph(2, [0], [1]).reach("a", 1), "its nodes have no names"),
    (lambda: ff.Graph(2, [0], [1]).reach.many([0], [2]), "no node 2"),
    (lambda: ff.Graph(2, [0], [1]).reach.many([0], []), "1 sources and 0 targets"),
    (lambda: ff.Graph(2, [0], [1]).growing().add_node(after=[2]), "no node 2"),
    (lambda: ff.Graph(2, [0], [1]).growing().remove(2), "no node 2"),
    (lambda: ff.Graph(2, [0], [1]).growing().add_edge(-1, 0), "no node -1"),
    (lambda: ff.Graph(2, [0], [1]).growing().leads(0, 2**32), "no node 4294967296"),
]


@pytest.mark.req("P4.148")
@pytest.mark.parametrize(("call", "message"), BAD, ids=[message for _, message in BAD])
def test_what_is_not_right_is_said_with_its_place(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ff.InvalidGraph, match=message):
        call()


@pytest.mark.parametrize("ids", [[0.5], np.array([0.5]), np.array([[0]]), ["a"], None, 7])
def test_ids_are_whole_numbers_in_a_row(ids: Any) -> None:
    with pytest.raises(TypeError):
        ff.Graph(2, ids, ids)


@pytest.mark.req("P7.136")
@pytest.mark.parametrize(
    "ask",
    [
        ff.Graph.order,
        ff.Graph.levels,
        ff.Graph.critical_path,
        ff.Graph.sorter,
        ff.Graph.width,
        ff.Graph.closure_size,
        ff.Graph.transitive_reduction,
        ff.Graph.growing,
    ],
)
def test_a_cycle_is_named_by_whatever_needs_an_order(ask: Callable[[ff.Graph], object]) -> None:
    graph = ff.Graph(4, [0, 1, 2, 3], [1, 2, 3, 1])
    with pytest.raises(ff.CyclicGraph, match="1 -> 2 -> 3 -> 1") as caught:
        ask(graph)
    assert caught.value.cycle == [1, 2, 3]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.cycle) == (str(caught.value), caught.value.cycle)


@pytest.mark.parametrize("nodes", [0, 1])
def test_graphs_with_nothing_in_them(nodes: int) -> None:
    graph = ff.Graph(nodes, [], [])
    assert len(graph) == nodes
    assert list(graph.order()) == list(graph.sources()) == list(graph.sinks()) == [*range(nodes)]
    assert graph.depth == len(graph.levels()) == nodes
    assert graph.critical_path().length == nodes
    assert graph.width().size == (nodes, nodes)
    assert graph.closure_size() == (0, 0)
    assert graph.sorter().is_active() == bool(nodes)
    assert graph._repr_svg_() is not None
    assert list(graph.reach.many([], [])) == []


def test_parts_that_hang_together_with_nothing() -> None:
    graph = ff.Graph(6, [0, 3], [1, 4])
    assert [list(level) for level in graph.levels()] == [[0, 2, 3, 5], [1, 4]]
    assert graph.width().size == (4, 4)
    assert not graph.reach(0, 4)
    assert list(graph.critical_path().path) == [0, 1]


@pytest.mark.parametrize("nodes", [20_000, 20_100])
def test_up_to_a_size_it_is_exact_and_above_there_are_bounds(nodes: int) -> None:
    rng = np.random.default_rng(7)
    targets = rng.integers(100, nodes, 3 * nodes)
    sources = targets // 100 * 100 - 100 + rng.integers(0, 100, 3 * nodes)
    graph = ff.Graph(nodes, sources, targets)
    exact = nodes <= 20_000
    size, antichain = graph.width()
    assert size.exact == exact
    assert 100 <= size.low == len(antichain) <= size.high
    pairs = [(a, b) for a in antichain for b in antichain]
    assert not any(graph.reach.many([a for a, _ in pairs], [b for _, b in pairs]))
    pairs_of = graph.closure_size()
    assert pairs_of.exact == exact
    counted = sum(len(graph.descendants(node)) for node in range(0, nodes, 100)) * 100
    assert pairs_of.low <= counted * 1.1
    assert counted <= pairs_of.high * 1.1
    assert graph.transitive_reduction().exact == exact
