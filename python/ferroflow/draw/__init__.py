"""Pictures from plain nodes, edges and bars."""

from ferroflow.draw.gantt import gantt
from ferroflow.draw.graph import telling
from ferroflow.draw.svg import svg
from ferroflow.draw.text import dot, mermaid

__all__ = ["dot", "gantt", "mermaid", "svg", "telling"]
