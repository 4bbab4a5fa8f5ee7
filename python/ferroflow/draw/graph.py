"""Workflows as DOT and Mermaid. Blocks inside a composite become clusters.

A block is (owner as (block, node) or None, nodes as (id, kind, task or None), edges as pairs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Node = tuple[str, str, str | None]
Block = tuple[tuple[int, int] | None, Sequence[Node], Sequence[tuple[int, int]]]


def _label(node: Node) -> str:
    name, kind, task = node
    return name if task in (None, name) and kind == "task" else f"{name} ({task or kind})"


def _inner(blocks: Sequence[Block]) -> dict[tuple[int, int], list[int]]:
    inner: dict[tuple[int, int], list[int]] = {}
    for number, (owner, _, _) in enumerate(blocks):
        if owner is not None:
            inner.setdefault(owner, []).append(number)
    return inner


def mermaid(blocks: Sequence[Block]) -> str:
    """Return a Mermaid flowchart."""
    inner = _inner(blocks)

    def body(number: int, indent: str) -> Iterator[str]:
        _, nodes, edges = blocks[number]
        for at, node in enumerate(nodes):
            name, label = f"n{number}_{at}", _label(node).replace('"', "#quot;")
            children = inner.get((number, at), [])
            if not children:
                yield f'{indent}{name}["{label}"]'
                continue
            yield f'{indent}subgraph {name}["{label}"]'
            for child in children:
                yield from body(child, indent + "  ")
            yield f"{indent}end"
        for before, after in edges:
            yield f"{indent}n{number}_{before} --> n{number}_{after}"

    return "\n".join(["flowchart TD", *(body(0, "  ") if blocks else [])]) + "\n"


def dot(blocks: Sequence[Block]) -> str:
    """Return a graph for Graphviz."""
    inner = _inner(blocks)

    def text(label: str) -> str:
        return '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def body(number: int, indent: str) -> Iterator[str]:
        _, nodes, edges = blocks[number]
        for at, node in enumerate(nodes):
            name = f"n{number}_{at}"
            children = inner.get((number, at), [])
            yield f"{indent}{name} [label={text(_label(node))}];"
            for child in children:
                yield f"{indent}subgraph cluster_{child} {{"
                yield f"{indent}  label={text(node[0])};"
                yield from body(child, indent + "  ")
                yield f"{indent}}}"
                if blocks[child][1]:
                    yield f"{indent}{name} -> n{child}_0 [style=dashed];"
        for before, after in edges:
            yield f"{indent}n{number}_{before} -> n{number}_{after};"

    lines = [
        "digraph workflow {",
        "  rankdir=LR;",
        "  node [shape=box];",
        *(body(0, "  ") if blocks else []),
        "}",
    ]
    return "\n".join(lines) + "\n"
