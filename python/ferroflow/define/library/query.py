"""The system task that reshapes data: JMESPath, with bounds on how long and how large."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Annotated, Any

from msgspec import Meta

from ferroflow.define.attempt import attempt
from ferroflow.define.task import task
from ferroflow.errors import Cancelled, Fail

Expression = Annotated[str, Meta(max_length=4096)]

_LONGEST = 4096
_DEEPEST = 32

# Levels of a parsed expression. Each operator of a chain is one, and takes a few Python frames.
_LEVELS = 100

# What all expressions of a step may take: nodes visited, values made, compared or written, and text.
_STEPS = 10_000_000
_TEXT_A_STEP = 32

# So many steps may pass before it is noticed that the attempt should stop.
_STEPS_UNHEARD = 100_000

_OPENING = {"lbracket", "lbrace", "lparen", "filter"}
_CLOSING = {"rbracket", "rbrace", "rparen"}

# Functions that look into everything inside of what they are given.
_DEEP = {"contains", "join", "to_string"}


@task(pure=True, cpu=0.5, memory="50MB", resources={"disk": "5MB"})
def transform(data: Any, transform: Expression | dict[str, Expression]) -> Any:
    """Reshape data by JMESPath: what the expression selects, or an object of what several do.

    An expression has at most 4 KiB and 32 levels of brackets, and may take ten million steps.
    """
    budget = _Budget(_STEPS)
    if isinstance(transform, str):
        found = _evaluated("transform", transform, data, budget)
    elif isinstance(transform, dict):
        found = {
            name: _evaluated(f"transform[{name!r}]", expression, data, budget)
            for name, expression in transform.items()
        }
    else:
        raise Fail(
            "INVALID_INPUT",
            f"transform has to be an expression or an object of them, not a {type(transform).__name__}",
        )
    if here := attempt.get():
        here[0].progress(100, "")
    return found


class _Exhausted(Exception):
    """The budget is spent."""


class _Budget:
    """What is left of the steps; whoever waits for the attempt to stop is heard now and then."""

    def __init__(self, steps: int) -> None:
        self.left = self.mark = steps
        self._here = attempt.get()

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < self.mark:
            self.look()

    def look(self) -> None:
        """Stop if there is a reason to, and set the mark at which to look again."""
        if self.left < 0:
            raise _Exhausted
        if self._here and self._here[0].is_stopped():
            raise Cancelled("the attempt was cancelled while it evaluated an expression")
        self.mark = max(0, self.left - _STEPS_UNHEARD)

    def spend_on(self, value: Any) -> None:
        """Spend a step on each part of a value, as often as it occurs, before anybody copies it."""
        todo = [value]
        while todo:
            part = todo.pop()
            self.spend(cost(part))
            if isinstance(part, list):
                todo += part
            elif isinstance(part, dict):
                todo += part
                todo += part.values()


def cost(value: Any) -> int:
    """Return the steps that going once through a value takes."""
    if isinstance(value, (list, dict)):
        return 1 + len(value)
    if isinstance(value, (str, bytes)):
        return 1 + len(value) // _TEXT_A_STEP
    return 1


def _evaluated(place: str, expression: object, data: Any, budget: _Budget) -> Any:
    if not isinstance(expression, str):
        raise Fail("INVALID_INPUT", f"{place} has to be an expression, not a {type(expression).__name__}")
    from jmespath.exceptions import JMESPathError

    try:
        found = _interpreter()(budget).visit(_parsed(expression), data)
        budget.spend_on(found)
    except _Exhausted:
        reason = f"takes more than {_STEPS:,} steps"
    except RecursionError:
        reason = "nests too deeply"
    except JMESPathError as error:
        reason = _reason(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {_short(str(error))}"
    else:
        return found
    raise Fail("EXECUTION_FAILED", f"{place}: {_short(expression)!r}: {reason}")


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:150]} … {text[-150:]}"


def _reason(error: Exception) -> str:
    """Say what JMESPath says in one line, and where in the expression that is."""
    said = getattr(error, "msg", None) or getattr(error, "message", None) or str(error)
    at = getattr(error, "lex_position", None)
    at = getattr(error, "lexer_position", None) if at is None else at
    said = _short(" ".join(str(said).split()))
    return said if at is None else f"{said}, at character {at + 1}"


@lru_cache(maxsize=512)
def _parsed(expression: str) -> dict[str, Any]:
    """Return an expression's tree; raises ValueError for one that is too long or too deep."""
    from jmespath.lexer import Lexer
    from jmespath.parser import Parser

    if (length := len(expression.encode("utf-8", "surrogatepass"))) > _LONGEST:
        raise ValueError(f"it has {length} bytes, more than {_LONGEST}")
    depth = 0
    for token in Lexer().tokenize(expression):
        depth += (token["type"] in _OPENING) - (token["type"] in _CLOSING)
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} levels of brackets, at character {token['start'] + 1}")
    tree: dict[str, Any] = Parser().parse(expression).parsed
    level, depth = [tree], 0
    while level:
        depth += 1
        if depth > _LEVELS:
            raise ValueError(f"more than {_LEVELS} operators are nested in each other")
        level = [child for node in level for child in node["children"] if isinstance(child, dict)]
    return tree


@cache
def _interpreter() -> Callable[[_Budget], Any]:
    """Return JMESPath's interpreter with a budget; it is imported with the first expression."""
    from jmespath.visitor import TreeInterpreter

    class Interpreter(TreeInterpreter):  # type: ignore[misc]
        """Spends what work costs before it is done, wherever one node can be much work."""

        def __init__(self, budget: _Budget) -> None:
            super().__init__()
            self._budget = budget
            plain = TreeInterpreter.COMPARATOR_FUNC
            self.COMPARATOR_FUNC = plain | {name: self._compared(plain[name]) for name in ("eq", "ne")}

        def _compared(self, plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
            def compare(left: Any, right: Any) -> Any:
                self._budget.spend_on(left)
                self._budget.spend_on(right)
                return plain(left, right)

            return compare

        def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
            # `spend(1)`, written out: this is what most of the time goes to.
            budget = self._budget
            budget.left -= 1
            if budget.left < budget.mark:
                budget.look()
            return super().visit(node, *args, **kwargs)

        def visit_slice(self, node: Any, value: Any) -> Any:
            self._budget.spend(cost(value))
            return super().visit_slice(node, value)

        def visit_flatten(self, node: Any, value: Any) -> Any:
            base = self.visit(node["children"][0], value)
            if not isinstance(base, list):
                return None
            self._budget.spend(sum(cost(element) for element in base if isinstance(element, list)))
            merged: list[Any] = []
            for element in base:
                merged += element if isinstance(element, list) else [element]
            return merged

        def visit_function_expression(self, node: Any, value: Any) -> Any:
            name = node["value"]
            given = [self.visit(child, value) for child in node["children"]]
            for argument in given:
                if name in _DEEP:
                    self._budget.spend_on(argument)
                else:
                    self._budget.spend(cost(argument))
            if name == "join" and len(given) == 2 and isinstance(given[1], list):
                self._budget.spend(cost(given[0]) * len(given[1]))
            return self._functions.call_function(name, given)

    return Interpreter
