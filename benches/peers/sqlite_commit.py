"""One bare SQLite commit a step, WAL and `synchronous=FULL`: what the disk itself asks for."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from workloads import measure, options, report

RECORD = bytes(200)
"""About what ferroflow writes for one finished step."""


def main() -> None:
    args = options(__doc__, 1_000)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        database = sqlite3.connect(Path(folder) / "commits.db", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE record (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")

        def work() -> None:
            for _ in range(args.steps):
                database.execute("BEGIN IMMEDIATE")
                database.execute("INSERT INTO record (body) VALUES (?)", (RECORD,))
                database.execute("COMMIT")

        report("sqlite commit", measure(work, args.steps, args.repeats))
        database.close()


if __name__ == "__main__":
    main()
