"""The logger `ferroflow`. The import of `logging` waits until there is something to say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


def log() -> logging.Logger:
    """Return the logger."""
    import logging

    return logging.getLogger("ferroflow")


def tells_changes() -> bool:
    """Whether somebody has asked to hear of changes, at the level INFO."""
    if "logging" not in sys.modules:
        return False
    import logging

    return log().isEnabledFor(logging.INFO)
