"""Pictures of graphs."""

import pytest

from ferroflow import draw
from ferroflow.draw.graph import Block


@pytest.mark.req("P9.9", "P9.13")
def test_dot_escapes_labels_and_is_deterministic() -> None:
    blocks: list[Block] = [
        (None, [('a"b', "task", "t\\x"), ("each", "each", None)], [(0, 1)]),
        ((0, 1), [("inner", "task", "inner")], []),
    ]
    text = draw.dot(blocks)
    assert text == draw.dot(blocks)
    assert 'label="a\\"b (t\\\\x)"' in text
    assert "rankdir=LR" in text
    assert "n0_0 -> n0_1" in text
    assert "subgraph cluster_1" in text
    assert "#quot;" in draw.mermaid(blocks)
