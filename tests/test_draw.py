"""Pictures of graphs."""

import re
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ferroflow as ff
from ferroflow import draw
from ferroflow.draw.gantt import lanes
from ferroflow.draw.graph import COLOURS, Block
from ferroflow.draw.layout import arrange, layers
from ferroflow.draw.page import table

NESTED: list[Block] = [
    (None, [('a"b', "task", "t\\x"), ("each", "each", None), ("$join_2", "join", None)], [(0, 1), (1, 2)]),
    ((0, 1), [("try", "try", None)], []),
    ((1, 0), [("risky", "task", "risky"), ("end", "task", "end")], [(0, 1)]),
    ((1, 0), [("<save>\x00\n#1;", "task", "save")], []),
]
STATES = {(0, 0): "completed", (0, 1): "running", (2, 0): "failed", (3, 0): "waiting"}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.req("P2.94", "P9.9", "P9.13")
def test_dot_is_left_to_right_labelled_and_coloured_by_state() -> None:
    text = draw.dot(NESTED, STATES)
    assert text == draw.dot(NESTED, STATES)
    assert "rankdir=LR" in text
    assert 'label="a\\"b (t\\\\x)", fillcolor="#c8f2d0", color="#1a7f37"' in text
    assert 'label="risky (task)", fillcolor="#ffcecb"' in text
    assert 'label="each (each)"; color="#0969da"' in text
    assert "n0_0 -> n0_1;" in text
    assert text.count("{") == text.count("}")
    assert "\x00" not in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it() -> None:
    done = subprocess.run(
        ["dot", "-Tsvg"], input=draw.dot(NESTED, STATES), capture_output=True, text=True, check=True
    )
    assert not done.stderr
    drawn = ET.fromstring(done.stdout)
    assert {it.text for it in drawn.iter(f"{SVG}text")} >= {'a"b (t\\x)', "each (each)", "catch"}


@pytest.mark.req("P2.95")
def test_mermaid_is_valid_and_has_a_class_for_each_state() -> None:
    lines = draw.mermaid(NESTED, STATES).splitlines()
    assert lines[0] == "flowchart LR"
    node = re.compile(r'(subgraph )?(?P<id>\w+)(\["(?P<label>[^"\[\]<>\\]*)"\]|\(\(" "\)\))')
    edge = re.compile(r"(?P<from>\w+) --> (?P<to>\w+)")
    style = re.compile(r"classDef (?P<state>\w+) fill:#[0-9a-f]{6},stroke:#[0-9a-f]{6},color:#[0-9a-f]{6}")
    classes = re.compile(r"class (?P<ids>[\w,]+) (?P<state>\w+)")
    known: set[str] = set()
    coloured: dict[str, str] = {}
    defined: set[str] = set()
    depth = 0
    for line in map(str.strip, lines[1:]):
        if line == "end":
            depth -= 1
        elif found := node.fullmatch(line):
            depth += bool(found[1])
            known.add(found["id"])
        elif found := edge.fullmatch(line):
            assert {found["from"], found["to"]} <= known
        elif found := style.fullmatch(line):
            defined.add(found["state"])
        else:
            found = classes.fullmatch(line)
            assert found is not None, line
            assert found["state"] in defined
            coloured |= dict.fromkeys(found["ids"].split(","), found["state"])
    assert depth == 0
    assert coloured == {f"n{block}_{at}": state for (block, at), state in STATES.items()}
    assert '["a#34;b (t#92;x)"]' in draw.mermaid(NESTED)
    assert "classDef" not in draw.mermaid(NESTED)


def test_a_node_with_many_steps_shows_the_most_telling_one() -> None:
    place = (1, 0)
    assert draw.telling([(place, "completed"), (place, "failed"), (place, "running")]) == {place: "failed"}
    assert draw.telling([(place, "pending"), (place, "running")]) == {place: "running"}
    assert draw.telling([(place, "completed"), (place, "completed")]) == {place: "completed"}
    assert next(iter(COLOURS)) == "failed"
    assert [*COLOURS][-1] == "completed"


def test_svg_is_xml_with_every_label_and_colour() -> None:
    drawn = ET.fromstring(draw.svg(NESTED, STATES, title="a < b"))
    texts = ["".join(it.itertext()) for it in drawn.iter(f"{SVG}text")]
    assert 'a"b' in texts
    assert "each" in texts
    assert "catch" in texts
    assert any(text.startswith("<save>") for text in texts)
    assert {"completed", "running", "failed", "waiting"} <= {*texts}
    assert {it.get("fill") for it in drawn.iter(f"{SVG}rect")} >= {
        COLOURS["failed"][0],
        COLOURS["waiting"][0],
    }
    title = drawn.find(f"{SVG}title")
    assert title is not None
    assert title.text == "a < b"
    assert not [*drawn.iter(f"{SVG}script"), *drawn.iter(f"{SVG}style")]


def boxes(text: str) -> list[tuple[float, float, float, float]]:
    rects = ET.fromstring(text).iter(f"{SVG}rect")
    return [
        tuple(float(it.get(name, "nan")) for name in ("x", "y", "width", "height"))  # type: ignore[misc]
        for it in rects
    ]


def test_what_is_inside_a_composite_stands_inside_its_box() -> None:
    found = boxes(draw.svg(NESTED))
    assert len(found) == 6
    # In the order of drawing: a"b, each, try, risky, end, save.
    for outer, inner in ((1, 2), (2, 3), (2, 4), (2, 5)):
        x, y, wide, high = found[outer]
        x1, y1, wide1, high1 = found[inner]
        assert x < x1
        assert x1 + wide1 < x + wide
        assert y < y1
        assert y1 + high1 < y + high


def test_boxes_of_a_layer_do_not_touch_and_edges_go_to_the_right() -> None:
    edges = [(0, 4), (1, 4), (2, 5), (3, 5), (4, 6), (5, 6), (0, 6)]
    sizes = [(60.0 + 10 * at, 30.0) for at in range(7)]
    made = arrange(sizes, edges)
    for v in range(7):
        for w in range(v):
            (x, y), (x1, y1) = made.boxes[v], made.boxes[w]
            apart_x = x >= x1 + sizes[w][0] or x1 >= x + sizes[v][0]
            assert apart_x or abs(y - y1) >= 30
    for (v, w), way in zip(edges, made.edges, strict=True):
        assert way[0][0] == made.boxes[v][0] + sizes[v][0]
        assert way[-1][0] == made.boxes[w][0]
        assert [x for x, _ in way] == sorted(x for x, _ in way)
    assert all(0 <= x <= made.width and 0 <= y <= made.height for x, y in made.boxes)


@given(st.data())
def test_any_graph_is_laid_out_without_overlaps(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 25))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = [(v, w) for v, w in data.draw(st.lists(pairs, max_size=60)) if v < w]
    size = st.tuples(st.integers(1, 200), st.integers(1, 200))
    sizes = [(float(w), float(h)) for w, h in data.draw(st.lists(size, min_size=count, max_size=count))]
    made = arrange(sizes, edges)
    for v in range(count):
        (x, y), (wide, high) = made.boxes[v], sizes[v]
        assert x >= -0.01
        assert y >= -0.01
        assert x + wide <= made.width + 0.01
        assert y + high <= made.height + 0.01
        for w in range(v):
            (x1, y1), (wide1, high1) = made.boxes[w], sizes[w]
            assert x + wide <= x1 or x1 + wide1 <= x or y + high <= y1 or y1 + high1 <= y
    for (v, w), way in zip(edges, made.edges, strict=True):
        assert made.boxes[v][0] + sizes[v][0] < made.boxes[w][0]
        assert [at for at, _ in way] == sorted(at for at, _ in way)


def test_layers_are_longest_paths_of_any_length() -> None:
    chain = 50_000
    assert layers(chain, [(at, at + 1) for at in range(chain - 1)])[-1] == chain - 1


def wide(count: int) -> Sequence[Block]:
    nodes = [(f"n{at}", "task", "work") for at in range(count)]
    return [(None, nodes, [(0, at) for at in range(1, count)])]


def test_large_graphs_are_drawn_in_part_and_say_so() -> None:
    began = time.monotonic()
    text = draw.svg(wide(20_000))
    assert "400 of 20000 nodes are drawn" in text
    assert text.count("<rect") == 400
    inner: list[Block] = [(None, [("each", "each", None)], []), ((0, 0), wide(500)[0][1], [])]
    text = draw.svg(inner)
    assert "1 of 501 nodes are drawn" in text
    assert "500 inside" in text
    dense = [(None, wide(200)[0][1], [(v, w) for w in range(200) for v in range(w)])]
    assert "15900 edges are not drawn" in draw.svg(dense)
    assert time.monotonic() - began < 30
    assert "nothing to do" in draw.svg([])


def test_gantt_bars_share_lanes_only_one_after_another() -> None:
    bars = [("load", 5.0, 6.0, "completed"), ("a", 6.0, 9.0, "failed"), ("b", 6.5, 7.0, "cancelled")]
    assert lanes(bars) == [0, 0, 1]
    drawn = ET.fromstring(draw.gantt(bars, title="run"))
    titles = [it.text for it in drawn.iter(f"{SVG}title")]
    assert titles == ["run", "load: 1.000 s, completed", "a: 3.000 s, failed", "b: 0.500 s, cancelled"]
    texts = ["".join(it.itertext()) for it in drawn.iter(f"{SVG}text")]
    assert {"0 s", "4 s", "load", "failed"} <= {*texts}
    many = [(f"s{at}", at / 10, at / 10 + 0.5, "completed") for at in range(1500)]
    assert "the first 1000 of 1500 bars are drawn" in draw.gantt(many)
    assert "nothing has run" in draw.gantt([])


def test_tables_escape_what_they_show() -> None:
    text = table(["<th>"], [["<script>alert(1)</script>"], ["failed"]], left_out=3)
    assert "<script" not in text
    assert "and 3 more" in text
    assert COLOURS["failed"][0] in text


@ff.task(name="draw.work")
def work(n: int) -> int:
    return n


@ff.workflow
def drawn(n: list[int]) -> object:
    return ff.each(n, work)


def test_notebooks_show_workflows_and_runs() -> None:
    assert ET.fromstring(drawn._repr_svg_()).tag == f"{SVG}svg"
    with ff.Engine() as engine:
        handle = engine.start(drawn, [*range(150)])
        handle.result()
        page = handle._repr_html_() or ""
    assert COLOURS["completed"][0] in page
    assert "each[98]/draw.work" in page
    assert "each[99]/draw.work" not in page
    assert "… and 51 more" in page
    assert ET.fromstring(page).tag == "div"
    assert handle._repr_html_() is None
