"""Combinators: in a workflow they add a step and return its Ref; elsewhere they return a term.

A body is a task, a workflow, a function of what it is given (the item, the state, the error), or
a term.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from ferroflow.define.refs import Expr, Ref
from ferroflow.define.task import Retry, Task
from ferroflow.define.trace import Term, binding, block, condition, emit, tracing
from ferroflow.define.units import Duration, written

Body = Callable[..., Any] | Term
Condition = str | bool | Expr | Ref


def _fresh(base: str) -> str:
    """Return a name that no construct round here has given to its item or state."""
    here = tracing()
    taken = here.names_in_use() if here else set()
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def choose(branches: Sequence[tuple[Any, Body]], otherwise: Body | None = None) -> Any:
    """Take the first branch whose condition holds.

    Parameters
    ----------
    branches
        (condition, body); a condition is CEL, `ff.expr(...)` or a Ref of a bool.
    otherwise
        What happens if none holds; default: nothing, and the result is None.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def sign(n: int) -> str:
    ...     return ff.choose([(ff.expr("n < 0", n=n), lambda: "minus")], lambda: "plus")
    >>> with ff.Engine() as engine:
    ...     engine.run(sign, -3), engine.run(sign, 3)
    ('minus', 'plus')
    """
    term: dict[str, Any] = {
        "choice": [{"if": condition(when), "then": block(body)} for when, body in branches]
    }
    if otherwise is not None:
        term["else"] = block(otherwise)
    return emit(term, "choice")


def loop(
    body: Body,
    *,
    init: Any = None,
    while_: Condition | Callable[..., Any],
    max: int | None = None,  # noqa: A002 - the word of the definition format
    unbounded: bool = False,
) -> Any:
    """Repeat: `state = init; while condition: state = body(state)`; yields the last state.

    Parameters
    ----------
    body
        Gets the state and yields the next.
    while_
        CEL over `state` and `state_iteration`, or a function of the state that returns one.
    max
        The run fails if the condition still holds after so many iterations.
    unbounded
        True where there is no such bound.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> @ff.workflow
    ... def grow(n: int) -> int:
    ...     return ff.loop(double, init=n, while_="state < 100", max=10)
    >>> with ff.Engine() as engine:
    ...     engine.run(grow, 3)
    192
    """
    name = _fresh("state")
    term: dict[str, Any] = {"loop": block(body, name), "init": binding(init)}
    term["while"] = condition(while_(Ref(tracing(), name)) if callable(while_) else while_)
    if name != "state":
        term["as"] = name
    if max is not None:
        term["max"] = max
    if unbounded:
        term["unbounded"] = True
    return emit(term, "loop")


def each(
    items: Any,
    body: Body,
    *,
    limit: int | None = None,
    on_error: Literal["fail_fast", "continue"] | None = None,
) -> Any:
    """Do something for each item of a list that is known when the workflow runs.

    Parameters
    ----------
    items
        A list, or the Ref of one.
    body
        Gets the item (and its position, if it takes two).
    limit
        At most so many at a time.
    on_error
        "continue": a failure does not end the others.

    Returns
    -------
    The list of what the body yields, in the order of the items.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def square(n: int) -> int:
    ...     return n * n
    >>> @ff.workflow
    ... def squares(numbers: list) -> list:
    ...     return ff.each(numbers, square)
    >>> with ff.Engine() as engine:
    ...     engine.run(squares, [1, 2, 3])
    [1, 4, 9]
    """
    name = _fresh("item")
    term: dict[str, Any] = {"each": binding(items), "do": block(body, name, f"{name}_index")}
    if name != "item":
        term["as"] = name
    if limit is not None:
        term["limit"] = limit
    if on_error is not None:
        term["on_error"] = on_error
    return emit(term, "each")


def timeout(duration: Duration, body: Body) -> Any:
    """Limit the time of a body; it fails with the code TIMEOUT if it takes longer.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.timeout("1s", ff.library.condition.term("data", True)).to_dict()["timeout"]
    '1000000us'
    """
    return emit({"timeout": written(duration), "do": block(body)}, "timeout")


def on_error(body: Body, handler: Body) -> Any:
    """If the body fails, run the handler; its result counts.

    The handler gets the error: an object of `code`, `message` and `step`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def broken() -> int:
    ...     raise ff.Fail("EMPTY", "nothing there")
    >>> @ff.workflow
    ... def safe() -> str:
    ...     return ff.on_error(broken, lambda error: error["code"])
    >>> with ff.Engine() as engine:
    ...     engine.run(safe)
    'EMPTY'
    """
    return emit({"try": block(body), "catch": block(handler, "error")}, "try")


def sleep(duration: Any) -> Any:
    """Pause durably: seconds, timedelta, "5m", or a Ref of one.

    Yields {"delayed_ms", "completed_at"}.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def nap():
    ...     return ff.sleep(0.01)
    >>> with ff.Engine() as engine:
    ...     engine.run(nap)["delayed_ms"]
    10
    """
    fixed = not isinstance(duration, (Ref, Expr))
    return emit({"sleep": written(duration) if fixed else binding(duration)}, "sleep")


def signal(name: str) -> Any:
    """Wait for a named signal and yield its value; see `Handle.signal`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def ask():
    ...     return ff.signal("answer")
    >>> with ff.Engine() as engine:
    ...     handle = engine.start(ask)
    ...     handle.signal("answer", 42)
    ...     handle.result()
    42
    """
    return emit({"signal": name}, name)


def first(count: int, *bodies: Body) -> Any:
    """Complete when so many of the bodies have, and cancel the others.

    Yields the list of their results in the order of the bodies; if `count` is 1, the result.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def quick():
    ...     return ff.first(1, lambda: ff.sleep("1h"), lambda: "now")
    >>> with ff.Engine() as engine:
    ...     engine.run(quick)
    'now'
    """
    return emit({"first": count, "of": [block(body) for body in bodies]}, "first")


def race(*bodies: Body) -> Any:
    """Yield what the first body to complete yields, and cancel the others.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def soonest():
    ...     return ff.race(lambda: ff.signal("answer"), lambda: ff.sleep(0))
    >>> with ff.Engine() as engine:
    ...     engine.run(soonest)["delayed_ms"]
    0
    """
    return first(1, *bodies)


def quorum(count: int, *bodies: Body) -> Any:
    """Complete when so many of the bodies have: another name of `first`.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.workflow
    ... def vote():
    ...     return ff.quorum(2, lambda: "yes", lambda: ff.signal("never"), lambda: "no")
    >>> with ff.Engine() as engine:
    ...     engine.run(vote)
    ['yes', 'no']
    """
    return first(count, *bodies)


def map_reduce(items: Any, mapper: Body, reducer: Callable[[Any], Any]) -> Any:
    """Do something for each item, then one thing with the list of the results.

    Parameters
    ----------
    items
        A list, or the Ref of one.
    mapper
        Gets an item.
    reducer
        A task, a workflow or a function; gets the list of what the mapper yields.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def length(text: str) -> int:
    ...     return len(text)
    >>> @ff.task
    ... def total(numbers: list) -> int:
    ...     return sum(numbers)
    >>> @ff.workflow
    ... def letters(words: list) -> int:
    ...     return ff.map_reduce(words, length, total)
    >>> with ff.Engine() as engine:
    ...     engine.run(letters, ["a", "bc"])
    3
    """
    if tracing() is None:
        # A block of its own, so that its ids meet no others.
        return first(1, lambda: map_reduce(items, mapper, reducer))
    return reducer(each(items, mapper))


def retry_with(retry: int | Retry, task: Task[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a task with another retry policy.

    Examples
    --------
    >>> import ferroflow as ff
    >>> @ff.task
    ... def fetch(url: str) -> str:
    ...     return url.upper()
    >>> @ff.workflow
    ... def page(url: str) -> str:
    ...     return ff.retry_with(ff.Retry(5, delay="100ms"), fetch, url)
    >>> with ff.Engine() as engine:
    ...     engine.run(page, "x")
    'X'
    """
    changed = task.options(retry=retry)
    return changed(*args, **kwargs) if tracing() else changed.term(*args, **kwargs)
