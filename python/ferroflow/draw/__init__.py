"""Pictures from plain nodes, edges and bars."""

from ferroflow.draw.columns import columns
from ferroflow.draw.gantt import gantt, grouped
from ferroflow.draw.graph import telling
from ferroflow.draw.svg import svg
from ferroflow.draw.text import dot, escaped, mermaid

__all__ = ["columns", "dot", "escaped", "gantt", "grouped", "mermaid", "svg", "telling"]
