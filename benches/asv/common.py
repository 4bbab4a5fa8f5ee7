"""What the benchmarks share: the peers' workloads, folders on a real disk, a release build."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))

from ferroflow import _core  # noqa: E402

if _core.build_profile != "release":
    raise RuntimeError("measure a release build: `make bench-asv` makes one")


def folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for databases, where the checkout is: /tmp may be memory, and syncing has to cost."""
    scratch = HERE.parent / ".asv" / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=scratch)
