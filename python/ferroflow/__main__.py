"""`python -m ferroflow` is `ferroflow`."""

from ferroflow.cli import main

if __name__ == "__main__":
    main(prog_name="ferroflow")
