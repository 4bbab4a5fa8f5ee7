"""Which programs are measured side by side, and the bar that ferroflow sets itself against each.

A case's program runs in the environment of its name under `build/peers/` and prints one line of
JSON last. To measure more, add a program to this folder and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass

OURS = "ours"
"""The environment with ferroflow's own release wheel."""


@dataclass(frozen=True)
class Case:
    """One program in one environment.

    Attributes
    ----------
    work
        What is measured; cases of the same work are compared.
    environment
        Folder under `build/peers/`, whose interpreter runs the program.
    program
        The file in this folder, and its arguments.
    bar
        The largest share of this peer's time per step that ferroflow may take.
    """

    work: str
    environment: str
    program: tuple[str, ...]
    bar: float | None = None

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.work}: {' '.join(self.program)}"


MEMORY = "100,000 no-op steps in layers, memory"
STRICT = "20,000 no-op steps in layers, strict"
CHAIN = "a chain of 1,000 steps, strict"
RUNS = "1,000 one-step runs together, strict"
HTTP = "1,000 HTTP requests at a time, memory"
POOL = "10,000 no-op steps in two processes, memory"
COMMANDS = "2,000 commands, two at a time, memory"
PATH = "1,000,000 nodes, 5,000,000 edges in order: graph, order, critical path"
SHUFFLED = "1,000,000 nodes, 5,000,000 edges shuffled: graph, order, critical path"
DRAIN = "draining 1,000,000 nodes, 5,000,000 edges, a level a call"
ARRAY = "an array of 100 MB through a process and back, memory"

CASES = [
    Case(MEMORY, OURS, ("ferroflow_work.py", "--work=memory", "--steps=100000")),
    Case(STRICT, OURS, ("ferroflow_work.py", "--work=strict", "--steps=20000")),
    Case(CHAIN, OURS, ("ferroflow_work.py", "--work=chain", "--steps=1000")),
    Case(RUNS, OURS, ("ferroflow_work.py", "--work=runs", "--steps=1000")),
    Case(HTTP, OURS, ("ferroflow_work.py", "--work=http", "--steps=1000", "--repeats=7")),
    Case(POOL, OURS, ("ferroflow_processes.py", "--work=pool", "--steps=10000")),
    Case(COMMANDS, OURS, ("ferroflow_processes.py", "--work=commands", "--steps=2000")),
    Case(ARRAY, OURS, ("ferroflow_processes.py", "--work=array", "--repeats=15")),
    Case(PATH, OURS, ("graph_ours.py", "--work=path")),
    Case(SHUFFLED, OURS, ("graph_ours.py", "--work=shuffled")),
    Case(DRAIN, OURS, ("graph_ours.py", "--work=drain")),
    Case(MEMORY, "dask", ("layers_dask.py", "--steps=100000"), bar=1 / 20),
    Case(MEMORY, OURS, ("layers_pool.py", "--steps=100000"), bar=1 / 2),
    # DBOS has no graph: its steps follow each other, and the time per step doesn't depend on how
    # many there are, so that fewer do.
    Case(STRICT, "dbos", ("dbos_steps.py", "--work=chain", "--steps=500"), bar=1 / 50),
    Case(CHAIN, OURS, ("sqlite_commit.py", "--steps=1000"), bar=2),
    Case(CHAIN, "dbos", ("dbos_steps.py", "--work=chain", "--steps=1000"), bar=1 / 4),
    Case(RUNS, "dbos", ("dbos_steps.py", "--work=runs", "--steps=1000", "--repeats=3"), bar=1 / 20),
    Case(HTTP, OURS, ("http_plain.py", "--steps=1000", "--repeats=7"), bar=3 / 2),
    Case(POOL, OURS, ("processes_pool.py", "--steps=10000"), bar=1 / 2),
    Case(COMMANDS, OURS, ("commands_bare.py", "--steps=2000"), bar=1.3),
    Case(PATH, "rustworkx", ("graph_rustworkx.py", "--work=path"), bar=1 / 10),
    Case(SHUFFLED, "rustworkx", ("graph_rustworkx.py", "--work=shuffled"), bar=1 / 4),
    Case(DRAIN, "rustworkx", ("graph_rustworkx.py", "--work=drain"), bar=1 / 5),
    Case(DRAIN, "rustworkx", ("graph_graphlib.py",), bar=1 / 50),
    # Beside it, without a bar: by rank instead of first in, first out.
    Case(DRAIN, OURS, ("graph_ours.py", "--work=ranked")),
    Case(ARRAY, OURS, ("array_copy.py", "--repeats=15"), bar=3),
]
