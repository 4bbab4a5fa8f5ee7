"""Ferroflow: an embeddable, durable, adaptive workflow engine with a Rust core."""

from ferroflow._core import __version__

__all__ = ["__version__"]
