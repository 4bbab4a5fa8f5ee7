"""What a user does first with an installed wheel; run by `check_wheel.py`."""

import sys
from importlib.metadata import version

import ferroflow
from ferroflow import _core

if __name__ == "__main__":
    assert "site-packages" in ferroflow.__file__, ferroflow.__file__
    assert "site-packages" in _core.__file__, _core.__file__
    assert not {"numpy", "sklearn", "yaml"} & set(sys.modules), "an extra was imported"
    print("ferroflow", version("ferroflow"), "imported from the wheel")
