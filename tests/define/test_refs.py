"""Whatever would need the value of a Ref while a workflow is traced says what to do instead."""

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

import pytest

import ferroflow as ff


@ff.task(name="refs.load")
def load() -> Any: ...


@pytest.fixture(params=["ref", "expression"])
def stand_in(request: pytest.FixtureRequest) -> Any:
    return ff.var("rows") if request.param == "ref" else ff.expr("x + 1", x=ff.var("rows"))


ARITHMETIC = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod),
    *(operator.pow, operator.matmul, operator.and_, operator.or_, operator.xor),
    *(operator.lshift, operator.rshift, divmod),
]
MISUSES: list[tuple[Callable[[Any], Any], str]] = [
    (bool, r"ff\.choose"),
    (lambda ref: not ref, r"ff\.choose"),
    (lambda ref: ref and 1, r"ff\.choose"),
    (lambda ref: ref == 3, r"x == 3.*ff\.|ff\.expr"),
    (lambda ref: ref != 3, r"ff\.expr"),
    (lambda ref: ref == 3, r"ff\.expr"),
    (lambda ref: ref < 3, r"ff\.expr"),
    (lambda ref: ref <= 3, r"ff\.expr"),
    (lambda ref: 3 in ref, r"3 in x"),
    (lambda ref: [*ref], r"ff\.each"),
    (lambda ref: reversed(ref), r"ff\.each"),
    (len, r"size\(x\)"),
    (str, r"in a task"),
    (lambda ref: f"{ref}", r"in a task"),
    (lambda ref: f"{ref:>3}", r"in a task"),
    (lambda ref: "%s" % ref, r"in a task"),  # noqa: UP031 - it is what is tested
    (lambda ref: "{}".format(ref), r"in a task"),  # noqa: UP032 - it is what is tested
    (int, r"int\(x\)"),
    (float, r"int\(x\)"),
    (complex, r"int\(x\)"),
    (round, r"int\(x\)"),
    (math.floor, r"int\(x\)"),
    (math.ceil, r"int\(x\)"),
    (math.trunc, r"int\(x\)"),
    (range, r"int\(x\)"),
    (bytes, r"int\(x\)"),
    (lambda ref: [1, 2][ref], r"int\(x\)"),
    (operator.neg, r"x \+ 1"),
    (operator.pos, r"x \+ 1"),
    (operator.invert, r"x \+ 1"),
    (abs, r"x \+ 1"),
    (lambda ref: ref.rows, r"ref\['rows'\]"),
    (lambda ref: hasattr(ref, "rows"), r"ref\['rows'\]"),
    *((lambda ref, by=by: by(ref, 2), r"x \+ 1") for by in ARITHMETIC),
    *((lambda ref, by=by: by(2, ref), r"x \+ 1") for by in ARITHMETIC),
    (lambda ref: sum([ref]), r"x \+ 1"),
    (lambda ref: "a" + ref, r"x \+ 1"),
]


@pytest.mark.parametrize(("misuse", "help_"), MISUSES)
def test_misuse_raises_and_says_what_to_do(stand_in: Any, misuse: Callable[[Any], Any], help_: str) -> None:
    with pytest.raises(TypeError, match=help_) as caught:
        misuse(stand_in)
    assert repr(stand_in) in str(caught.value)


def test_a_ref_is_looked_at_and_kept_by_identity() -> None:
    ref: Any = ff.var("rows")
    assert repr(ref) == "<Ref vars.rows>"
    kept = {ref: 1}
    assert kept[ref] == 1
    assert ref in [ref]
    assert repr(copy.copy(ref)) == repr(ref)


def test_selecting_from_a_ref() -> None:
    @ff.workflow
    def flow() -> Any:
        ref: Any = load()
        with pytest.raises(TypeError, match=r"ff\.expr"):
            _ = ref[1:2]
        with pytest.raises(TypeError, match=r"ff\.expr"):
            _ = ref[ref]
        return ref["a b"][-1]

    assert flow.definition["result"] == {"$": 'steps["refs.load"]["a b"][-1]'}
