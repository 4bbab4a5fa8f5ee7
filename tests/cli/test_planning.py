"""`plan`, `compare` and `simulate`: what workflows would take."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ferroflow.cli import main
from tests.interchange import made, real

MONTAGE = "montage-chameleon-2mass-005d-001"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    path = tmp_path / "platform.yaml"
    path.write_text("nodes: [{name: a, cores: 4}, {name: b, speed: 2.0}]\nbandwidth: 100MiB\n")
    return path


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "diamond.json"
    path.write_text(json.dumps(made.diamond()))
    return path


@real.needed
def test_a_recorded_workflow_is_planned(tmp_path: Path, nodes: Path) -> None:
    file = real.find(MONTAGE)
    out = {name: tmp_path / name for name in ("gantt.svg", "plan.mmd", "plan.json", "wf.json")}
    options = ["--method", "heft", "--gantt", out["gantt.svg"], "--mermaid", out["plan.mmd"]]
    options += ["-o", out["plan.json"], "--wfformat", out["wf.json"]]
    ran = invoke("plan", file, "--nodes", nodes, *options)
    assert ran.exit_code == 0, ran.output
    assert "makespan" in ran.output
    ET.parse(out["gantt.svg"])
    assert out["plan.mmd"].read_text().startswith("graph TB")
    planned = json.loads(out["plan.json"].read_text())
    assert len(planned["tasks"]) == 58
    assert json.loads(out["wf.json"].read_text())["schemaVersion"] == "1.5"
    ran = invoke("plan", file, "--budget", "30", "--json")
    assert json.loads(ran.stdout)["evaluations"] <= 30


def test_a_platform_is_a_file_or_the_machines_of_a_recorded_workflow(recorded: Path, nodes: Path) -> None:
    ours = json.loads(invoke("plan", recorded, "--method", "heft", "--json").stdout)
    theirs = json.loads(invoke("plan", recorded, "--nodes", recorded, "--method", "heft", "--json").stdout)
    assert ours["makespan"] == theirs["makespan"]
    nodes.write_text("nodes: [{name: a, speed: -1}]")
    ran = invoke("plan", recorded, "--nodes", nodes)
    assert ran.exit_code == 3
    assert "speed -1" in ran.stderr
    nodes.write_text("nodes: [{name: a, sped: 1}]")
    ran = invoke("simulate", recorded, "--nodes", nodes)
    assert ran.exit_code == 3
    assert "sped" in ran.stderr


@real.needed
def test_planners_are_compared(tmp_path: Path, nodes: Path) -> None:
    plot, file = tmp_path / "plot.svg", real.find(MONTAGE)
    ran = invoke("compare", file, "--nodes", nodes, "--methods", "heft,olb", "--plot", plot)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines()[0].split() == ["method", "mean", "over", "best", file.stem]
    ET.parse(plot)


def test_a_recorded_workflow_is_simulated(tmp_path: Path, recorded: Path, nodes: Path) -> None:
    out = {name: tmp_path / name for name in ("plot.svg", "gantt.svg", "runs.db")}
    ran = invoke(
        "simulate", recorded, "--nodes", nodes, "--policy", "fifo", "--runs", 50, "--deviation", 0.3,
        "--plot", out["plot.svg"], "--gantt", out["gantt.svg"], "--save", out["runs.db"],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "50 runs: 50 completed; 4 attempts each, on 2 nodes" in ran.stdout
    ET.parse(out["plot.svg"])
    ET.parse(out["gantt.svg"])
    (saved,) = json.loads(invoke("list", "--db", out["runs.db"], "--json").stdout)["runs"]
    assert saved["state"] == "completed"
    again = [invoke("simulate", recorded, "--runs", 5, "--deviation", 0.3, "--json").stdout for _ in range(2)]
    assert again[0] == again[1]
    figures = json.loads(again[0])
    assert figures["makespan"]["least"] < figures["makespan"]["most"]
    assert (figures["runs"], figures["policy"]) == (5, "upward_rank")


def test_a_workflow_is_simulated(tmp_path: Path, nodes: Path) -> None:
    body = {"task": "train", "args": [{"$": "item"}], "options": {"retry": {"max_retries": 9}}}
    flow = tmp_path / "flow.json"
    flow.write_text(json.dumps({"name": "flow", "term": {"each": [1, 2, 3], "do": body, "id": "each"}}))
    given = ["--nodes", nodes, "--runs", "1", "--json"]
    ran = invoke("simulate", flow, *given, "--duration", "train=10", "--answer", "each=6")
    assert ran.exit_code == 0, ran.output
    # The core of speed 2 takes two of six.
    assert json.loads(ran.stdout)["makespan"]["mean"] == 10
    failing = invoke("simulate", flow, *given, "--runs", "20", "--failure", "0.5")
    assert failing.exit_code == 0, failing.output
    assert json.loads(failing.stdout)["attempts"] > 1
    for wrong, why in (
        (["--duration", "train"], "NAME=NUMBER"),
        (["--duration", "train=nan"], "NAME=NUMBER"),
        (["--duration", "tain=1"], "tain"),
    ):
        ran = invoke("simulate", flow, "--nodes", nodes, *wrong)
        assert ran.exit_code == 3, ran.output
        assert why in ran.stderr
    assert invoke("simulate", flow, "--deviation", "1").exit_code == 2


def test_options_of_workflows_are_not_for_recorded_ones(recorded: Path) -> None:
    ran = invoke("simulate", recorded, "--default", "3")
    assert ran.exit_code == 2
    assert "not for recorded workflows" in ran.stderr
