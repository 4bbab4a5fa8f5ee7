"""Workflows as DOT and Mermaid: text that other programs draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ferroflow.draw.graph import COLOURS, Block, Place, States, block_name, inner_blocks, label

_PLAIN = frozenset("_-.,:/+*=()[]{} ")


def mermaid(blocks: Sequence[Block], states: States | None = None) -> str:
    """Return a Mermaid flowchart, with a class for each state.

    Parameters
    ----------
    blocks
        What to draw; see `ferroflow.draw.graph`.
    states
        The states of nodes, by (block, node).

    Examples
    --------
    >>> from ferroflow.draw.text import mermaid
    >>> blocks = [(None, [("load", "task", "read_csv"), ("fit", "task", "fit")], [(0, 1)])]
    >>> print(mermaid(blocks, {(0, 0): "completed"}), end="")
    flowchart LR
      n0_0["load (read_csv)"]
      n0_1["fit (task)"]
      n0_0 --> n0_1
      classDef completed fill:#c8f2d0,stroke:#1a7f37,color:#1f2328
      class n0_0 completed
    """
    lines = ["flowchart LR", *_mermaid_nodes(blocks)]
    lines += [f"  n{b}_{v} --> n{b}_{w}" for b, (_, _, edges) in enumerate(blocks) for v, w in edges]
    of_state: dict[str, list[str]] = {}
    for (block, node), state in sorted((states or {}).items()):
        if state in COLOURS:
            of_state.setdefault(state, []).append(f"n{block}_{node}")
    for state in (it for it in COLOURS if it in of_state):
        fill, line = COLOURS[state]
        lines += [
            f"  classDef {state} fill:{fill},stroke:{line},color:#1f2328",
            f"  class {','.join(of_state[state])} {state}",
        ]
    return "\n".join(lines) + "\n"


def escaped(words: str) -> str:
    """Return a label in which nothing means anything to Mermaid.

    Examples
    --------
    >>> from ferroflow.draw.text import escaped
    >>> escaped('a "b"')
    'a #34;b#34;'
    """
    return "".join(it if it.isalnum() or it in _PLAIN else f"#{ord(it)};" for it in words)


def _mermaid_nodes(blocks: Sequence[Block]) -> Iterator[str]:
    inner = _filled(blocks)

    def text(words: str) -> str:
        return f'["{escaped(words)}"]'

    for depth, kind, place in _walk(blocks, inner):
        indent = "  " * (depth + 1)
        if kind == "end":
            yield f"{indent}end"
        elif kind == "block":
            number = place[0]
            yield f"{indent}subgraph b{number}{text(_block_label(blocks, inner, number))}"
        else:
            node = blocks[place[0]][1][place[1]]
            opens = "subgraph " if place in inner else ""
            shape = '((" "))' if node[1] == "join" else text(label(node))
            yield f"{indent}{opens}n{place[0]}_{place[1]}{shape}"


def dot(blocks: Sequence[Block], states: States | None = None) -> str:
    """Return a graph for Graphviz, from left to right, coloured by state.

    Parameters
    ----------
    blocks
        What to draw; see `ferroflow.draw.graph`.
    states
        The states of nodes, by (block, node).

    Examples
    --------
    >>> from ferroflow.draw.text import dot
    >>> print(dot([(None, [("load", "task", "read_csv"), ("fit", "task", "fit")], [(0, 1)])]), end="")
    digraph workflow {
      rankdir=LR;
      node [shape=box, style="rounded,filled", fillcolor="#ffffff"];
      n0_0 [label="load (read_csv)"];
      n0_1 [label="fit (task)"];
      n0_0 -> n0_1;
    }
    """
    inner, states = _filled(blocks), states or {}

    def text(words: str) -> str:
        escaped = words.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(it if it.isprintable() else " " for it in escaped) + '"'

    lines = [
        "digraph workflow {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fillcolor="#ffffff"];',
    ]
    edges = []
    for depth, kind, place in _walk(blocks, inner):
        indent = "  " * (depth + 1)
        if kind == "end":
            lines.append(f"{indent}}}")
        elif kind == "block" or place in inner:
            name = f"b{place[0]}" if kind == "block" else f"n{place[0]}_{place[1]}"
            words = (
                _block_label(blocks, inner, place[0])
                if kind == "block"
                else label(blocks[place[0]][1][place[1]])
            )
            colour = COLOURS.get(states.get(place, "")) if kind == "node" else None
            line = f' color="{colour[1]}"; bgcolor="{colour[0]}60";' if colour else ""
            lines.append(f"{indent}subgraph cluster_{name} {{ label={text(words)};{line}")
            if kind == "node":
                # Edges of the composite end here: Graphviz draws none to a cluster.
                lines.append(f'{indent}  {name} [shape=point, label=""];')
        else:
            colour = COLOURS.get(states.get(place, ""))
            paint = f', fillcolor="{colour[0]}", color="{colour[1]}"' if colour else ""
            node = blocks[place[0]][1][place[1]]
            shape = 'shape=point, label=""' if node[1] == "join" else f"label={text(label(node))}"
            lines.append(f"{indent}n{place[0]}_{place[1]} [{shape}{paint}];")
    for number, (_, _, pairs) in enumerate(blocks):
        edges += [f"  n{number}_{before} -> n{number}_{after};" for before, after in pairs]
    return "\n".join([*lines, *edges, "}"]) + "\n"


def _filled(blocks: Sequence[Block]) -> dict[Place, list[int]]:
    """Return the composites that have something to show inside."""
    inner = {
        place: [number for number in numbers if blocks[number][1]]
        for place, numbers in inner_blocks(blocks).items()
    }
    return {place: numbers for place, numbers in inner.items() if numbers}


def _block_label(blocks: Sequence[Block], inner: Mapping[Place, list[int]], number: int) -> str:
    owner = blocks[number][0]
    assert owner is not None
    siblings = inner[owner]
    return block_name(blocks[owner[0]][1][owner[1]][1], siblings.index(number), len(siblings))


def _walk(blocks: Sequence[Block], inner: Mapping[Place, list[int]]) -> Iterator[tuple[int, str, Place]]:
    """Yield (depth, what, place) from the outside in.

    What it is: a `node`, a `block` where a composite has several, or the `end` of either.
    """
    todo = [(0, "node", (0, node)) for node in reversed(range(len(blocks[0][1])))] if blocks else []
    while todo:
        depth, kind, place = todo.pop()
        yield depth, kind, place
        if kind == "end":
            continue
        numbers = inner.get(place, []) if kind == "node" else [place[0]]
        if not numbers:
            continue
        todo.append((depth, "end", place))
        if kind == "node" and len(numbers) > 1:
            todo += [(depth + 1, "block", (number, -1)) for number in reversed(numbers)]
        else:
            number = numbers[0]
            todo += [(depth + 1, "node", (number, node)) for node in reversed(range(len(blocks[number][1])))]
