"""The programs in the README, so that they stay true."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def programs() -> list[str]:
    """Every block of Python in the README."""
    return re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)
