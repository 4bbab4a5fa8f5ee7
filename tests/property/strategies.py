"""Random definitions, and the tasks they use.

Whatever is drawn ends, and ends in one way only: with one result, or in failure with one of a known
set of codes, where steps that fail side by side leave open which of them is first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

import ferroflow as ff

Json = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

DEPTH = 4
"""How deep terms nest at most."""

NEVER = "never"
"""A signal that nobody sends."""

# ---------------------------------------------------------------------------------------- tasks


def scramble(*values: Any) -> int:
    """A number that depends on every number in the values and on their order."""
    total, left = 7, list(values)[::-1]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(it for _, it in sorted(value.items(), reverse=True))
        elif isinstance(value, list):
            left.extend(value[::-1])
            total += len(value)
        else:
            total = (total * 31 + (value or 0)) % 10_007
    return total


def spread(n: int) -> list[int]:
    """A list whose length depends on the number."""
    return [n % 5 + at for at in range(n % 4)]


def flaky(attempt: int, n: int, failures: int, code: str) -> int:
    """Fail so many times before it works."""
    if attempt <= failures:
        raise ff.Fail(code, "not yet", retriable=True)
    return scramble(n)


hook: Callable[[], None] = lambda: None  # noqa: E731
"""Called at the beginning of every body."""


@ff.task(name="prop.scramble")
def scramble_task(*values: Any) -> int:
    hook()
    return scramble(*values)


@ff.task(name="prop.scramble_async")
async def scramble_async_task(*values: Any) -> int:
    return scramble(*values)


@ff.task(name="prop.spread")
def spread_task(n: int) -> list[int]:
    hook()
    return spread(n)


@ff.task(name="prop.flaky")
def flaky_task(n: int, failures: int, code: str) -> int:
    hook()
    return flaky(ff.current().attempt, n, failures, code)


# -------------------------------------------------------------------------------------- drawing


@dataclass
class Known:
    """A name that expressions may use, and what it stands for: `int`, `list` of them, or `any`."""

    text: str
    kind: str


@dataclass
class Sketch:
    """A definition being drawn."""

    draw: Draw
    steps_left: int
    number: int = 0
    failing: bool = True
    env: list[Known] = field(default_factory=list)

    def name(self, base: str) -> str:
        self.number += 1
        return f"{base}{self.number}"

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) < percent)

    def number_text(self, env: list[Known]) -> str:
        """CEL for a number."""
        known = [it.text for it in env if it.kind == "int"]
        if not known or self.chance(20):
            return str(self.draw(st.integers(0, 9)))
        text: str = self.draw(st.sampled_from(known))
        return f"{text} + {self.draw(st.integers(0, 9))}" if self.chance(30) else text

    def value(self, env: list[Known]) -> Any:
        """A binding of anything."""
        if env and self.chance(80):
            shown = {"$": self.draw(st.sampled_from([it.text for it in env]))}
            return [shown, 1] if self.chance(15) else shown
        return self.draw(st.integers(0, 9))

    # ------------------------------------------------------------------------------ composing

    def block(self, env: list[Known], depth: int) -> tuple[Any, str]:
        """A block and the kind of what it yields."""
        term, made, sinks = self.term(env, depth)
        if made and self.chance(25):
            if self.chance(50):
                return {"term": term, "result": {"$": made[0].text}}, made[0].kind
            parts = [{"$": it.text} for it in made[:3]]
            return {"term": term, "result": {"parts": parts, "one": 1}}, "any"
        return term, sinks[0].kind if len(sinks) == 1 else "any"

    def term(self, env: list[Known], depth: int) -> tuple[Any, list[Known], list[Known]]:
        """A term, the steps that are done when it is, and which of them nothing follows."""
        kinds = ["sequence", "parallel", "partial"] + ["step", "step"] * (depth < DEPTH)
        kind = self.draw(st.sampled_from(kinds)) if depth > 0 and self.steps_left > 1 else "step"
        if kind == "step":
            term, known = self.step(env, depth)
            return term, [known], [known]
        members: list[Any] = []
        made: list[Known] = []
        sinks: list[Known] = []
        count = self.draw(st.integers(1 if depth < DEPTH else 2, 4))
        for at in range(count):
            if kind == "partial":
                before = [it for it in made if self.chance(40)]
                term, known = self.step(env + before, depth - 1)
                after = [it for it in before if self.chance(50)]
                if after:
                    term["after"] = [it.text.removeprefix("steps.") for it in after]
                here = [known]
            else:
                seen = env + made if kind == "sequence" else env
                term, here, ends = self.term(seen, depth - 1)
                sinks = ends if kind == "sequence" else sinks + ends
            members.append(term)
            made.extend(here)
            if kind == "sequence" and at < count - 1 and self.chance(10):
                members.append({"sleep": 0.001, "id": self.name("nap")})
        if kind == "partial":
            # Which steps have no successor follows from what the members use.
            sinks = made if count == 1 else [Known("", "any"), Known("", "any")]
        if kind == "sequence" and self.chance(30):
            return members, made, sinks
        return {kind: members}, made, sinks

    def step(self, env: list[Known], depth: int) -> tuple[Json, Known]:
        self.steps_left -= 1
        kinds = ["task", "task", "task"]
        if depth > 0 and self.steps_left > 0:
            kinds += ["choice", "loop", "each", "try", "first", "workflow", "timeout"]
        kind = self.draw(st.sampled_from(kinds))
        term, yields = getattr(self, kind)(env, depth - 1)
        term["id"] = self.name(kind)
        return term, Known(f"steps.{term['id']}", yields)

    def task(self, env: list[Known], depth: int) -> tuple[Json, str]:
        odds = ["scramble", "scramble", "async", "spread", "flaky"] + ["broken", "broken"] * self.failing
        match self.draw(st.sampled_from(odds)):
            case "spread":
                return {"task": "prop.spread", "args": [{"$": self.number_text(env)}]}, "list"
            case "flaky":
                failures = self.draw(st.integers(0, 2))
                return self.trying(env, failures, failures + self.draw(st.integers(0, 1))), "int"
            case "broken":
                return self.trying(env, 1_000, self.draw(st.integers(0, 2))), "int"
            case other:
                name = "prop.scramble_async" if other == "async" else "prop.scramble"
                values = [self.value(env) for _ in range(self.draw(st.integers(0, 3)))]
                return {"task": name, "args": values}, "int"

    def trying(self, env: list[Known], failures: int, retries: int) -> Json:
        code = f"E{self.draw(st.integers(1, 3))}"
        return {
            "task": "prop.flaky",
            "with": {"n": {"$": self.number_text(env)}, "failures": failures, "code": code},
            "options": {
                "retry": {"max_retries": retries, "delay": "1ms", "backoff": "fixed"},
                **self.limits(),
            },
        }

    def limits(self) -> Json:
        """Return options that change nothing for a body that is lively, and in no process of its own."""
        every: Json = {"heartbeat": "1h", "grace": "1s", "limits": {"memory": "1GB", "cpu": "1h"}}
        return {name: it for name, it in every.items() if self.chance(20)}

    def choice(self, env: list[Known], depth: int) -> tuple[Json, str]:
        branches, kinds = [], set()
        for _ in range(self.draw(st.integers(1, 2))):
            block, kind = self.block(env, depth)
            branches.append({"if": f"({self.number_text(env)}) % 2 == 0", "then": block})
            kinds.add(kind)
        term: Json = {"choice": branches}
        if self.chance(70):
            term["else"], kind = self.block(env, depth)
            kinds.add(kind)
        else:
            kinds.add("any")
        return term, kinds.pop() if len(kinds) == 1 else "any"

    def loop(self, env: list[Known], depth: int) -> tuple[Json, str]:
        name = self.name("state")
        rounds = self.draw(st.integers(0, 3))
        body, kind = self.block([*env, Known(name, "any"), Known(f"{name}_iteration", "int")], depth)
        term: Json = {"loop": body, "init": self.value(env), "as": name, "max": 5}
        term["while"] = f"{name}_iteration < {rounds}"
        if self.failing and self.chance(10):
            term |= {"while": "true", "max": rounds}
        return term, kind if rounds else "any"

    def each(self, env: list[Known], depth: int) -> tuple[Json, str]:
        name = self.name("item")
        lists = [it.text for it in env if it.kind == "list"]
        items: Any = self.draw(st.lists(st.integers(0, 9), max_size=3))
        if lists and self.chance(70):
            items = {"$": self.draw(st.sampled_from(lists))}
        body, kind = self.block([*env, Known(name, "int"), Known(f"{name}_index", "int")], depth)
        term: Json = {"each": items, "do": body, "as": name}
        if self.chance(30):
            term["limit"] = self.draw(st.integers(1, 2))
        if self.chance(30):
            term["on_error"] = "continue"
        return term, "list" if kind == "int" else "any"

    def safe(self, env: list[Known], depth: int) -> Json:
        """A step that does not fail, whatever is in it."""
        body, _ = self.block(env, depth)
        caught = {"term": [], "result": {"$": 'error.code != ""'}}
        return {"try": body, "catch": caught, "id": self.name("safe")}

    def try_(self, env: list[Known], depth: int) -> tuple[Json, str]:
        if self.chance(50):
            return self.safe(env, depth), "any"
        body, _ = self.block(env, depth)
        handler, _ = self.block(env, depth)
        return {"try": body, "catch": handler}, "any"

    def first(self, env: list[Known], depth: int) -> tuple[Json, str]:
        blocks: list[Any] = [self.safe(env, depth)]
        match self.draw(st.sampled_from(["all", "slow", "failing"])):
            case "all":
                blocks += [self.block(env, depth)[0] for _ in range(self.draw(st.integers(0, 2)))]
                return {"first": len(blocks), "of": blocks}, "any"
            case "slow":
                blocks.append({"signal": NEVER, "id": self.name("signal")})
            case _:
                blocks.append({**self.trying(env, 1_000, 0), "id": self.name("task")})
        return {"first": 1, "of": blocks if self.chance(50) else blocks[::-1]}, "any"

    def workflow(self, env: list[Known], depth: int) -> tuple[Json, str]:
        given = {f"in{at}": self.value(env) for at in range(self.draw(st.integers(0, 2)))}
        body, kind = self.block([Known(f"input.{name}", "any") for name in given], depth)
        return {"workflow": self.name("inner"), "with": given, "do": body}, kind

    def timeout(self, env: list[Known], depth: int) -> tuple[Json, str]:
        body, kind = self.block(env, depth)
        return {"timeout": "1h", "do": body}, kind


setattr(Sketch, "try", Sketch.try_)  # a word of the language, and a kind of term


@st.composite
def definitions(draw: Draw, steps: int = 14) -> Json:
    """A definition with one input, `n`."""
    sketch = Sketch(draw, steps, failing=draw(st.booleans()))
    block, _ = sketch.block([Known("input.n", "int")], DEPTH)
    definition: Json = {"name": "drawn", "inputs": {"n": {"type": "int"}}}
    if isinstance(block, dict) and "term" in block:
        definition |= block
    else:
        definition["term"] = block
    if sketch.chance(30):
        definition["on_error"] = "continue"
    return definition
