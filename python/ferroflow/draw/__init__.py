"""Pictures from plain nodes and edges."""

from ferroflow.draw.graph import dot, mermaid

__all__ = ["dot", "mermaid"]
