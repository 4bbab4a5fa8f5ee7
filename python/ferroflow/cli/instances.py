"""WfFormat instances as targets: they are run with synthetic work, and compared with what was recorded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ferroflow import interchange
from ferroflow.define import Workflow
from ferroflow.engine import Handle

# Its tasks are known from here on, so that a run that uses them can be taken up.
from ferroflow.interchange.synthetic import sweep

__all__ = ["compared", "found", "sweep", "tell", "workflow"]


def found(target: str) -> interchange.Instance | None:
    """Return the instance that a target is; None if it is something else."""
    path = Path(target)
    if not target.endswith(".json") or not path.exists():
        return None
    return interchange.read(path) if interchange.is_wfformat(path.read_bytes()) else None


def workflow(instance: interchange.Instance, scale: float | None, max_disk: str | None) -> Workflow[..., Any]:
    """Return an instance as a workflow, scaled as the options say."""
    return instance.to_workflow(
        scale=1.0 if scale is None else scale, max_disk="1GiB" if max_disk is None else max_disk
    )


def compared(
    handle: Handle[Any], instance: interchange.Instance, scale: float | None
) -> interchange.Comparison:
    """Compare a run with the recorded execution."""
    return interchange.compared(handle.view(), instance, 1.0 if scale is None else scale)


def tell(it: interchange.Comparison) -> None:
    """Print a comparison."""
    took = "not known" if it.makespan is None else f"{it.makespan:.3f} s"
    click.echo(
        f"makespan {took}; {it.tasks} tasks with {it.work:.3f} s of work, on {os.cpu_count()} processors"
    )
    if it.recorded is None or it.scaled is None:
        click.echo("recorded nothing: the instance has no execution")
    elif it.scale == 1:
        click.echo(f"recorded {it.recorded:.3f} s")
    else:
        click.echo(f"recorded {it.recorded:.3f} s, which is {it.scaled:.3f} s at scale {it.scale:g}")
