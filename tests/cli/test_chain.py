"""The longest chain of a run goes by real dependencies, copy by copy."""

from typing import Any

import msgspec
import pytest

from ferroflow.cli.chain import longest_chain
from ferroflow.engine import records

BLOCKS: list[records.Block] = [
    (
        None,
        [("load", "task", "t"), ("side", "task", "t"), ("each", "each", None), ("loop", "loop", None)],
        [(0, 2), (2, 3)],
    ),
    ((0, 2), [("a", "task", "t"), ("b", "task", "t")], [(0, 1)]),
    ((0, 3), [("turn", "task", "t")], []),
]


def view(steps: list[tuple[str, int, int, float]]) -> records.RunView:
    made = []
    for path, block, node, seconds in steps:
        kind, task = BLOCKS[block][1][node][1:]
        made.append(
            {
                "path": path, "block": block, "node": node, "kind": kind, "task": task, "state": "completed",
                "attempts": 1, "scheduled": 0, "started": 0, "ended": int(seconds * 1e6), "ran_on": None,
                "error": None, "percent": None, "message": None, "updated": None,
                    "used": None, "result": None,
            }
        )  # fmt: skip
    run: dict[str, Any] = {
        "id": "r", "workflow": "w", "version": "1", "state": "completed", "degraded": False, "priority": 2,
        "correlation": None, "created": 0, "started": 0, "ended": 1, "error": None, "reason": None,
        "recoveries": 0, "steps": made, "blocks": BLOCKS, "input": None, "result": None, "variables": None,
    }  # fmt: skip
    return msgspec.convert(run, records.RunView)


def test_copies_run_side_by_side_and_turns_of_a_loop_follow_each_other() -> None:
    run = view(
        [
            ("load", 0, 0, 1), ("side", 0, 1, 9), ("each", 0, 2, 0), ("loop", 0, 3, 0),
            # The longest a and the longest b are in different copies: they do not add up.
            ("each[0]/a", 1, 0, 5), ("each[0]/b", 1, 1, 1), ("each[1]/a", 1, 0, 2), ("each[1]/b", 1, 1, 5),
            ("loop[0]/turn", 2, 0, 2), ("loop[1]/turn", 2, 0, 3),
        ]
    )  # fmt: skip
    seconds, chain = longest_chain(run)
    assert seconds == pytest.approx(1 + 7 + 5)
    assert [step.path for step in chain] == ["load", "each[1]/a", "each[1]/b", "loop[0]/turn", "loop[1]/turn"]


def test_a_step_that_waits_for_nothing_may_be_the_longest_chain() -> None:
    run = view([("load", 0, 0, 1), ("side", 0, 1, 99), ("each", 0, 2, 0), ("loop", 0, 3, 0)])
    seconds, chain = longest_chain(run)
    assert (seconds, [step.path for step in chain]) == (99, ["side"])


def test_a_run_that_has_not_begun_has_no_chain() -> None:
    assert longest_chain(view([])) == (0.0, [])
