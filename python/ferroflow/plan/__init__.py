"""What a run would do: platforms, planners and the schedules that they make."""

from ferroflow.plan.comparing import Comparison, Entry, compare
from ferroflow.plan.instance import Instance, Placed
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

__all__ = [
    "Bounds",
    "Comparison",
    "Dispatch",
    "Entry",
    "Estimate",
    "Instance",
    "Link",
    "LoadNode",
    "LoadPlan",
    "LoadTask",
    "Method",
    "Movement",
    "Node",
    "Placed",
    "Placement",
    "Plans",
    "Platform",
    "Read",
    "Schedule",
    "Tracked",
    "Violation",
    "compare",
    "methods",
    "plan",
    "plan_by_load",
]
