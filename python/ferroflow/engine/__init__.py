"""Running workflows: the engine, handles on runs, and what a task sees while it runs."""

from ferroflow.engine.context import Context, Named, current
from ferroflow.engine.engine import Engine, RunOptions
from ferroflow.engine.handle import Handle
from ferroflow.engine.records import RunRecord, RunView, StepView

__all__ = [
    "Context",
    "Engine",
    "Handle",
    "Named",
    "RunOptions",
    "RunRecord",
    "RunView",
    "StepView",
    "current",
]
