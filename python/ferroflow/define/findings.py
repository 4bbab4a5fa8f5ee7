"""What is found about the accesses of a workflow, with the places in the user's own source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

from ferroflow.define import sites
from ferroflow.define.sites import Span, Step


@dataclass(frozen=True, slots=True)
class Place:
    """A step that a finding is about, and where it is written.

    Attributes
    ----------
    step
        Its path in the definition: `load`, `days/clean`, `choice/else/mend`; empty for the end of it all.
    task
        The task's name; empty for what is no task.
    mode
        "reads", "writes", "takes" or "reduces"; empty where it is about no access that is declared.
    access
        The access as the definition has it; the asset, where none is declared.
    label
        What it does there, in a few words.
    declared, called
        Where the access is declared and the step is made, if that is source that can be read.
    source
        The file of a definition in JSON or YAML.

    Examples
    --------
    >>> import ferroflow as ff
    >>> step = {"task": "t", "writes": "lake/orders"}
    >>> report = ff.load({"name": "w", "term": {"parallel": [step, step]}}).check()
    >>> [(it.step, it.mode, it.access) for it in report[0].places]
    [('t', 'writes', 'lake/orders'), ('t_2', 'writes', 'lake/orders')]
    """

    step: str
    task: str
    mode: str
    access: str
    label: str
    declared: Span | None = None
    called: Span | None = None
    source: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {"step": self.step, "task": self.task, "mode": self.mode}
        found |= {"access": self.access, "label": self.label}
        for name, place in (("declared", self.declared), ("called", self.called)):
            found[name] = place and place.to_dict()
        return found | {"source": self.source}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is found about the accesses of a workflow.

    Attributes
    ----------
    code
        `FF0499`, say: `ferroflow explain FF0499` tells all about it.
    level
        "error" or "warning".
    message
        What is wrong, in one line.
    asset
        What it is about.
    places
        The steps, the first of which is the one to look at.
    meeting
        How they meet.
    help
        Ways out.

    Examples
    --------
    >>> import ferroflow as ff
    >>> step = {"task": "t", "writes": "lake/orders"}
    >>> report = ff.load({"name": "w", "term": {"parallel": [step, step]}}).check()
    >>> found = report[0]
    >>> found.code, found.level, found.asset, found.meeting
    ('FF0499', 'error', 'lake/orders', 'nothing orders `t` and `t_2`: both may start at once')
    """

    code: str
    level: Literal["error", "warning"]
    message: str
    asset: str
    places: tuple[Place, ...]
    meeting: str
    help: tuple[str, ...]

    def __str__(self) -> str:
        from ferroflow.define.rendering import plain, rendered

        return plain(rendered(self))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {"code": self.code, "level": self.level, "message": self.message}
        found |= {"asset": self.asset, "places": [place.to_dict() for place in self.places]}
        return found | {"meeting": self.meeting, "help": [*self.help]}


class Report(Sequence[Finding]):
    """What is found about the accesses of a workflow; see `Workflow.check`.

    It is true if there are no errors. `str` of it is plain text, a terminal gets it in colour with
    `print(report.render())`, and a notebook shows it by itself.

    Attributes
    ----------
    workflow : str
        The name of the workflow.
    errors, warnings : tuple of Finding

    Examples
    --------
    >>> import ferroflow as ff
    >>> report = ff.load({"name": "nap", "term": {"sleep": "1s"}}).check()
    >>> bool(report), len(report), str(report)
    (True, 0, "workflow 'nap': no races")
    """

    def __init__(self, workflow: str, findings: Iterable[Finding] = ()) -> None:
        self.workflow = workflow
        self._findings = tuple(findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What keeps it from running."""
        return tuple(it for it in self._findings if it.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What may be meant otherwise."""
        return tuple(it for it in self._findings if it.level != "error")

    def __len__(self) -> int:
        return len(self._findings)

    def __bool__(self) -> bool:
        return not self.errors

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        return self._findings[index]

    def __repr__(self) -> str:
        return f"<report on {self.workflow}: {self.summary()}>"

    def __str__(self) -> str:
        return self.render(colour=False, width=100)

    def summary(self) -> str:
        """Return how much there is of what, in a few words.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.load({"name": "nap", "term": {"sleep": "1s"}}).check().summary()
        'no races'
        """
        counts = [(len(self.errors), "error"), (len(self.warnings), "warning")]
        return ", ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts if n) or "no races"

    def render(self, *, colour: bool | None = None, width: int | None = None, most: int = 20) -> str:
        """Return the report as text, as a compiler would show it.

        Parameters
        ----------
        colour
            Whether for a terminal that shows colours; by default if standard output is one.
        width
            Columns; by default those of the terminal.
        most
            So many findings at most, errors first.
        """
        from ferroflow.define import rendering

        return rendering.text(self, colour=colour, width=width, most=most)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it.

        Examples
        --------
        >>> import ferroflow as ff
        >>> ff.load({"name": "nap", "term": {"sleep": "1s"}}).check().to_dict()
        {'workflow': 'nap', 'errors': 0, 'warnings': 0, 'findings': []}
        """
        return {
            "workflow": self.workflow,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [it.to_dict() for it in self._findings],
        }

    def _repr_html_(self) -> str:
        from ferroflow.define import rendering

        return rendering.page(self)


def report(
    name: str,
    definition: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    source: str | None = None,
    fn: Callable[..., Any] | None = None,
) -> Report:
    """Return what the core has found about a definition, with the places where it is written."""
    if not found:
        return Report(name)
    steps = sites.steps(definition)
    return Report(
        name,
        (
            Finding(
                code=it["code"],
                level=it["level"],
                message=it["message"],
                asset=it["asset"],
                places=tuple(_place(steps, place, it["asset"], source, fn) for place in it["places"]),
                meeting=it["meeting"],
                help=tuple(it["help"]),
            )
            for it in found
        ),
    )


def _place(
    steps: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, Any],
    asset: str,
    source: str | None,
    fn: Callable[..., Any] | None,
) -> Place:
    step = steps.get(found["step"], {})
    use, written = found["use"], _accesses(step)
    site = step.site if isinstance(step, Step) else None
    # Without a step it is the end of the workflow that is meant.
    end = sites.returned(fn) if not found["step"] and fn is not None else None
    return Place(
        step=found["step"],
        task=found["task"],
        mode=found["mode"],
        access=written[use] if 0 <= use < len(written) else asset,
        label=found["label"],
        declared=None if site is None else sites.declared(site, use),
        called=end if site is None else sites.called(site),
        source=source,
    )


def _accesses(step: Mapping[str, Any]) -> list[str]:
    """Return the accesses of a step as they are written, in the order that the core numbers them."""
    written: list[str] = []
    for mode in ("reads", "writes", "takes", "reduces"):
        given = step.get(mode, ())
        alone = isinstance(given, (str, Mapping)) and mode != "reduces"
        accesses = [given] if alone else given
        written += [it["$"] if isinstance(it, Mapping) else it for it in accesses]
    return written
