"""How names stand in the paths of CEL expressions."""

from __future__ import annotations

import re

import msgspec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Words that CEL reads as something else.
_WORDS = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


def plain(name: str) -> bool:
    """Whether a name can follow a dot in CEL."""
    return _NAME.match(name) is not None and name not in _WORDS


def quoted(text: str) -> str:
    """Return a text as CEL writes it."""
    return msgspec.json.encode(text).decode()
