"""Workflows that call themselves."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ferroflow as ff
from ferroflow.draw import mermaid


@ff.task(name="r.halves")
def halves(numbers: list[int]) -> list[list[int]]:
    middle = len(numbers) // 2
    return [numbers[:middle], numbers[middle:]]


@ff.task(name="r.merge")
def merge(left: list[int], right: list[int]) -> list[int]:
    return sorted([*left, *right])


@ff.workflow(name="r.sort", max_depth=10)
def merge_sort(numbers: list[int]) -> list[int]:
    def split() -> Any:
        parts: Any = halves(numbers)
        return merge(merge_sort(parts[0]), merge_sort(parts[1]))

    sorted_: list[int] = ff.choose([(ff.expr("size(n) > 1", n=numbers), split)], lambda: numbers)
    return sorted_


def forever() -> ff.Workflow[[int], Any]:
    @ff.workflow(max_depth=3)
    def forever(n: int) -> Any:
        return forever(n)

    return forever


def test_recursive_halving_sorts() -> None:
    with ff.Engine() as engine:
        assert engine.run(merge_sort, [5, 3, 9, 1, 3, 8, 0]) == [0, 1, 3, 3, 5, 8, 9]
        assert engine.run(merge_sort, []) == []


def test_recursion_deeper_than_its_bound_fails() -> None:
    with ff.Engine() as engine, pytest.raises(ff.RunFailed, match="max_depth=3") as caught:
        engine.run(forever(), 1)
    assert caught.value.code == "RECURSION_BOUND"
    assert caught.value.step == "forever/forever/forever/forever"


def test_a_recursion_in_flight_goes_on_with_the_next_engine(tmp_path: Path) -> None:
    @ff.workflow(name="r.ask", max_depth=5)
    def ask(n: int) -> Any:
        def again() -> Any:
            answer = ff.signal("answer")
            return {"n": n, "answer": answer, "rest": ask(ff.expr("n - 1", n=n))}

        return ff.choose([(ff.expr("n > 0", n=n), again)], lambda: "end")

    path = tmp_path / "runs.db"
    with ff.Engine(path) as engine:
        handle = engine.start(ask, 2)
        handle.signal("answer", "first")
    with ff.Engine(path) as engine:
        handle = engine.handle(handle.id)
        handle.signal("answer", "second")
        expected = {"n": 2, "answer": "first", "rest": {"n": 1, "answer": "second", "rest": "end"}}
        assert handle.result() == expected
    with ff.Engine(path) as engine:
        assert engine.handle(handle.id).result() == expected


def test_a_recursive_workflow_can_be_part_of_another() -> None:
    @ff.workflow
    def both(numbers: list[int]) -> Any:
        return {"up": merge_sort(numbers), "twice": ff.each([[2, 1], [4, 3]], merge_sort)}

    with ff.Engine() as engine:
        assert engine.run(both, [3, 1, 2]) == {"up": [1, 2, 3], "twice": [[1, 2], [3, 4]]}


def test_a_tree_is_gone_through() -> None:
    @ff.workflow(name="r.leaves", max_depth=5)
    def leaves(tree: Any) -> Any:
        below = ff.expr("tree.children", tree=tree)
        has_below = ff.expr("has(tree.children)", tree=tree)
        return ff.choose([(has_below, lambda: ff.each(below, leaves))], lambda: tree["name"])

    tree = {
        "children": [
            {"name": "a"},
            {"children": [{"name": "b"}, {"children": [{"name": "c"}]}, {"children": []}]},
            {"name": "d"},
        ]
    }
    with ff.Engine() as engine:
        assert engine.run(leaves, tree) == ["a", ["b", ["c"], []], "d"]


def even_and_odd() -> tuple[ff.Workflow[[int], Any], ff.Workflow[[int], Any]]:
    @ff.workflow(name="r.even", max_depth=20)
    def even(n: int) -> Any:
        return ff.choose([(ff.expr("n > 0", n=n), lambda: odd(ff.expr("n - 1", n=n)))], lambda: True)

    @ff.workflow(name="r.odd", max_depth=20)
    def odd(n: int) -> Any:
        return ff.choose([(ff.expr("n > 0", n=n), lambda: even(ff.expr("n - 1", n=n)))], lambda: False)

    return even, odd


def test_two_workflows_that_call_each_other() -> None:
    even, odd = even_and_odd()
    with ff.Engine() as engine:
        assert [engine.run(even, n) for n in (0, 3, 4)] == [True, False, True]
        assert [engine.run(odd, n) for n in (0, 3, 4)] == [False, True, False]
    other_even, other_odd = even_and_odd()
    assert other_odd.definition == odd.definition
    assert other_even.definition == even.definition


def test_recursion_without_a_bound_is_refused() -> None:
    @ff.workflow
    def flow(n: int) -> Any:
        return flow(n)

    with pytest.raises(ff.DefinitionError, match=r"max_depth=.*ff\.loop"):
        _ = flow.definition
    for bound in (0, 201):
        with pytest.raises(ff.DefinitionError, match="from 1 to 200"):
            ff.workflow(max_depth=bound)


def test_a_workflow_of_the_same_name_in_between_is_refused() -> None:
    @ff.workflow(name="r.twin", max_depth=2)
    def outer(n: int) -> Any:
        return inner(n)

    @ff.workflow(name="r.twin")
    def inner(n: int) -> Any:
        return outer(n)

    with pytest.raises(ff.DefinitionError, match="another name"):
        _ = outer.definition


def test_recursion_in_definitions_and_pictures() -> None:
    definition = merge_sort.definition
    jsonschema.Draft202012Validator(ff.schema()).validate(definition)
    again = ff.load(definition)
    assert again.hash == merge_sort.hash
    with ff.Engine() as engine:
        assert engine.run(again, [2, 1]) == [1, 2]
    assert "r.sort_2 (recursion)" in mermaid(merge_sort.program.blocks())
