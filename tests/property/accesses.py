"""Random definitions whose steps say what they do to assets, small enough for the oracle of races."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

DEPTH = 3
"""How deep terms nest at most."""

FAMILIES = {
    "flat": ["a", "b", "c"],
    "lake": ["lake", "lake/a", "lake/b", "lake/a/x", "lake/a/y", "/lake"],
    "table": ["t", "t[0:5]", "t[3:8]", "t[5:9]", "t[0/2]", "t[1/2]", "t[1/4]", "t/x", "t/x[0:2]"],
    "orders": ["orders", "orders/x", "orders[0:9]"],
    "held": ["tmp", "tmp/x", "tmp/y"],
    "inner": ["box/in", "box/in/x"],
    "odd": ["o[[1]", "{{o}}", "o[[1]/x"],
}
"""Names by families: no name meets one of another, but that orders may lie in the lake."""

BORN = {"held": "tmp", "inner": "box/in"}
"""Names that only locals have."""

MODES = ["reads"] * 4 + ["writes"] * 4 + ["takes", "reduces", "reduces", "reduces"]


@dataclass(frozen=True)
class Seen:
    """What the steps of a block may name."""

    holes: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    workflows: tuple[tuple[str, tuple[str, ...]], ...] = ()
    born: frozenset[str] = frozenset()

    def more(self, holes: Iterable[str] = (), values: Iterable[str] = ()) -> Seen:
        return replace(self, holes=(*self.holes, *holes), values=(*self.values, *values))


@dataclass
class Sketch:
    """A definition being drawn. With an ease of 0 to 8, few or many steps only read."""

    draw: Draw
    left: int
    ease: int
    families: list[str]
    literal: bool = False
    numbers: dict[str, int] = field(default_factory=dict)

    def name(self, base: str) -> str:
        self.numbers[base] = self.numbers.get(base, 0) + 1
        return f"{base}{self.numbers[base]}"

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) < percent)

    def pick(self, values: Iterable[Any]) -> Any:
        return self.draw(st.sampled_from([*values]))

    # --------------------------------------------------------------------------------- accesses

    def asset(self, family: str, seen: Seen) -> str:
        if family == "open" and seen.holes:
            hole = self.pick(seen.holes)
            shapes = [
                "open/{H}",
                "open/{H}/x",
                "open/p{H}",
                "part[{H}/4]",
                "rows[0:{H}]",
                "{H}",
                "open/{H}-{H}",
            ]
            # What is known to be a text selects nothing.
            shape: str = self.pick([it for it in shapes if hole not in seen.texts or "[" not in it])
            return shape.replace("H", hole)
        if family == "given" and seen.texts:
            return str(self.pick(["lake/{H}", "lake/{H}/x", "lake/p{H}"]).replace("H", self.pick(seen.texts)))
        if family in ("open", "given") or (family in BORN and BORN[family] not in seen.born):
            family = "flat"
        return str(self.pick(FAMILIES[family]))

    def accesses(self, seen: Seen) -> Json:
        """What one step does: at most two named assets, which don't meet, and a value."""
        families = self.draw(st.lists(st.sampled_from(self.families), min_size=1, max_size=2, unique=True))
        names = {_kin(it.split("/")[0]): it for it in (self.asset(family, seen) for family in families)}
        found: Json = {}
        for name in names.values():
            mode = "reads" if self.chance(8 * self.ease) else self.pick(MODES)
            if mode == "reduces":
                found.setdefault("reduces", {})[name] = self.pick(["sum", "sum", "max"])
            else:
                found.setdefault(mode, []).append(name)
        if seen.values and not self.literal and self.chance(3 * (9 - self.ease)):
            mode = self.pick(["takes", "takes", "reads", "writes"])
            found.setdefault(mode, []).append({"$": self.pick(seen.values)})
        if any(len(it) == 1 for it in found.values()) and self.chance(20):
            found = {key: it[0] if isinstance(it, list) and len(it) == 1 else it for key, it in found.items()}
        return found

    def binding(self, seen: Seen) -> Any:
        if seen.values and self.chance(45):
            shown = {"$": self.pick(seen.values)}
            return [shown, 1] if self.chance(20) else shown
        return self.pick([0, "x", None])

    def condition(self, seen: Seen) -> str:
        # Of what is no plain path the checker knows no more than which steps it reads.
        whole = [it for it in seen.values if not it.endswith(".x")]
        if whole and self.chance(40):
            return f"{self.pick(whole)} == 0"
        return "input.n > 0" if "input.n" in seen.holes else "true"

    # -------------------------------------------------------------------------------- composing

    def block(self, seen: Seen, depth: int) -> Any:
        born: Json = {}
        if not self.literal and self.chance(30):
            born = {"tmp": {}} if self.chance(70) else {"tmp": {}, "box/in": {"kind": "directory"}}
        term, values = self.term(replace(seen, born=seen.born | born.keys()), depth)
        found: Json = {"term": term}
        if values and self.chance(15):
            found["result"] = (
                {"$": self.pick(values)} if self.chance(50) else [{"$": it} for it in values[:2]]
            )
        if born:
            found["locals"] = born
        return found if len(found) > 1 or self.chance(20) else term

    def term(self, seen: Seen, depth: int) -> tuple[Any, list[str]]:
        """A term, and the values of the steps that are done when it is."""
        kinds = ["parallel", "parallel", "sequence", "sequence", "partial"] + ["step"] * (
            2 if depth < DEPTH else 0
        )
        kind = self.pick(kinds) if depth > 0 and self.left > 1 else "step"
        if kind == "step":
            return self.step(seen, depth)
        members: list[Any] = []
        values: list[str] = []
        count = 3 - self.draw(st.integers(0, 2 if depth < DEPTH else 1))
        for _ in range(count):
            if kind == "partial":
                before = [it for it in values if self.chance(40)]
                term, here = self.step(seen.more(values=before), depth - 1)
                after = [it.removeprefix("steps.").split(".")[0] for it in values if self.chance(25)]
                if after:
                    term["after"] = [*dict.fromkeys(after)]
            else:
                term, here = self.term(seen.more(values=values) if kind == "sequence" else seen, depth - 1)
            members.append(term)
            values += here
        if kind == "sequence" and self.chance(30):
            return members, values
        return {kind: members}, values

    def step(self, seen: Seen, depth: int) -> tuple[Json, list[str]]:
        kinds = ["task"] * 4
        if depth > 0 and self.left > 0:
            kinds += ["choice", "loop", "each", "each", "try", "first", "workflow", "timeout"]
            kinds += ["recursion"] * bool(seen.workflows and not self.literal) + [
                "sleep",
                "signal",
            ] * self.chance(20)
        kind = self.pick(kinds)
        if kind == "task":
            self.left -= 1
        found = getattr(self, f"_{kind}")(seen, depth - 1)
        found.setdefault("id", self.name(kind[0]))
        return found, [f"steps.{found['id']}", f"steps.{found['id']}.x"]

    def _task(self, seen: Seen, depth: int) -> Json:
        found: Json = {"task": "work"}
        if self.chance(40):
            found["args"] = [self.binding(seen)]
        return found | self.accesses(seen) if self.chance(90) else found

    def _choice(self, seen: Seen, depth: int) -> Json:
        count = self.draw(st.integers(1, 2))
        branches = [{"if": self.condition(seen), "then": self.block(seen, depth)} for _ in range(count)]
        found: Json = {"choice": branches}
        if self.chance(60):
            found["else"] = self.block(seen, depth)
        return found

    def _loop(self, seen: Seen, depth: int) -> Json:
        name = self.name("state")
        inside = seen.more([f"{name}_iteration", f"{name}.day"])
        found: Json = {"loop": self.block(inside, depth), "as": name, "while": f"{name}_iteration < 9"}
        if self.chance(50):
            found["init"] = self.binding(seen)
        return found | ({"unbounded": True} if self.chance(30) else {"max": self.pick([1, 2, 9])})

    def _each(self, seen: Seen, depth: int) -> Json:
        name = self.name("item")
        items: Any = {"$": "input.rows"} if "input.n" in seen.holes else [1, 2, 3]
        values = [name]
        if seen.values and self.chance(50):
            items = {"$": self.pick(seen.values)}
        elif self.chance(30):
            items = self.pick([[1], [1, 2], [1, 2, 3]])
        inside = seen.more([name, f"{name}_index", f"{name}_index", f"{name}.day"], values)
        found = {"each": items, "do": self.block(inside, depth), "as": name}
        if self.chance(40):
            found["limit"] = self.pick([1, 1, 2])
        return found

    def _try(self, seen: Seen, depth: int) -> Json:
        return {"try": self.block(seen, depth), "catch": self.block(seen, depth)}

    def _first(self, seen: Seen, depth: int) -> Json:
        count = self.draw(st.integers(2, 3))
        return {"first": self.pick([1, 1, 2]), "of": [self.block(seen, depth) for _ in range(count)]}

    def _workflow(self, seen: Seen, depth: int) -> Json:
        given: Json = {}
        holes, values, texts = [], [], []
        if seen.holes and self.chance(60):
            given["h"] = {"$": self.pick(seen.holes)}
            holes.append("input.h")
        if seen.values and self.chance(60):
            given["v"] = {"$": self.pick(seen.values)}
            values.append("input.v")
        if self.chance(60):
            given["d"] = self.pick(["a", "b", "a/x", 3])
            texts.append("input.d")
        name = self.name("inner")
        known = (name, tuple(given))
        inside = Seen((*holes, *texts), tuple(values), tuple(texts), (known,))
        return {"workflow": name, "with": given, "do": self.block(inside, depth), "id": self.name("w")}

    def _recursion(self, seen: Seen, depth: int) -> Json:
        """A choice of which one branch begins an enclosing workflow once more."""
        name, inputs = self.pick(seen.workflows)
        given = {it: {"$": f"input.{it}"} for it in inputs}
        call = {"workflow": name, "with": given, "max_depth": self.pick([1, 3]), "id": self.name("again")}
        return {"choice": [{"if": "true", "then": call}], "id": self.name("c")}

    def _timeout(self, seen: Seen, depth: int) -> Json:
        return {"timeout": "1h", "do": self.block(seen, depth)}

    def _sleep(self, seen: Seen, depth: int) -> Json:
        return {"sleep": {"$": self.pick(seen.values)} if seen.values else 1}

    def _signal(self, seen: Seen, depth: int) -> Json:
        return {"signal": "go"}


def _kin(first: str) -> str:
    """What begins the names that one with this first part may meet."""
    own = first.partition("[")[0]
    return "lake" if own == "orders" else own


@st.composite
def definitions(draw: Draw, steps: int = 7, *, literal: bool = False) -> Json:
    """A definition of at most so many tasks; with literal names only, all of the world, if so asked."""
    kinds = ["flat", "lake", "table", "odd"] if literal else [*FAMILIES, "open", "given"]
    families = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True))
    sketch = Sketch(draw, draw(st.integers(min(steps, 4), steps)), draw(st.integers(0, 8)), families, literal)
    seen = Seen(("input.n", "input.n + 1", "input.day.x"), (), (), (("drawn", ("n", "rows", "day")),))
    block = sketch.block(seen, DEPTH)
    found: Json = {"name": "drawn", "inputs": ["n", "rows", "day"]}
    found |= block if isinstance(block, dict) and "term" in block else {"term": block}
    if not literal and sketch.chance(20):
        found["assets"] = {name: {} for name in _declared()}
        if sketch.chance(70):
            found["assets"]["orders"] = {"within": sketch.pick(["lake", "lake/a"])}
    return found


def _declared() -> list[str]:
    return [
        "a",
        "b",
        "c",
        "lake",
        "/lake",
        "t",
        "orders",
        "o[[1]",
        "{{o}}",
        "open",
        "part",
        "rows",
    ]
