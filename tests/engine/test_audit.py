"""What tasks change that they only read, or do not declare, is reported."""

import logging
from pathlib import Path
from typing import Any

import pytest

import ferroflow as ff
from ferroflow import _core


@ff.task(name="audit.touch")
def touch(path: str) -> None:
    Path(path).write_text("changed")


@ff.task(name="audit.atouch")
async def atouch(path: str) -> None:
    Path(path).write_text("changed")


@ff.task(name="audit.look")
def look(path: str) -> int:
    return len(Path(path).read_bytes())


@pytest.fixture
def world(tmp_path: Path) -> Path:
    (tmp_path / "raw.csv").write_text("a,b\n")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "x").write_text("x")
    return tmp_path


def workflow(world: Path, task: str, path: str, fingerprint: str | None = None, **accesses: Any) -> Any:
    raw: dict[str, Any] = {"kind": "file", "path": str(world / "raw.csv")}
    if fingerprint is not None:
        raw["fingerprint"] = fingerprint
    assets = {
        "raw": raw,
        "tree": {"kind": "directory", "path": str(world / "tree")},
        "table": {"kind": "table"},
    }
    step = {"id": "s", "task": task, "args": [str(world / path)], **accesses}
    return ff.load({"name": "audited", "assets": assets, "term": step})


@pytest.mark.parametrize(
    ("task", "path", "accesses", "found"),
    [
        ("audit.touch", "raw.csv", {"reads": ["raw"]}, ("raw", "reads")),
        ("audit.atouch", "raw.csv", {"reads": ["raw"]}, ("raw", "reads")),
        ("audit.touch", "tree/deep/x", {"reads": ["tree/deep"]}, ("tree", "reads")),
        ("audit.touch", "tree/new", {"writes": ["raw"]}, ("tree", "")),
        ("audit.touch", "raw.csv", {}, ("raw", "")),
        ("audit.touch", "raw.csv", {"writes": ["raw"]}, None),
        ("audit.touch", "tree/deep/x", {"writes": ["tree/deep"]}, None),
        ("audit.look", "raw.csv", {"reads": ["raw"]}, None),
        ("audit.touch", "elsewhere", {}, None),
    ],
)
def test_a_task_that_changes_what_it_only_reads_or_does_not_declare_is_reported(
    world: Path,
    caplog: pytest.LogCaptureFixture,
    task: str,
    path: str,
    accesses: dict[str, Any],
    found: tuple[str, str] | None,
) -> None:
    with caplog.at_level(logging.WARNING, "ferroflow"), ff.Engine(audit=True) as engine:
        run = engine.start(workflow(world, task, path, **accesses))
        run.result(30)
        breaches = [*engine.audits]
    if found is None:
        assert not breaches
        assert not caplog.records
        return
    [breach] = breaches
    assert (breach.asset, breach.declared) == found
    assert (breach.run, breach.step, breach.task, breach.attempt) == (run.id, "s", task, 1)
    assert breach.path in caplog.text
    assert task in caplog.text


def test_an_engine_looks_only_if_it_is_told_to(world: Path) -> None:
    with ff.Engine() as engine:
        engine.run(workflow(world, "audit.touch", "raw.csv", reads=["raw"]))
        assert not engine.audits


def test_what_is_used_first_has_the_content_that_its_fingerprint_says(world: Path) -> None:
    content = _core.fingerprint(world / "raw.csv")
    assert content is not None
    with ff.Engine(audit=True) as engine:
        assert engine.run(workflow(world, "audit.look", "raw.csv", content.hex(), reads=["raw"])) == 4
        (world / "raw.csv").write_text("other")
        with pytest.raises(ff.RunFailed, match=r"raw\.csv") as caught:
            engine.run(workflow(world, "audit.look", "raw.csv", content.hex(), reads=["raw"]))
        assert caught.value.code == "FINGERPRINT_MISMATCH"


def test_fingerprints_tell_contents_names_and_kinds_apart(tmp_path: Path) -> None:
    tree = tmp_path / "d"
    seen = [_core.fingerprint(tree)]
    tree.mkdir()
    seen.append(_core.fingerprint(tree))
    for name, content in (("a", "x"), ("a", "y"), ("b", "x")):
        (tree / name).write_text(content)
        seen.append(_core.fingerprint(tree))
    (tree / "b").rename(tree / "c")
    seen.append(_core.fingerprint(tree))
    (tree / "c").unlink()
    (tree / "c").mkdir()
    seen.append(_core.fingerprint(tree))
    (tree / "c" / "link").symlink_to("x")
    seen.append(_core.fingerprint(tree))
    (tree / "c" / "link").unlink()
    (tree / "c" / "link").write_text("x")
    seen.append(_core.fingerprint(tree))
    assert seen[0] is None
    assert len(set(seen)) == len(seen)
    assert _core.fingerprint(tree) == seen[-1]
