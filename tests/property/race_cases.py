"""Small definitions, what races in them, and what is used after it was moved.

A race is written as its code and the two places; a place is the path of a step and the number of its access,
or only the path for what it reads by itself. A use after a move is written as who moved it and who uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    name: str
    definition: Json
    races: tuple[str, ...] = ()
    moves: tuple[str, ...] = ()
    few: bool = True
    """Whether all its traces can be looked at."""


def t(step: str, **fields: Any) -> Json:
    return {"task": "t", "id": step, **fields}


def r(step: str, *names: Any, **fields: Any) -> Json:
    return t(step, reads=[*names], **fields)


def w(step: str, *names: Any, **fields: Any) -> Json:
    return t(step, writes=[*names], **fields)


def x(step: str, *names: Any, **fields: Any) -> Json:
    return t(step, takes=[*names], **fields)


def add(step: str, name: str, operation: str = "sum", **fields: Any) -> Json:
    return t(step, reduces={name: operation}, **fields)


def par(*terms: Any) -> Json:
    return {"parallel": [*terms]}


def partial(*terms: Any) -> Json:
    return {"partial": [*terms]}


def e(text: str) -> Json:
    return {"$": text}


def choice(*blocks: Any, otherwise: Any = None, condition: str = "input.n > 0") -> Json:
    found = {"choice": [{"if": condition, "then": it} for it in blocks], "id": "choice"}
    return found if otherwise is None else {**found, "else": otherwise}


def loop(body: Any, **fields: Any) -> Json:
    return {"loop": body, "while": "state_iteration < 3", "max": 9, "id": "loop", **fields}


def each(body: Any, items: Any = None, **fields: Any) -> Json:
    return {"each": e("input.n") if items is None else items, "do": body, "id": "each", **fields}


def attempt(body: Any, catch: Any) -> Json:
    return {"try": body, "catch": catch, "id": "try"}


def first(count: int, *of: Any) -> Json:
    return {"first": count, "of": [*of], "id": "first"}


def sub(body: Any, step: str = "sub", **given: Any) -> Json:
    return {"workflow": "inner", "with": given, "do": body, "id": step}


def again(step: str = "again", n: str = "input.n") -> Json:
    """The whole once more, perhaps."""
    call = {"workflow": "w", "with": {"n": e(n)}, "max_depth": 5, "id": step}
    return {**choice(call), "id": f"{step}_if"}


def case(
    name: str,
    term: Any,
    *races: str,
    moves: str | tuple[str, ...] = (),
    few: bool = True,
    **fields: Any,
) -> Case:
    definition = {"name": "w", "inputs": ["n"], "term": term, **fields}
    return Case(name, definition, races, (moves,) if isinstance(moves, str) else moves, few)


frame = e("steps.load.frame")
load = t("load")

CASES = [
    # Modes.
    case("two writers", par(w("a", "x"), w("b", "x")), "FF0499 a0 b0"),
    case("a reader beside a writer", par(r("a", "x"), w("b", "x")), "FF0502 a0 b0"),
    case("two readers", par(r("a", "x"), r("b", "x"))),
    case("the same reduction", par(add("a", "x"), add("b", "x"))),
    case("different reductions", par(add("a", "x"), add("b", "x", "max")), "FF0503 a0 b0"),
    case("a reduction beside a reader", par(add("a", "x"), r("b", "x")), "FF0502 a0 b0"),
    case("a reduction beside a writer", par(add("a", "x"), w("b", "x")), "FF0502 a0 b0"),
    case("a move beside a reader", par(x("a", "x"), r("b", "x")), "FF0505 a0 b0"),
    case("a move beside a writer", par(x("a", "x"), w("b", "x")), "FF0505 a0 b0"),
    case("two moves", par(x("a", "x"), x("b", "x")), "FF0505 a0 b0"),
    case("a move beside a reduction", par(x("a", "x"), add("b", "x")), "FF0505 a0 b0"),
    case(
        "different accesses of a step",
        par(t("a", reads="x", writes="y"), w("b", "x"), r("c", "y")),
        "FF0502 a0 b0",
        "FF0502 a1 c0",
    ),
    # Names.
    case("a parent and what is in it", par(w("a", "lake"), r("b", "lake/raw/2026")), "FF0502 a0 b0"),
    case("siblings", par(w("a", "lake/raw"), w("b", "lake/raw2"), w("c", "lake/b"))),
    case("a trailing separator", par(w("a", "lake/"), w("b", "lake")), "FF0499 a0 b0"),
    case("an absolute path is another", par(w("a", "/lake"), w("b", "lake"))),
    case("ranges that meet", par(w("a", "t[0:10]"), w("b", "t[9:11]"), w("c", "t[11:12]")), "FF0499 a0 b0"),
    case("parts of one number", par(w("a", "t[0/3]"), w("b", "t[1/3]"), w("c", "t[2/3]"))),
    case("parts of two numbers", par(w("a", "t[0/3]"), w("b", "t[1/2]")), "FF0499 a0 b0"),
    case("a part and a range", par(w("a", "t[0/3]"), w("b", "t[1:2]")), "FF0499 a0 b0"),
    case("a range and a child", par(w("a", "t[0:5]"), w("b", "t/x")), "FF0499 a0 b0"),
    case("a range and the whole", par(w("a", "t[0:5]"), r("b", "t")), "FF0502 a0 b0"),
    case(
        "escaped brackets and braces",
        par(w("a", "t[[0:5]"), w("b", "t[[0:6]"), w("c", "{{x}}"), w("d", "{{x}}")),
        "FF0499 c0 d0",
    ),
    case(
        "an asset that says where it lies",
        par(w("a", "orders/x"), r("b", "lake/raw"), w("c", "lake/other")),
        "FF0502 a0 b0",
        assets={"lake": {}, "orders": {"within": "lake/raw"}, "lake/raw": {}},
    ),
    # Order.
    case("a sequence", [w("a", "x"), w("b", "x"), x("c", "x")]),
    case("order through a step between", [w("a", "x"), t("b"), w("c", "x")]),
    case(
        "an empty member orders nothing",
        partial(w("a", "x"), {"sequence": [], "after": ["a"]}, w("b", "x")),
        "FF0499 a0 b0",
    ),
    case("no step between", [w("a", "x"), [], par([], []), w("b", "x")]),
    case("order through a choice that does nothing", [w("a", "x"), choice([]), w("b", "x")]),
    case("order through data", partial(w("a", "x"), w("b", "x", args=[e("steps.a")]))),
    case(
        "order through data and after",
        partial(w("a", "x"), t("b", args=[e("steps.a")]), w("c", "x", after=["b"])),
    ),
    case("order through a hole", partial(w("a", "x"), w("b", "x", "y/{steps.a.day}"))),
    case(
        "order through what a nested step needs",
        partial(w("a", "x"), each(t("b", args=[e("steps.a")])), w("c", "x", after=["each"])),
    ),
    case(
        "what a nested step needs orders the whole",
        par(w("a", "x"), each([w("b", "x"), t("c", args=[e("steps.a")])])),
        "FF0499 each/b0 each/b0",
    ),
    case(
        "after names a step in a member",
        partial({"sequence": [t("a"), w("b", "x")]}, w("c", "x", after=["a"])),
    ),
    case(
        "a sequence beside a sequence",
        par([w("a", "x"), w("b", "y")], [w("c", "y"), w("d", "z")]),
        "FF0499 b0 c0",
    ),
    # Choices.
    case("branches exclude each other", choice(w("a", "x"), w("b", "x"), otherwise=w("c", "x"))),
    case(
        "a branch beside another step",
        par(choice(w("a", "x"), otherwise=r("b", "x")), r("c", "x")),
        "FF0502 choice/0/a0 c0",
    ),
    # Loops and eaches.
    case("iterations of a loop", loop(w("a", "x"))),
    case("steps of one iteration of a loop", loop(par(w("a", "x"), r("b", "x"))), "FF0502 loop/a0 loop/b0"),
    case("iterations of an each", each(w("a", "x")), "FF0499 each/a0 each/a0"),
    case(
        "different steps of two iterations",
        each([w("a", "x"), r("b", "x")]),
        "FF0499 each/a0 each/a0",
        "FF0502 each/a0 each/b0",
    ),
    case("iterations that read", each(r("a", "x"))),
    case("one iteration at a time", each([w("a", "x"), r("b", "x")], limit=1)),
    case("two iterations at a time", each(w("a", "x"), limit=2), "FF0499 each/a0 each/a0"),
    case("one item", each(w("a", "x"), [1])),
    case("no item", par(each(w("a", "x"), []), w("b", "x"))),
    case("two items", each(w("a", "x"), [1, 2]), "FF0499 each/a0 each/a0"),
    case(
        "an iteration inside an iteration",
        each(each(w("a", "x"), limit=1)),
        "FF0499 each/each/a0 each/each/a0",
    ),
    # Holes.
    case("a name by item", each(w("a", "out/{item}"))),
    case("a part by index", each(w("a", "out[{item_index}/8]"))),
    case("one item twice", each(par(w("a", "out/{item}"), r("b", "out/{item}/x"))), "FF0502 each/a0 each/b0"),
    case(
        "a name by item beside its parent",
        par(each(w("a", "out/{item}")), r("b", "out")),
        "FF0502 each/a0 b0",
    ),
    case("one input twice", par(w("a", "out/{input.n}"), w("b", "out/{ input.n }")), "FF0499 a0 b0"),
    case("a hole and a text", par(w("a", "out/{input.n}"), w("b", "out/x"))),
    case("an input is the same in all iterations", each(w("a", "out/{input.n}")), "FF0499 each/a0 each/a0"),
    case("a result of the body", each([t("a"), w("b", "out/{steps.a.day}")])),
    case("an outer result", [t("a"), each(w("b", "out/{steps.a.day}"))], "FF0499 each/b0 each/b0"),
    case(
        "an outer item",
        each(each(w("a", "out/{item}"), **{"as": "inner"})),
        "FF0499 each/each/a0 each/each/a0",
    ),
    case(
        "two ways to write a path",
        [t("a"), par(w("b", "o/{steps.a.day}"), w("c", 'o/{steps["a"].day}'))],
        "FF0499 b0 c0",
    ),
    case(
        "a text beside a hole",
        each(par(sub(w("a", "o/{input.d}-{input.i}"), d="x", i=e("item")), w("b", "o/x-{item}"))),
        "FF0499 each/sub/a0 each/b0",
    ),
    case(
        "a text of several parts beside a hole",
        each(par(sub(w("a", "{input.d}-{input.i}"), d="o/x", i=e("item")), w("b", "o/x-{item}"))),
        "FF0499 each/sub/a0 each/b0",
    ),
    case(
        "an input that is an expression",
        each(par(sub(w("a", "o/{input.i}"), i=e("item_index + 1")), w("b", "o/{item_index + 1}"))),
        "FF0499 each/sub/a0 each/b0",
    ),
    case("a name with braces that is declared", w("a", "{{x}}/y"), assets={"{{x}}": {}}),
    # Locals.
    case(
        "each iteration has its own", each({"term": [w("a", "tmp/x"), r("b", "tmp")], "locals": {"tmp": {}}})
    ),
    case(
        "a race in a local",
        each({"term": par(w("a", "tmp/x"), r("b", "tmp")), "locals": {"tmp": {}}}),
        "FF0502 each/a0 each/b0",
    ),
    case(
        "a local of an enclosing block",
        {"timeout": 5, "id": "o", "do": {"term": each(w("a", "tmp")), "locals": {"tmp": {}}}},
        "FF0499 o/each/a0 o/each/a0",
    ),
    # Failures and racing branches.
    case("a body comes before its handler", attempt(w("a", "x"), w("b", "x"))),
    case(
        "a handler beside another step",
        par(attempt(t("a"), w("b", "x")), r("c", "x")),
        "FF0502 try/catch/b0 c0",
    ),
    case("branches of first", first(1, w("a", "x"), w("b", "x")), "FF0499 first/0/a0 first/1/b0"),
    case("what follows first", [first(1, w("a", "x"), t("b")), w("c", "x")]),
    case("timeouts", par({"timeout": 5, "id": "o", "do": w("a", "x")}, w("b", "x")), "FF0499 o/a0 b0"),
    # Workflows in workflows.
    case("a sub-workflow", par(sub(w("a", "x")), w("b", "x")), "FF0499 sub/a0 b0"),
    case(
        "an input that is a text",
        par(sub(w("a", "lake/{input.d}"), d="raw"), r("b", "lake/raw")),
        "FF0502 sub/a0 b0",
    ),
    case("an input that is another text", par(sub(w("a", "lake/{input.d}"), d="raw"), r("b", "lake/cooked"))),
    case(
        "an input that is a number",
        par(sub(w("a", "t[0:{input.d}]"), d=5), r("b", "t[4:6]")),
        "FF0502 sub/a0 b0",
    ),
    case(
        "an input that is a path",
        each(par(sub(w("a", "lake/{input.d}"), d=e("item")), r("b", "lake/{item}"))),
        "FF0502 each/sub/a0 each/b0",
    ),
    case(
        "inputs of inputs",
        sub(sub(par(w("a", "{input.f}/x"), w("b", "lake")), step="in", f=e("input.d")), d="lake"),
        "FF0499 sub/in/a0 sub/in/b0",
    ),
    case("a recursion beside a step", par(w("a", "x"), again()), "FF0499 a0 a0"),
    case("a recursion after a step", [w("a", "x"), again()]),
    case("a recursion has locals of its own", par(w("a", "tmp"), again()), locals={"tmp": {}}),
    case(
        "two recursions beside each other",
        par(w("a", "out/{input.n}"), again("l", "input.n.left"), again("r", "input.n.right")),
        few=False,
    ),
    case(
        "recursions of iterations",
        [w("a", "out/{input.n}"), each(again(n="item"), [1, 2])],
        few=False,
    ),
    case(
        "recursions of iterations meet",
        [w("a", "out"), each(again(n="item"), [1, 2])],
        "FF0499 a0 a0",
        few=False,
    ),
    # Values.
    case(
        "a value that is moved beside a reader",
        [load, par(x("a", frame), t("b", args=[frame]))],
        "FF0505 a0 b",
    ),
    case("parts of a value", [load, par(x("a", frame), t("b", args=[e("steps.load.index")]))]),
    case("a part and the whole", [load, par(x("a", frame), t("b", args=[e("steps.load")]))], "FF0505 a0 b"),
    case(
        "a value is read by a condition",
        [load, par(x("a", frame), choice(t("b"), condition="steps.load.frame.ok"))],
        "FF0505 a0 choice",
    ),
    case(
        "a value is read for items",
        [load, par(x("a", e("steps.load")), each(t("b"), e("steps.load.rows")))],
        "FF0505 a0 each",
    ),
    case("a value is read by each iteration", [load, each(x("a", frame))], "FF0505 each/a0 each/a0"),
    case("a value of an iteration", each([load, x("a", frame)])),
    case(
        "a value through an input",
        [load, par(sub(x("a", e("input.d")), d=e("steps.load")), t("b", args=[frame]))],
        "FF0505 sub/a0 b",
    ),
    case(
        "an item is in its list",
        [load, each(par(x("a", e("item")), t("b", args=[e("steps.load.rows")])), e("steps.load.rows"))],
        "FF0505 each/a0 each/b",
    ),
    case(
        "items are apart",
        [load, each([x("a", e("item")), t("b", args=[e("item_index")])], e("steps.load.rows"))],
    ),
    # Uses after a move.
    case(
        "a list after its items were moved",
        [load, each(x("a", e("item")), e("steps.load.rows")), t("b", args=[e("steps.load")])],
        moves="each/a0 b",
    ),
    case(
        "an item after it was moved",
        each([x("a", e("item")), t("b", args=[e("item.x")])]),
        moves="each/a0 each/b",
    ),
    case("read after it was moved", [x("a", "x"), r("b", "x")], moves="a0 b0"),
    case("moved twice", [x("a", "x"), x("b", "x")], moves="a0 b0"),
    case(
        "what is inside is moved too",
        [x("a", "lake"), r("b", "lake/raw"), w("c", "lake/raw")],
        moves=("a0 b0", "a0 c0"),
    ),
    case("made anew", [x("a", "x"), w("b", "x"), r("c", "x")]),
    case("made anew with what contains it", [x("a", "lake/raw"), w("b", "lake"), r("c", "lake/raw")]),
    case("made anew in one branch", [x("a", "x"), choice(w("b", "x")), r("c", "x")], moves="a0 c0"),
    case("made anew in every branch", [x("a", "x"), choice(w("b", "x"), otherwise=w("d", "x")), r("c", "x")]),
    case(
        "made anew in a loop that may not begin", [x("a", "x"), loop(w("b", "x")), r("c", "x")], moves="a0 c0"
    ),
    case("moved in each turn", loop(x("a", "x")), moves="loop/a0 loop/a0"),
    case("moved in one turn only", loop(x("a", "x"), max=1)),
    case("moved and made anew in each turn", loop([w("b", "x"), x("a", "x")])),
    case("moved in each iteration, one at a time", each(x("a", "x"), limit=1), moves="each/a0 each/a0"),
    case("moved before the handler", attempt(x("a", "x"), r("b", "x")), moves="try/a0 try/catch/b0"),
    case(
        "made anew, unless the body fails before",
        [x("a", "x"), attempt([t("b"), w("c", "x")], r("d", "x"))],
        moves="a0 try/catch/d0",
    ),
    case(
        "moved by a branch that was stopped",
        [first(1, t("a"), [x("b", "x"), w("c", "x")]), r("d", "x")],
        moves="first/1/b0 d0",
    ),
    case(
        "made anew by a branch that may be stopped",
        [x("a", "x"), first(1, t("b"), w("c", "x")), r("d", "x")],
        moves="a0 d0",
    ),
    case(
        "made anew by branches of which both complete",
        [x("a", "x"), first(2, t("b"), w("c", "x")), r("d", "x")],
    ),
    case("a value after it was moved", [load, x("a", frame), t("b", args=[e("steps.load")])], moves="a0 b"),
    case(
        "a result that was moved is yielded",
        {"timeout": 5, "id": "o", "do": {"term": [load, x("a", e("steps.load"))], "result": e("steps.load")}},
        moves="o/a0 o",
    ),
    case("the taker may read what it takes", [load, x("a", frame, args=[frame])]),
    case(
        "a moved part may be beside others",
        [x("a", "t[0/4]"), r("b", "t[1/4]"), r("c", "t[0/4]")],
        moves="a0 c0",
    ),
    case(
        "a local is another in each turn",
        loop({"term": [w("b", "tmp"), x("a", "tmp")], "locals": {"tmp": {}}}),
    ),
    case(
        "what contains a name that was moved", [each(x("a", "out/{item}")), r("b", "out")], moves="each/a0 b0"
    ),
    case(
        "what contains it, in the turn after",
        each([r("b", "out"), x("a", "out/{item}")], limit=1),
        moves="each/a0 each/b0",
    ),
    case("moved and made anew by name", [each([x("a", "out/{item}"), w("b", "out/{item}")]), r("c", "out")]),
    case("each turn moves its own", loop([x("a", "out/{state_iteration}"), w("b", "log")])),
    case("what was moved is written in part", [x("a", "t[0:5]"), w("b", "t[3:8]")], moves="a0 b0"),
    case("a value that was moved is written", [load, x("a", frame), w("b", frame)], moves="a0 b0"),
    case("moved by the caller's beginning", [x("a", "x"), again()], moves="a0 a0"),
]
