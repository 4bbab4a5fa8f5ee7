"""What a run would do: platforms, planners and the schedules they make, laws and simulations."""

from ferroflow.plan.comparing import Comparison, Entry, compare
from ferroflow.plan.instance import Instance, Placed
from ferroflow.plan.laws import (
    Amount,
    Constant,
    Exponential,
    Law,
    LogNormal,
    Normal,
    Observed,
    Trace,
    Uniform,
    Weibull,
)
from ferroflow.plan.loaded import (
    Dispatch,
    Estimate,
    LoadNode,
    LoadPlan,
    LoadTask,
    Plans,
    Read,
    Tracked,
    plan_by_load,
)
from ferroflow.plan.planner import Method, methods, plan
from ferroflow.plan.platform import Link, Node, Platform
from ferroflow.plan.schedule import Bounds, Movement, Placement, Schedule, Violation
from ferroflow.plan.simulation import (
    Faults,
    Loss,
    SimulatedRun,
    Simulation,
    recorded,
    simulate,
)
from ferroflow.plan.speed import SpeedUp, speed_up

__all__ = [
    "Amount",
    "Bounds",
    "Comparison",
    "Constant",
    "Dispatch",
    "Entry",
    "Estimate",
    "Exponential",
    "Faults",
    "Instance",
    "Law",
    "Link",
    "LoadNode",
    "LoadPlan",
    "LoadTask",
    "LogNormal",
    "Loss",
    "Method",
    "Movement",
    "Node",
    "Normal",
    "Observed",
    "Placed",
    "Placement",
    "Plans",
    "Platform",
    "Read",
    "Schedule",
    "SimulatedRun",
    "Simulation",
    "SpeedUp",
    "Trace",
    "Tracked",
    "Uniform",
    "Violation",
    "Weibull",
    "compare",
    "methods",
    "plan",
    "plan_by_load",
    "recorded",
    "simulate",
    "speed_up",
]
