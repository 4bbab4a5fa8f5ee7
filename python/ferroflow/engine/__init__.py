"""Running workflows: the engine, handles on runs, and what a task sees while it runs."""

from ferroflow.engine.codecs import ValueCodec
from ferroflow.engine.context import Context, Named, current
from ferroflow.engine.engine import Engine
from ferroflow.engine.executors import Executor, Work
from ferroflow.engine.handle import Handle, Reason
from ferroflow.engine.listening import Event, Subscription
from ferroflow.engine.middleware import Middleware, RunInfo
from ferroflow.engine.options import Registration, RunOptions, Stats
from ferroflow.engine.policies import BuiltinPolicy, Policy, ReadySteps, policy
from ferroflow.engine.records import Failure, Lease, Progress, RunFailure, RunRecord, RunView, StepView, Used
from ferroflow.engine.states import RunState, StepState

__all__ = [
    "BuiltinPolicy",
    "Context",
    "Engine",
    "Event",
    "Executor",
    "Failure",
    "Handle",
    "Lease",
    "Middleware",
    "Named",
    "Policy",
    "Progress",
    "ReadySteps",
    "Reason",
    "Registration",
    "RunFailure",
    "RunInfo",
    "RunOptions",
    "RunRecord",
    "RunState",
    "RunView",
    "Stats",
    "StepState",
    "StepView",
    "Subscription",
    "Used",
    "ValueCodec",
    "Work",
    "current",
    "policy",
]
