"""What a fresh process pays before its first step: time and memory of the import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class Import:
    """`import ferroflow`, in a fresh interpreter each time."""

    timeout = 60
    number = 1  # a second import in the same process finds the module loaded

    def timeraw_import(self) -> str:
        return "import ferroflow"

    def track_modules(self) -> int:
        """How many modules the import pulls in: what makes an import slow."""
        code = "import sys; before = len(sys.modules); import ferroflow; print(len(sys.modules) - before)"
        return int(subprocess.check_output([sys.executable, "-c", code]))

    track_modules.unit = "modules"  # type: ignore[attr-defined]

    def track_resident_memory(self) -> int:
        """Memory of a process that has only imported ferroflow."""
        code = "import ferroflow; print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
        return int(subprocess.check_output([sys.executable, "-c", code])) * 1024

    track_resident_memory.unit = "bytes"  # type: ignore[attr-defined]


class Installed:
    """What an installation takes on disk."""

    def track_extension_size(self) -> int:
        from ferroflow import _core

        return Path(str(_core.__file__)).stat().st_size

    track_extension_size.unit = "bytes"  # type: ignore[attr-defined]
