"""Running workflows: the engine, handles on runs, and what a task sees while it runs."""

from ferroflow.engine.context import Context, current
from ferroflow.engine.engine import Engine, RunOptions
from ferroflow.engine.handle import Handle
from ferroflow.engine.records import Failure, Progress, RunFailure, RunRecord, RunView, StepView

__all__ = [
    "Context",
    "Engine",
    "Failure",
    "Handle",
    "Progress",
    "RunFailure",
    "RunOptions",
    "RunRecord",
    "RunView",
    "StepView",
    "current",
]
