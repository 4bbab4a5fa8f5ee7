"""Other tools' formats: WfFormat instances are read, run, and written."""

from ferroflow.errors import InvalidInstance
from ferroflow.interchange.columns import Columns
from ferroflow.interchange.export import to_wfformat
from ferroflow.interchange.replay import Comparison, compared
from ferroflow.interchange.wfformat import (
    Author,
    Command,
    Cpu,
    Execution,
    File,
    Instance,
    Machine,
    Recorded,
    RuntimeSystem,
    Specification,
    TaskExecution,
    TaskSpecification,
    is_wfformat,
    read,
    write,
)

__all__ = [
    "Author",
    "Columns",
    "Command",
    "Comparison",
    "Cpu",
    "Execution",
    "File",
    "Instance",
    "InvalidInstance",
    "Machine",
    "Recorded",
    "RuntimeSystem",
    "Specification",
    "TaskExecution",
    "TaskSpecification",
    "compared",
    "is_wfformat",
    "read",
    "to_wfformat",
    "write",
]
