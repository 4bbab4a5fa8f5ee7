"""What tasks declare to read, write, take and reduce, and what of it the steps of a workflow have."""

import copy
import pickle
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

import ferroflow as ff

Fields = dict[str, Any]
Given = dict[str, Any]


def nothing(day: str = "today", n: int = 0) -> None: ...


def task(fn: Callable[..., Any] = nothing, **given: Any) -> ff.Task[..., Any]:
    """A task that no registry knows, so that many may have one name."""
    return ff.Task(fn, "t", given)  # type: ignore[arg-type]


def traced(made: ff.Task[..., Any], *args: Any, **kwargs: Any) -> Fields:
    """What the step of one call declares."""

    @ff.workflow
    def flow(day: str, order: Any) -> Any:
        given = {"day": day, "order": order, "expr": ff.expr("x + '!'", x=day)}

        def meant(value: Any) -> Any:
            return given[value[1:]] if isinstance(value, str) and value.startswith("$") else value

        return made(*map(meant, args), **{name: meant(value) for name, value in kwargs.items()})

    step = flow.definition["term"]
    return {mode: step[mode] for mode in ("reads", "writes", "takes", "reduces") if mode in step}


@pytest.mark.req("P1.9")
def test_a_step_has_the_accesses_that_its_task_declares() -> None:
    made = task(
        reads="lake/raw", writes=["a", "b/"], takes=ff.asset("inbox") / "{day}", reduces={"totals": "sum"}
    )
    assert traced(made, "monday") == {
        "reads": ["lake/raw"],
        "writes": ["a", "b/"],
        "takes": ["inbox/monday"],
        "reduces": {"totals": "sum"},
    }


def test_a_task_that_declares_nothing_is_another_than_one_that_needs_nothing() -> None:
    assert traced(task()) == {}
    assert traced(task(reads=[])) == {"reads": []}


@pytest.mark.parametrize(
    ("template", "args", "name"),
    [
        ("lake/{day}", (), "lake/today"),
        ("lake/{day}", ("monday",), "lake/monday"),
        ("lake/{day}/{n}", ("a/b", 3), "lake/a/b/3"),
        ("lake/{ day }", ("a{b}[c]",), "lake/a{{b}}[[c]"),
        ("{{x}}/{day}", ("y",), "{{x}}/y"),
        ("lake/{day}.csv", ("$day",), "lake/{input.day}.csv"),
        ("lake/{day.id}", ("$order",), "lake/{input.order.id}"),
        ("lake/{day[0].id}", ("$order",), "lake/{input.order[0].id}"),
        ("lake/{day.id}", ({"id": "o7"},), "lake/o7"),
        ("lake/{day[1]}", (["a", "b"],), "lake/b"),
        ("lake/{day}", ("$expr",), "lake/{input.day + '!'}"),
        ("lake/{day.id}", ("$expr",), "lake/{(input.day + '!').id}"),
        ("part[{n}/8]", ("", 3), "part[3/8]"),
        ("rows[{n}:{day}]", ("10", 3), "rows[3:10]"),
        ("lake/{day}", (date(2026, 1, 2),), "lake/2026-01-02"),
    ],
)
def test_holes_are_filled_when_a_step_is_traced(template: str, args: tuple[Any, ...], name: str) -> None:
    assert traced(task(reads=template), *args) == {"reads": [name]}


def test_a_member_of_an_argument_may_be_a_ref() -> None:
    @ff.workflow
    def flow(day: str) -> Any:
        return task(reads="lake/{day.id}")({"id": day})

    assert flow.definition["term"]["reads"] == ["lake/{input.day}"]


def test_a_ref_of_a_step_whose_id_has_braces_fills_a_hole() -> None:
    @ff.workflow
    def flow() -> Any:
        return task(reads="lake/{day}")(ff.library.compute.options(id="a{b}")("sum", []))

    name = flow.definition["term"]["partial"][1]["reads"][0]
    assert name == r'lake/{steps["a\u007bb\u007d"]}'
    assert flow.program.tasks == ["compute", "t"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("",), "task 't' reads \"lake/{day}\", but {day} is an empty text"),
        ((1.5,), "{day} is 1.5, a float: only a text or a whole number makes a name"),
        ((True,), "{day} is True, a bool"),
        ((None,), "{day} is None, a NoneType"),
        (("a//b",), "task 't' reads \"lake/{day}\": 'lake/a//b' has an empty part"),
        (("..",), "has a part '..': write what it stands for"),
        (("a\nb",), "has a control character"),
        (("x" * 1000,), "is too long a name: 1005 bytes"),
    ],
)
def test_what_makes_no_name_is_refused_at_the_call(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ff.DefinitionError) as caught:
        traced(task(reads="lake/{day}"), *args)
    assert message in str(caught.value)


def test_an_expression_with_braces_fills_no_hole() -> None:
    with pytest.raises(ff.DefinitionError, match="a hole holds none with braces"):
        traced(task(reads="lake/{day}"), ff.expr("{'a': 1}.a"))


def test_what_is_not_in_an_argument_is_named() -> None:
    with pytest.raises(ff.DefinitionError, match=r"but \{day\.id\} selects 'id', which is not in 'monday'"):
        traced(task(reads="lake/{day.id}"), "monday")


@pytest.mark.req("P1.9")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reads": ""}, "task 't' reads '' is no name of an asset: it is empty"),
        ({"reads": ["a", ""]}, "it is empty"),
        ({"reads": "/"}, "'/' has an empty part"),
        ({"reads": "a//b"}, "'a//b' has an empty part: write something between its slashes"),
        ({"reads": "a/../b"}, "has a part '..'"),
        ({"reads": "a\tb"}, "has a control character"),
        ({"reads": "/".join("x" * 65)}, "has more than 64 parts"),
        ({"writes": "lake/{dy}"}, "task 't' has no parameter 'dy', "
            "which writes=\"lake/{dy}\" names: it has day, n; did you mean 'day'?"),
        ({"takes": ff.value("rows")}, "task 't' has no parameter 'rows', "
            "which takes=ff.value('rows') names: it has day, n"),
        ({"reads": "a/{}"}, "'a/{}' has an empty hole"),
        ({"reads": "a/{day + 1}"}, "has a hole {day + 1}: name a parameter, or what is in one, as {"),
        ({"reads": "a/{day"}, "has a brace without its other; a brace that is part"),
        ({"reads": "a/day}"}, "has a brace without its other"),
        ({"reads": "a[0:1]/b"}, "has a bracket in its middle"),
        ({"reads": "a[x]"}, "'a[x]' selects [x]: write [from:to] with from < to"),
        ({"reads": "a[{day}]"}, "selects [{…}]: write [from:to]"),
        ({"reads": "a[5:5]"}, "selects [5:5]: write [from:to] with from < to"),
        ({"reads": "a[8/8]"}, "[part/parts] with part < parts"),
        ({"reduces": {"a": ""}}, "task 't': reduces 'a': '' is no name of an operation"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_declaration_is_said_at_once(given: Given, message: str) -> None:
    with pytest.raises((ff.DefinitionError, TypeError)) as caught:
        task(**given)
    assert message in str(caught.value)
    with pytest.raises(type(caught.value)):
        task().options(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"reads": 5},
            "task 't': reads=5: give the name of an asset, ff.asset(...), ff.value(...), or a list",
        ),
        ({"reads": None}, "reads=None: give the name of an asset"),
        ({"writes": ["a", b"b"]}, "writes=b'b': give the name of an asset"),
        ({"reduces": "totals"}, 'reduces=\'totals\': give the operation of each, {"totals": "sum"}'),
        ({"reduces": {ff.value("day"): "sum"}}, "what a step yields is made once; reduce a named asset"),
    ],
)
def test_what_is_of_another_type_is_refused(given: Given, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        task(**given)
    assert message in str(caught.value)


def test_options_replace_the_accesses_of_one_mode() -> None:
    made = task(reads="a", writes="b").options(writes=["c/{day}", "d"])
    assert traced(made, "x") == {"reads": ["a"], "writes": ["c/x", "d"]}
    assert traced(made.options(retry=3, reads=[]), "x") == {"reads": [], "writes": ["c/x", "d"]}


def test_commands_declare_accesses_too() -> None:
    @ff.command(name="accesses.copy", reads="{source}", writes="{target}")
    def copied(source: str, target: str) -> list[str]:
        return ["cp", source, target]

    assert traced(copied, "/a", target="$day") == {"reads": ["/a"], "writes": ["{input.day}"]}


def test_a_value_is_an_asset_if_it_is_not_a_constant() -> None:
    def join(rows: object, more: object = None) -> None: ...

    made = task(join, takes=[ff.value("rows"), ff.value("more")], reads="a")

    @ff.workflow
    def flow(given: list) -> Any:  # type: ignore[type-arg]
        a, b = ff.library.compute.options(id="a")("sum", []), ff.library.compute.options(id="b")("sum", [])
        return [made(a["result"], 5), made([a, {"x": b}, 1]), made(given, ff.expr("1 + x", x=b))]

    steps = flow.definition["term"]["partial"][2:]
    assert [step["takes"] for step in steps] == [
        [{"$": 'steps.a["result"]'}],
        [{"$": "steps.a"}, {"$": "steps.b"}],
        [{"$": "input.given"}],
    ]
    assert flow.program.tasks == ["compute", "t"]


def test_two_operations_on_what_comes_to_one_name_are_refused() -> None:
    with pytest.raises(ff.DefinitionError, match='reduces "a/x" by two operations at once'):
        traced(task(reduces={"a/{day}": "sum", "a/x": "max"}), "x")


# Assets.


def test_what_is_inside_an_asset_is_selected_from_it() -> None:
    lake = ff.asset("lake/", "directory", path="/data")
    assert [it.name for it in (lake, lake / "a/b", lake["a"], lake[0:5], lake[:5], lake["{a}":"{b}"])] == [
        "lake", "lake/a/b", "lake/a", "lake[0:5]", "lake[0:5]", "lake[{a}:{b}]",
    ]  # fmt: skip
    assert [it.name for it in lake.partition(2)] == ["lake[0/2]", "lake[1/2]"]
    assert ((lake / "a[[b").path, (lake / "{day}").path, lake.kind) == ("/data/a[b", None, "directory")
    assert lake == ff.asset("lake", "directory", path="/data") != ff.asset("lake")
    assert len({lake, ff.asset("lake", "directory", path="/data"), lake / "x"}) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ff.asset(""), "is no name of an asset"),
        (lambda: ff.asset("lake/{day}"), '; declare what it is in, and write asset / "{day}"'),
        (lambda: ff.asset("a[0:5]"), "declare the whole, and select from it"),
        (lambda: ff.asset("a", "folder"), "kind='folder' is none of file, directory, table, model, account"),  # type: ignore[arg-type]
        (lambda: ff.asset("a", fingerprint="abc"), "is no BLAKE3 hash of 64 hexadecimal digits"),
        (lambda: ff.asset(5), "a name is a text"),  # type: ignore[arg-type]
        (lambda: ff.asset("a")[5:5], r"[5:5]: write [from:to]"),
        (lambda: ff.asset("a")[-1:5], "-1 is no bound of a range"),
        (lambda: ff.asset("a")[5:], "select with a name, or with a range such as [0:1000]"),
        (lambda: ff.asset("a")[0:1] / "b", "has a bracket in its middle"),
        (lambda: ff.asset("a").partition(0), "give a whole number from 1 on"),
        (lambda: ff.asset("a") / 5, "give the name of what is in it"),  # type: ignore[operator]
        (lambda: ff.asset("a")[0], "select with a name, or with a range"),  # type: ignore[index]
        (lambda: ff.value("a.b"), "give the name of a parameter"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_asset_is_said_at_once(make: Callable[[], object], message: str) -> None:
    with pytest.raises((ff.DefinitionError, TypeError)) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.req("P1.9")
def test_assets_of_the_world_go_into_the_definition() -> None:
    disk = ff.asset("disk", "directory")
    lake = ff.asset("lake", "directory", path="/data", within=disk, fingerprint="AB" * 32)
    made = task(reads=lake / "raw", writes="disk/x")

    @ff.workflow(assets=[disk, "more"])
    def flow() -> Any:
        return made()

    assert flow.definition["assets"] == {
        "lake": {"kind": "directory", "path": "/data", "within": "disk", "fingerprint": "ab" * 32},
        "disk": {"kind": "directory"},
        "more": {},
    }
    assert flow.definition["closed"] is True
    assert flow.program.tasks == ["t"]


def test_a_workflow_that_is_called_brings_its_assets_along() -> None:
    lake = ff.asset("lake", output=True)

    @ff.workflow
    def inner() -> Any:
        scratch = ff.asset("scratch", "file")
        return task(writes=lake / "a").options(reads=scratch)()

    @ff.workflow
    def outer() -> Any:
        return inner()

    assert outer.definition["assets"] == {"lake": {"output": True}}
    assert "closed" not in outer.definition
    assert outer.definition["term"]["do"]["locals"] == {"scratch": {"kind": "file"}}
    assert outer.program.tasks == ["t"]


def test_terms_bring_their_assets_along() -> None:
    lake = ff.asset("lake", "table")
    term = task(reads=lake[0:5]).term() >> task().term()
    made = ff.Workflow.from_term("w", ff.each([1], term), assets=["more"])
    assert made.definition["assets"] == {"lake": {"kind": "table"}, "more": {}}
    assert made.definition["closed"] is True

    @ff.workflow
    def flow() -> Any:
        return ff.each([1], term)

    assert flow.definition["assets"] == {"lake": {"kind": "table"}}


def test_one_asset_is_declared_in_one_way() -> None:
    @ff.workflow
    def flow() -> Any:
        return [task(reads=ff.asset("a") / "b")(), task(reads=one)()]

    one = ff.asset("lake", "file")
    made = [task(reads=one), task(reads=ff.asset("lake", "table"))]

    @ff.workflow
    def twice() -> Any:
        return [it() for it in made]

    with pytest.raises(ff.DefinitionError, match="the asset 'lake' is declared twice"):
        _ = twice.definition
    with pytest.raises(ff.DefinitionError, match="is no name, and no"):
        _ = ff.workflow(assets=[one / "x"])(lambda: 1).definition


def test_an_asset_that_is_made_in_a_block_is_local_to_it() -> None:
    made = task(writes="scratch/{day}")

    @ff.workflow
    def flow() -> Any:
        def body(item: Any) -> Any:
            scratch = ff.asset("scratch", "directory", output=True)
            assert ff.asset("scratch", "directory", output=True) == scratch
            return made.options(reads=scratch / "x")(item)

        ff.each([1], body)
        return ff.each([2], body)

    first, second = (it["do"] for it in flow.definition["term"]["partial"])
    assert first["locals"] == {"scratch": {"kind": "directory", "output": True}}
    assert (first["term"]["reads"], first["term"]["writes"]) == (["scratch/x"], ["scratch/{item}"])
    # Another block's is another asset, by its objects and by its name.
    assert second["locals"] == {"scratch_2": {"kind": "directory", "output": True}}
    assert (second["term"]["reads"], second["term"]["writes"]) == (["scratch_2/x"], ["scratch_2/{item}"])
    assert "assets" not in flow.definition
    assert flow.program.tasks == ["t"]


def test_a_local_asset_that_leaves_its_block_keeps_its_name() -> None:
    @ff.workflow
    def flow() -> Any:
        kept: list[ff.Asset] = []

        def body(item: Any) -> Any:
            kept.append(ff.asset("scratch"))
            return task(reads="scratch")()

        ff.each([1], body)

        def other(item: Any) -> Any:
            own = ff.asset("scratch")
            return task(reads=[own, kept[0]])()

        return ff.each([1], other)

    outside = flow.definition["term"]["partial"][1]["do"]
    assert outside["term"]["reads"] == ["scratch_2", "scratch"]
    assert [*outside["locals"]] == ["scratch_2"]


def test_local_assets_of_one_block_and_name_are_alike() -> None:
    @ff.workflow
    def flow() -> Any:
        ff.asset("scratch", "file")
        ff.asset("scratch", "table")

    with pytest.raises(ff.DefinitionError, match="two assets of one block are called 'scratch'"):
        _ = flow.definition

    @ff.workflow
    def other() -> Any:
        ff.asset("scratch", within="lake")

    with pytest.raises(ff.DefinitionError, match="has neither `within` nor `fingerprint`"):
        _ = other.definition


def test_an_asset_that_is_given_to_a_task_is_its_path_or_its_name() -> None:
    lake = ff.asset("lake", path="/data")
    made = task(reads="{day}")

    @ff.workflow
    def flow() -> Any:
        return [made(lake / "x"), made(ff.asset("a[[b"))]

    first, second = flow.definition["term"]["partial"]
    assert (first["args"], first["reads"]) == (["/data/x"], ["lake/x"])
    assert (second["args"], second["reads"]) == (["a[b"], ["a[[b"])
    # It is used as if it had been declared.
    assert [*flow.definition["assets"]] == ["lake"]
    assert [*flow.definition["locals"]] == ["a[[b"]
    term = ff.Workflow.from_term("t", made.term(lake / "x"))
    assert [*term.definition["assets"]] == ["lake"]
    with pytest.raises(ff.DefinitionError, match="can be declared, and not be given"):
        traced(made, lake / "{day}")


# Definitions stay what they were.


def test_the_definition_is_plain_data() -> None:
    @ff.workflow
    def flow(items: list) -> Any:  # type: ignore[type-arg]
        return ff.each(items, task(reads="a"))

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return type(value) is dict and all(map(plain, value.values()))
        return all(map(plain, value)) if isinstance(value, list) else True

    assert plain(flow.definition)
    assert plain(task().term().to_dict())
    assert flow.definition is flow.definition
    term = task(reads="a").term()
    for other in (copy.deepcopy(term.to_dict()), pickle.loads(pickle.dumps(term)).to_dict()):
        assert other == term.to_dict()


def test_accesses_survive_the_way_through_the_core() -> None:
    @ff.workflow
    def flow(day: str) -> Any:
        return task(reads="a/{day}", reduces={"b[0:5]": "sum"})(day)

    again = ff.load(flow.definition)
    assert again.hash == flow.hash
    step = flow.normal_form["term"]
    assert (step["reads"], step["reduces"]) == (["a/{input.day}"], {"b[0:5]": "sum"})


def test_accesses_are_declared_in_a_plain_call_too() -> None:
    thing = SimpleNamespace(n=3)
    assert task(reads="a/{day.n}")(thing) is None
