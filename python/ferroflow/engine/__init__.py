"""Running workflows: the engine, handles on runs, and what a task sees while it runs."""

from ferroflow.engine.context import Context, Named, current
from ferroflow.engine.engine import Engine
from ferroflow.engine.handle import Handle, Reason
from ferroflow.engine.listening import Event, Subscription
from ferroflow.engine.options import Registration, RunOptions, Stats
from ferroflow.engine.records import Failure, Progress, RunFailure, RunRecord, RunView, StepView
from ferroflow.engine.states import RunState, StepState

__all__ = [
    "Context",
    "Engine",
    "Event",
    "Failure",
    "Handle",
    "Named",
    "Progress",
    "Reason",
    "Registration",
    "RunFailure",
    "RunOptions",
    "RunRecord",
    "RunState",
    "RunView",
    "Stats",
    "StepState",
    "StepView",
    "Subscription",
    "current",
]
