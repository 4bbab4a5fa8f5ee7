"""What stands for values while a workflow is traced, and refuses whatever would need the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ferroflow.define.paths import quoted

if TYPE_CHECKING:
    from ferroflow.define.trace import Block


class StandIn:
    """Stands for a value that is known only when the workflow runs.

    Whatever needs the value itself raises a TypeError that says what to do instead. `repr` and
    `hash` are those of the stand-in.
    """

    __slots__ = ()

    __hash__ = object.__hash__

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise TypeError(
            f"{self!r} has no {what} while the workflow is traced: its value is known only when the "
            f"workflow runs; {instead}"
        )

    def __bool__(self) -> NoReturn:
        self._refuse("truth", "decide with ff.choose, repeat with ff.loop")

    def __eq__(self, _other: object) -> NoReturn:
        self._refuse("equality", 'compare in an expression: ff.choose([(ff.expr("x == 3", x=ref), ...)])')

    def __ne__(self, _other: object) -> NoReturn:
        self._refuse("equality", 'compare in an expression: ff.choose([(ff.expr("x != 3", x=ref), ...)])')

    def _compare(self, _other: object) -> NoReturn:
        self._refuse("order", 'compare in an expression: ff.choose([(ff.expr("x > 3", x=ref), ...)])')

    __lt__ = __le__ = __gt__ = __ge__ = _compare

    def __contains__(self, _item: object) -> NoReturn:
        self._refuse("members", 'look in an expression: ff.expr("3 in x", x=ref)')

    def __iter__(self) -> NoReturn:
        self._refuse("elements", "use ff.each to do something for each of them, or ref[0]")

    __reversed__ = __iter__

    def __len__(self) -> NoReturn:
        self._refuse("length", 'use ff.expr("size(x)", x=ref)')

    def __str__(self) -> NoReturn:
        self._refuse(
            "text", "write texts in a task, or with ff.expr(\"'a ' + x\", x=ref); to look at it: repr(ref)"
        )

    def __format__(self, _spec: str) -> NoReturn:
        self.__str__()

    def _convert(self, *_arguments: object) -> NoReturn:
        self._refuse("number", 'convert in a task, or with ff.expr("int(x)", x=ref)')

    __int__ = __float__ = __complex__ = __index__ = __bytes__ = _convert
    __round__ = __trunc__ = __floor__ = __ceil__ = _convert

    def _compute(self, *_arguments: object) -> NoReturn:
        self._refuse("arithmetic", 'compute in a task, or with ff.expr("x + 1", x=ref)')

    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = __matmul__ = _compute
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = _compute
    __rmatmul__ = __divmod__ = __rdivmod__ = __neg__ = __pos__ = __abs__ = __invert__ = _compute
    __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _compute
    __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = _compute

    def __getattr__(self, name: str) -> NoReturn:
        # What looks for a protocol has to be told that it is not there.
        if name.startswith("_"):
            raise AttributeError(name)
        self._refuse(
            f"attribute {name!r}",
            f"select with ref[{name!r}], decide with ff.choose, go through a list with ff.each, or call "
            "methods in a task",
        )


class Ref(StandIn):
    """Stands for a value that is known only when the workflow runs.

    Pass it to tasks; `ref["key"]` and `ref[0]` select from it. Anything that needs the value
    itself raises.

    Examples
    --------
    >>> import ferroflow as ff
    >>> ff.var("rows")[0]["name"]
    <Ref vars.rows[0]["name"]>
    >>> ff.var("rows") + 1
    Traceback (most recent call last):
    TypeError: <Ref vars.rows> has no arithmetic while the workflow is traced: ...
    """

    __slots__ = ("_block", "_path", "_step")

    def __init__(self, block: Block | None, path: str, step: str | None = None) -> None:
        self._block, self._path, self._step = block, path, step

    def __repr__(self) -> str:
        return f"<Ref {self._path}>"

    def __getitem__(self, key: str | int) -> Ref:
        if isinstance(key, str):
            part = f"[{quoted(key)}]"
        elif type(key) is int:
            part = f"[{key}]"
        else:
            raise TypeError(
                f"{self!r}[{key!r}]: select with a text or a whole number; otherwise with "
                'ff.expr("x[key]", x=ref, key=...), or in a task'
            )
        return Ref(self._block, self._path + part, self._step)


class Expr(StandIn):
    """A CEL expression, with the Refs it reads; `expr` makes one.

    Examples
    --------
    >>> import ferroflow as ff
    >>> if ff.expr("x > 3", x=ff.var("x")):
    ...     pass
    Traceback (most recent call last):
    TypeError: <Expr vars.x > 3> has no truth while the workflow is traced: ...
    """

    __slots__ = ("refs", "text")

    def __init__(self, text: str, refs: tuple[Ref, ...] = ()) -> None:
        self.text, self.refs = text, refs

    def __repr__(self) -> str:
        return f"<Expr {self.text}>"
