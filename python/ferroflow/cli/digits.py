"""The demonstration: model selection on scikit-learn's handwritten digits.

Three preprocessors, four estimators and five folds make 60 fits, each a durable step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import click

import ferroflow as ff
from ferroflow.cli.chain import longest_chain
from ferroflow.cli.following import follow
from ferroflow.engine import records

FOLDS = 5
PREPROCESSORS = ("none", "standard", "pca")
ESTIMATORS = ("nearest", "bayes", "logistic", "forest")


@cache
def _digits() -> Any:
    from sklearn.datasets import load_digits

    return load_digits()


def _pipeline(preprocessor: str, estimator: str, seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    first = {
        "none": FunctionTransformer(),
        "standard": StandardScaler(),
        "pca": PCA(n_components=24, random_state=seed),
    }[preprocessor]
    last = {
        "nearest": KNeighborsClassifier(3),
        "bayes": GaussianNB(var_smoothing=1e-2),
        "logistic": LogisticRegression(max_iter=2000, C=0.1),
        "forest": RandomForestClassifier(n_estimators=60, random_state=seed),
    }[estimator]
    return make_pipeline(first, last)


@ff.task(name="demo.load")
def load() -> dict[str, int]:
    """Load the digits and count them."""
    digits = _digits()
    return {"samples": len(digits.target), "classes": len(digits.target_names)}


@ff.task(name="demo.split")
def split(data: dict[str, int], seed: int) -> dict[str, Any]:
    """Hold out a quarter, and cut the rest into folds."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    target = _digits().target
    train, held_out = train_test_split(
        list(range(data["samples"])), test_size=0.25, random_state=seed, stratify=target
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(train, target[train])
    return {
        "train": [int(at) for at in train],
        "held_out": [int(at) for at in held_out],
        "folds": [[int(train[at]) for at in fold] for _, fold in folds],
    }


@ff.task(name="demo.candidates")
def candidates() -> list[dict[str, str]]:
    """List what to compare."""
    return [{"preprocessor": p, "estimator": e} for p in PREPROCESSORS for e in ESTIMATORS]


@ff.task(name="demo.fit_fold", cpu=1)
def fit_fold(candidate: dict[str, str], parts: dict[str, Any], fold: int, seed: int) -> float:
    """Fit a candidate without one fold and score it on that fold."""
    if log := os.environ.get("FERROFLOW_DEMO_LOG"):
        with Path(log).open("a") as file:
            file.write(f"{candidate['preprocessor']}+{candidate['estimator']}#{fold}\n")
    digits = _digits()
    test = set(parts["folds"][fold])
    train = [at for at in parts["train"] if at not in test]
    model = _pipeline(candidate["preprocessor"], candidate["estimator"], seed)
    model.fit(digits.data[train], digits.target[train])
    held = sorted(test)
    return float(model.score(digits.data[held], digits.target[held]))


@ff.task(name="demo.compare")
def compare(tried: list[dict[str, str]], scores: list[list[float]]) -> dict[str, Any]:
    """Rank the candidates by their mean score."""
    table: list[dict[str, Any]] = [
        {**candidate, "mean": sum(row) / len(row), "worst": min(row)}
        for candidate, row in zip(tried, scores, strict=True)
    ]
    table.sort(key=lambda row: (-row["mean"], str(row)))
    return {"table": table, "winner": table[0]}


@ff.task(name="demo.refit", cpu=1)
def refit(winner: dict[str, Any], parts: dict[str, Any], seed: int) -> float:
    """Fit the winner on all but the held-out part and score it there."""
    digits = _digits()
    model = _pipeline(winner["preprocessor"], winner["estimator"], seed)
    model.fit(digits.data[parts["train"]], digits.target[parts["train"]])
    held = parts["held_out"]
    return float(model.score(digits.data[held], digits.target[held]))


@ff.workflow(name="digits")
def digits(seed: int = 7) -> Any:
    """Select a model for handwritten digits."""
    parts = split(load(), seed)
    tried = candidates()
    scores = ff.each(
        tried,
        lambda candidate: ff.each(list(range(FOLDS)), lambda fold: fit_fold(candidate, parts, fold, seed)),
    )
    compared: Any = compare(tried, scores)
    held_out = refit(compared["winner"], parts, seed)
    return {"table": compared["table"], "winner": compared["winner"], "held_out": held_out}


def run(*, crash: bool, db: Path | None, die_after: int | None, workers: int | None) -> None:
    """Run the demonstration."""
    try:
        import sklearn  # noqa: F401
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ff.FerroflowError("the demo needs scikit-learn: pip install 'ferroflow[ml]'") from None
    # A fold says that it uses one processor, so that is what it gets.
    threadpool_limits(1)
    if crash:
        _crash(workers)
        return
    if db is None:
        with tempfile.TemporaryDirectory(prefix="ferroflow-") as folder:
            _run(Path(folder) / "demo.db", die_after, workers)
    else:
        # Killed half-way, a process leaves nothing behind but this file.
        _run(db, die_after, workers)


def _run(db: Path, die_after: int | None, workers: int | None) -> None:
    with ff.Engine(db, workers=workers) as engine:
        handle = engine.start(digits)
        if die_after is not None:
            threading.Thread(target=_die, args=(handle, die_after), daemon=True).start()
        follow(handle, "started")
        _print(handle, engine)


def _folds_done(view: ff.RunView) -> set[str]:
    return {s.path for s in view.steps if s.task == "demo.fit_fold" and s.state == "completed"}


def _die(handle: ff.Handle[Any], after: int) -> None:
    # Load, split and candidates end before the folds, and one for-each with every candidate's last.
    while handle.progress(running=0).ended < 3 + after + after // FOLDS:
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


def _crash(workers: int | None) -> None:
    """Kill a process half-way through the demonstration, then resume it here."""
    folds = len(PREPROCESSORS) * len(ESTIMATORS) * FOLDS
    with tempfile.TemporaryDirectory(prefix="ferroflow-") as folder:
        path, log = Path(folder) / "demo.db", Path(folder) / "bodies.txt"
        command = [
            sys.executable,
            "-m",
            "ferroflow",
            "demo",
            "--db",
            str(path),
            "--die-after",
            str(folds // 2),
        ]
        if workers is not None:
            command += ["--workers", str(workers)]
        click.echo("1. A process runs the demonstration, and half-way kills itself with SIGKILL.")
        os.environ["FERROFLOW_DEMO_LOG"] = str(log)
        ended = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)  # noqa: S603
        if ended.returncode != -signal.SIGKILL:
            raise ff.FerroflowError(f"the process ended with {ended.returncode} instead of being killed")
        before = log.read_text().splitlines()
        with ff.Engine(path, workers=workers, resume=False) as engine:
            run = engine.list()[0].id
            done = _folds_done(engine.handle(run).view())
            click.echo(f"2. It is dead: of {folds} folds {len(done)} are on record, {len(before)} had begun.")
            click.echo("3. This process opens the same database and resumes the run.\n")
            engine.resume()
            handle = engine.handle(run)
            follow(handle, "goes on")
            _print(handle, engine)
        again = log.read_text().splitlines()[len(before) :]
        twice = set(again) & {_fold(path) for path in done}
        click.echo(
            f"\n4. {len(done)} folds were finished before the crash, {len(again)} ran after it; "
            f"finished folds that ran again: {len(twice)}."
        )
        if twice:
            raise ff.FerroflowError(f"finished folds ran again: {sorted(twice)}")


def _fold(path: str) -> str:
    """Return what the log calls a fold: its candidate and number, from the step's path."""
    outer, inner = (int(part.partition("[")[2].partition("]")[0]) for part in path.split("/")[:2])
    preprocessor, estimator = (
        PREPROCESSORS[outer // len(ESTIMATORS)],
        ESTIMATORS[outer % len(ESTIMATORS)],
    )
    return f"{preprocessor}+{estimator}#{inner}"


def _print(handle: ff.Handle[Any], engine: ff.Engine) -> None:
    from rich.console import Console
    from rich.table import Table

    def table(title: str, words: int, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            made.add_column(column, justify="left" if number < words else "right", no_wrap=True)
        return made

    result = handle.result()
    events = handle.events()
    view = handle.view()
    console = Console(highlight=False)
    scores = table("Accuracy over five folds", 2, "preprocessor", "estimator", "mean", "worst fold")
    for row in result["table"]:
        scores.add_row(row["preprocessor"], row["estimator"], f"{row['mean']:.4f}", f"{row['worst']:.4f}")
    console.print(scores)
    winner = result["winner"]
    console.print(
        f"The winner, {winner['preprocessor']} + {winner['estimator']}, refitted on all folds, "
        f"scores {result['held_out']:.4f} on the held-out part.\n"
    )
    steps = [step for step in view.steps if step.kind == "task"]
    times = table("Time of the steps", 1, "task", "steps", "total", "mean", "longest")
    for task in dict.fromkeys(step.task or "" for step in steps):
        seconds = [step.seconds or 0.0 for step in steps if step.task == task]
        total = sum(seconds)
        cells = (f"{it:.3f} s" for it in (total, total / len(seconds), max(seconds)))
        times.add_row(task, str(len(seconds)), *cells)
    console.print(times)
    folds = [f"fold {fold + 1}" for fold in range(FOLDS)]
    each = table("Time of each fold", 2, "preprocessor", "estimator", *folds)
    fits = [step for step in steps if step.task == "demo.fit_fold"]
    for number, candidate in enumerate(candidates.fn()):
        row = fits[number * FOLDS : (number + 1) * FOLDS]
        each.add_row(*candidate.values(), *(f"{step.seconds or 0.0:.3f} s" for step in row))
    console.print(each)
    took, chain = longest_chain(view)
    console.print(f"Longest chain of steps that wait for each other: {took:.3f} s")
    for step in chain:
        console.print(f"  {step.seconds or 0.0:8.3f} s  {step.path}", markup=False)
    busy = sum(attempt.seconds or 0.0 for attempt in records.attempts(view, events))
    wall = view.seconds or 1.0
    console.print(
        f"{len(steps)} steps of tasks in {wall:.2f} s; {engine.workers} workers, "
        f"busy {100 * busy / (wall * engine.workers):.0f} % of that time"
    )
