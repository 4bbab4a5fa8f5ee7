"""Defining workflows: tasks, traced functions, operators and builders, JSON and YAML."""

from ferroflow.define import library
from ferroflow.define.assets import Asset, asset, value
from ferroflow.define.command import Command, CommandTask, command
from ferroflow.define.environment import Environment, Launch
from ferroflow.define.load import load, schema
from ferroflow.define.refs import Expr, Ref
from ferroflow.define.task import Priority, Retry, Task, task
from ferroflow.define.terms import (
    choose,
    each,
    first,
    loop,
    map_reduce,
    on_error,
    quorum,
    race,
    retry_with,
    signal,
    sleep,
    timeout,
)
from ferroflow.define.trace import Term, expr, var
from ferroflow.define.workflow import Workflow, workflow

__all__ = [
    "Asset",
    "Command",
    "CommandTask",
    "Environment",
    "Expr",
    "Launch",
    "Priority",
    "Ref",
    "Retry",
    "Task",
    "Term",
    "Workflow",
    "asset",
    "choose",
    "command",
    "each",
    "expr",
    "first",
    "library",
    "load",
    "loop",
    "map_reduce",
    "on_error",
    "quorum",
    "race",
    "retry_with",
    "schema",
    "signal",
    "sleep",
    "task",
    "timeout",
    "value",
    "var",
    "workflow",
]
