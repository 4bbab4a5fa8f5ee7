"""`python -m ferroflow.cli` is `ferroflow`."""

from ferroflow.cli import main

main(prog_name="ferroflow")
