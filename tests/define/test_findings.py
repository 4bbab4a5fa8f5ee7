"""How findings are shown: where in the user's own source, drawn how."""

import json
import pickle
import re
import textwrap
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

import ferroflow as ff
from ferroflow.define import registry, rendering, sites
from ferroflow.define.findings import report

Found = dict[str, Any]


@pytest.fixture(autouse=True)
def _own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_tasks", {})


def module(folder: Path, text: str, name: str = "flow.py") -> types.ModuleType:
    """Run a text as a module in a file."""
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    made = types.ModuleType(path.stem)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), made.__dict__)
    return made


def place(step: str, use: int = 0, label: str = "here", mode: str = "writes") -> Found:
    return {"step": step, "task": step.rpartition("/")[2], "mode": mode, "use": use, "label": label}


def finding(*places: Found, **fields: Any) -> Found:
    """What the core would say."""
    base = {"code": "FF0499", "level": "error", "message": "two write", "asset": "lake", "meeting": ""}
    return base | {"help": [], "places": list(places)} | fields


def shown(flow: ff.Workflow[..., Any], *found: Found, folder: Path | None = None) -> str:
    text = str(report(flow.name, flow._marked, found, flow._source, flow.fn))
    return text if folder is None else text.replace(f"{folder}/", "")


TWO = """
    import ferroflow as ff

    lake = ff.asset("lake", "directory")


    @ff.task(writes=lake / "orders")
    def clean(): ...


    @ff.task(
        reads="lake/raw",
        writes=[
            "lake/log",
            "lake/{table}",
        ],
    )
    def merge(table): ...


    @ff.workflow
    def daily():
        clean()
        return merge("orders")
"""


@pytest.mark.req("P1.9")
def test_both_places_are_shown_in_the_users_source(tmp_path: Path) -> None:
    flow = module(tmp_path, TWO).daily
    text = shown(
        flow,
        finding(
            place("clean", 0, "one"),
            place("merge", 2, "another"),
            message='two steps write "lake/orders"',
            meeting="nothing orders `clean` and `merge`",
            help=["order them", "or give each its own"],
        ),
        folder=tmp_path,
    )
    assert text == textwrap.dedent("""
        error[FF0499]: two steps write "lake/orders"
          --> flow.py:6:17
           |
         6 | @ff.task(writes=lake / "orders")
           |                 ^^^^^^^^^^^^^^^ one
        ...
        14 |         "lake/{table}",
           |         -------------- another
        ...
        22 |     clean()
           |     ------- step `clean`
        23 |     return merge("orders")
           |            --------------- step `merge`
           |
           = note: nothing orders `clean` and `merge`
           = help: order them
           = help: or give each its own

        error: workflow 'daily' has 1 error
        for more about it, try `ferroflow explain FF0499`
    """).strip("\n")


def test_places_in_two_files_are_two_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, '\nimport ferroflow as ff\n@ff.task(writes="a")\ndef one(): ...\n', "tasks.py")
    two = """
        import ferroflow as ff
        from ferroflow.define import registry

        one = registry.find("one")

        @ff.task(takes="a")
        def two(): ...

        @ff.workflow
        def flow():
            return [two(), one.options(id="first")()]
    """
    text = shown(module(tmp_path, two).flow, finding(place("two"), place("first")), folder=tmp_path)
    assert [line for line in text.splitlines() if ":" in line and "|" not in line][1:3] == [
        "  --> flow.py:6:16",
        "  ::: tasks.py:2:17",
    ]
    assert text.count("step `first`") == text.count("step `two`") == 1
    # Below the folder one works in, the rest of a path is enough.
    monkeypatch.chdir(tmp_path.parent)
    assert f" {tmp_path.name}/flow.py:6:16" in shown(module(tmp_path, two).flow, finding(place("two")))


def test_accesses_of_options_are_shown_where_they_are_given(tmp_path: Path) -> None:
    text = """
        import ferroflow as ff

        @ff.task(reads="a", writes="b")
        def one(): ...

        @ff.workflow
        def flow():
            return one.options(writes="c")()
    """
    flow = module(tmp_path, text).flow
    assert [line.split("| ")[-1] for line in shown(flow, finding(place("one", 1))).splitlines()[3:5]] == [
        '    return one.options(writes="c")()',
        "                              ^^^ here",
    ]
    assert '@ff.task(reads="a", writes="b")' in shown(flow, finding(place("one", 0)))


def test_several_things_in_one_line_are_told_apart(tmp_path: Path) -> None:
    text = """
        import ferroflow as ff

        @ff.task(reads="a", writes=["a", "b"], reduces={"c": "sum"})
        def one(): ...

        @ff.workflow
        def flow():
            return one()
    """
    flow = module(tmp_path, text).flow
    found = finding(place("one", 0, "first"), place("one", 2, "second"), place("one", 3, "third"))
    assert shown(flow, found).splitlines()[2:9] == [
        "  |",
        '3 | @ff.task(reads="a", writes=["a", "b"], reduces={"c": "sum"})',
        "  |                ^^^               ---            --- third",
        "  |                |                 |",
        "  |                |                 second",
        "  |                first",
        "...",
    ]


def test_one_place_for_two_steps_is_underlined_once(tmp_path: Path) -> None:
    text = """
        import ferroflow as ff

        @ff.task(writes="a")
        def one(): ...

        @ff.workflow
        def flow():
            one()
            one()
    """
    lines = shown(
        module(tmp_path, text).flow, finding(place("one", 0, "x"), place("one_2", 0, "y"))
    ).splitlines()
    assert lines[4] == "  |                 ^^^ x; y"
    assert [line for line in lines if "step `" in line] == [
        "  |     ----- step `one`",
        "  |     ----- step `one_2`",
    ]


def test_wide_characters_and_tabs_are_in_line(tmp_path: Path) -> None:
    text = 'import ferroflow as ff\n@ff.task(reads="日本",\twrites="e\u0301")\ndef one(): ...\n'
    text += '@ff.workflow\ndef flow():\n\tx = "注文"; return one()\n'
    found = finding(place("one", 0, "x"), place("one", 1, "y"))
    lines = shown(module(tmp_path, text).flow, found).splitlines()
    assert lines[3:6] == [
        '2 | @ff.task(reads="日本",    writes="e\u0301")',
        "  |                ^^^^^^            --- y",
        "  |                |",
    ]
    assert lines[-5:-3] == ['6 |     x = "注文"; return one()', "  |                        ----- step `one`"]


def test_long_lines_are_cut_round_what_is_meant(tmp_path: Path) -> None:
    names = ", ".join(f'"asset/{n:03}"' for n in range(100))
    text = (
        f"import ferroflow as ff\n@ff.task(writes=[{names}])\ndef one(): ...\n"
        "@ff.workflow\ndef flow():\n    return one()\n"
    )
    flow = module(tmp_path, text).flow
    for use in (0, 1, 50, 98, 99):
        for width in (40, 60, 100):
            text = report("flow", flow._marked, [finding(place("one", use))]).render(
                colour=False, width=width
            )
            line, under = text.splitlines()[3:5]
            assert rendering.columns(line) <= width
            start, end = under.index("^"), under.rindex("^") + 1
            assert line[start:end] == f'"asset/{use:03}"'
    assert line.endswith('"asset/099"])')
    assert line.startswith("2 | …")


def test_long_notes_are_wrapped(tmp_path: Path) -> None:
    flow = module(tmp_path, TWO).daily
    found = [finding(place("clean"), help=["word " * 30])]
    text = report("flow", flow._marked, found).render(colour=False, width=50)
    notes = [line for line in text.splitlines() if "word" in line]
    assert len(notes) > 3
    assert all(len(line) <= 50 for line in notes)
    assert {line.index("word") for line in notes} == {notes[0].index("word")}


def test_there_may_be_no_source() -> None:
    space: dict[str, Any] = {}
    exec(textwrap.dedent(TWO), space)
    text = shown(space["daily"], finding(place("clean", 0, "one"), place("merge", 2, "two")))
    assert text.splitlines()[:9] == [
        "error[FF0499]: two write",
        " --> step `clean`",
        "  |",
        '  | writes: "lake/orders"',
        "  |         ^^^^^^^^^^^^^ one",
        " ::: step `merge`",
        "  |",
        '  | writes: "lake/orders"',
        "  |         ------------- two",
    ]


def test_a_file_that_has_changed_shows_the_call_as_a_whole(tmp_path: Path) -> None:
    flow = module(tmp_path, TWO).daily
    (tmp_path / "flow.py").write_text("what else\n" * 30)
    assert "here" in shown(flow, finding(place("merge", 1)))


def test_of_what_is_computed_the_whole_is_shown(tmp_path: Path) -> None:
    text = """
        import ferroflow as ff

        shared = {"takes": "x"}

        @ff.task(reads=[f"a{n}" for n in range(3)], writes=[*"bc"], **shared)
        def one(): ...

        @ff.workflow
        def flow():
            return one()
    """
    flow = module(tmp_path, text).flow

    def underlined(use: int) -> str:
        line, under = shown(flow, finding(place("one", use))).splitlines()[3:5]
        return line[under.index("^") : under.rindex("^") + 1]

    assert underlined(1) == '[f"a{n}" for n in range(3)]'
    assert underlined(3) == '[*"bc"]'
    assert underlined(5).startswith("ff.task(reads=")


@pytest.mark.req("P1.9")
def test_a_definition_in_json_shows_its_steps_and_accesses(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    inner = {"term": {"task": "t", "reads": {"$": "steps.a"}, "reduces": {"b": "sum"}}, "result": 1}
    term = [{"task": "t", "id": "a", "writes": ["x", "y"]}, {"each": [1], "do": inner}]
    path.write_text(json.dumps({"name": "j", "term": term}))
    flow = ff.load(path)
    text = shown(flow, finding(place("a", 1, "one"), place("each/t", 0, "two", "reads")), folder=tmp_path)
    assert text.splitlines()[1:9] == [
        " --> flow.json: step `a`",
        "  |",
        '  | writes: "y"',
        "  |         ^^^ one",
        " ::: flow.json: step `each/t`",
        "  |",
        '  | reads: "steps.a"',
        "  |        --------- two",
    ]


def test_steps_have_the_paths_that_the_core_gives_them() -> None:
    t = {"task": "a/b"}
    term = [
        t, {"parallel": [t, {"task": "x", "id": "a_b_3"}, t]},
        {"choice": [{"if": "true", "then": t}], "else": {"term": t, "result": 1}},
        {"loop": t, "while": "false", "max": 1}, {"each": [], "do": [t, t]},
        {"workflow": "$w", "do": {"try": t, "catch": t}}, {"timeout": "1s", "do": t},
        {"first": 1, "of": [t, {"sleep": 1}]}, {"signal": "go"}, {"sleep": 1}, {"sleep": 1},
    ]  # fmt: skip
    definition: Any = {"name": "w", "term": term}
    flow = ff.load(definition)
    blocks = flow.program.blocks()
    expected = set()
    paths = [""]
    for number, (owner, nodes, _) in enumerate(blocks):
        if owner is not None:
            block, node = owner
            path, kind = f"{paths[block]}{blocks[block][1][node][0]}/", blocks[block][1][node][1]
            sibling = sum(1 for it, _, _ in blocks[:number] if it == owner)
            more = {"choice": ["0/", "else/"], "first": ["0/", "1/"], "try": ["", "catch/"]}.get(kind, [""])
            paths.append(path + more[sibling])
        expected |= {f"{paths[number]}{name}" for name, kind, _ in nodes if kind != "join"}
    assert {*sites.steps(definition)} == expected


def test_the_end_of_a_workflow_is_what_it_returns(tmp_path: Path) -> None:
    flow = module(tmp_path, TWO).daily
    text = shown(flow, finding(place("", -1, "is yielded here", "reads")))
    assert text.splitlines()[3:5] == [
        '23 |     return merge("orders")',
        "   |            ^^^^^^^^^^^^^^^ is yielded here",
    ]
    assert "the result of the workflow" in shown(ff.load(flow.definition), finding(place("", -1)))


# The report.


def both(folder: Path) -> Any:
    flow = module(folder, TWO).daily
    error, warning = finding(place("clean")), finding(place("merge", 1), level="warning", code="FF1001")
    return report("daily", flow._marked, [warning, error])


def test_a_report_is_a_sequence_that_is_true_without_errors(tmp_path: Path) -> None:
    found = both(tmp_path)
    assert (len(found), bool(found), [it.code for it in found]) == (2, False, ["FF1001", "FF0499"])
    assert ([it.code for it in found.errors], [it.code for it in found.warnings]) == (["FF0499"], ["FF1001"])
    assert found[1:] == (found[1],)
    assert repr(found) == "<report on daily: 1 error, 1 warning>"
    # Errors come first.
    assert str(found).index("FF0499") < str(found).index("FF1001")
    assert str(found[1]) == str(found).split("\n\n")[0]
    nothing = report("w", {"term": []}, [])
    assert (bool(nothing), str(nothing)) == (True, "workflow 'w': no races")
    with pytest.raises(AttributeError):
        found[0].code = "x"


def test_only_so_many_findings_are_shown(tmp_path: Path) -> None:
    flow = module(tmp_path, TWO).daily
    found = report("daily", flow._marked, [finding(place("clean"))] * 30)
    assert found.render(colour=False).count("error[FF0499]") == 20
    assert "… and 10 more" in found.render(colour=False)
    assert found.render(colour=False, most=30).count("error[FF0499]") == 30


def test_colours_change_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = both(tmp_path)
    colour = found.render(colour=True, width=100)
    assert "\x1b[1;31merror[FF0499]\x1b[0m" in colour
    assert "\x1b[1;33mwarning[FF1001]\x1b[0m" in colour
    lines = re.sub(r"\x1b\[[0-9;]*m", "", colour).splitlines()
    assert [line.rstrip() for line in lines] == str(found).splitlines()
    # Standard output is no terminal here.
    assert "\x1b" not in found.render()


def test_a_notebook_shows_the_same(tmp_path: Path) -> None:
    class Text(HTMLParser):
        said = ""

        def handle_data(self, data: str) -> None:
            self.said += data

    found = both(tmp_path)
    page = Text()
    page.feed(found._repr_html_())
    assert [line.rstrip() for line in page.said.splitlines()] == str(found).splitlines()
    assert "<script" not in report("w", {"term": []}, [finding(message="<script>")])._repr_html_()


def test_a_report_goes_into_json(tmp_path: Path) -> None:
    found = both(tmp_path).to_dict()
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    assert (found["errors"], found["warnings"]) == (1, 1)
    first = found["findings"][1]["places"][0]
    assert first["declared"] == {
        "file": str(tmp_path / "flow.py"), "line": 6, "column": 17, "end": 32,
        "text": '@ff.task(writes=lake / "orders")',
    }  # fmt: skip
    assert (first["called"]["line"], first["access"], first["mode"]) == (22, "lake/orders", "writes")


def test_a_finding_without_places_is_shown() -> None:
    text = str(report("w", {"term": []}, [finding(help=["drop it"])]))
    assert text.splitlines()[:3] == ["error[FF0499]: two write", "  |", "  = help: drop it"]


def test_a_borrow_error_shows_the_report_and_can_be_sent(tmp_path: Path) -> None:
    error = ff.BorrowError(both(tmp_path))
    assert str(error) == f"workflow 'daily' can't run as it is\n\n{both(tmp_path)}"
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert [it.code for it in again.report] == ["FF1001", "FF0499"]
