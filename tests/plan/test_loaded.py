"""Plans by load: placement, what follows from it, and runs that have such plans."""

from __future__ import annotations

import pytest

from ferroflow import PlanError
from ferroflow.plan import Estimate, LoadNode, LoadPlan, LoadTask, Plans, Read, plan_by_load

NODES = [
    LoadNode("node-1", "region-1", 8, 16384, 102400, 2, 4096, 10240, {"role": "worker"}),
    LoadNode("node-2", "region-2", 16, 32768, 204800, 8, 16384, 51200, {"role": "compute"}),
    LoadNode("node-3", "region-1", 4, 8192, 51200, 1, 2048, 5120, {"role": "io"}),
]
HEAVY = Estimate(8000, 4.0, 1024.0)


@pytest.mark.req("P7.133", "P7.143", "P7.145", "P7.146")
def test_tasks_spread_by_load_until_nothing_fits() -> None:
    heavy = [LoadTask(f"t{at}", estimate=HEAVY) for at in range(4)]
    assert [*plan_by_load(heavy[:3], NODES).nodes.values()] == ["node-1", "node-2", "node-2"]
    with pytest.raises(PlanError, match="t3") as caught:
        plan_by_load(heavy, NODES)
    assert caught.value.kind == "insufficient-resources"
    assert plan_by_load([LoadTask("t")], NODES).nodes == {"t": "node-1"}


@pytest.mark.req("P7.129", "P7.130", "P7.131", "P7.132")
def test_weights_say_what_counts_and_half_is_used_where_nobody_knows() -> None:
    one = [LoadTask("t")]
    uneven = [LoadNode("a", "", 8, 1024, 0, 1, 768), LoadNode("b", "", 8, 1024, 0, 6, 0)]
    assert plan_by_load(one, uneven, weights=(1, 0, 0)).nodes == {"t": "a"}
    assert plan_by_load(one, uneven, weights=(1, 9, 1)).nodes == {"t": "b"}
    with pytest.raises(PlanError, match="the weight of cpu is -1"):
        plan_by_load(one, NODES, weights=(-1, 0, 1))
    dark = LoadNode("dark", cpu=8, used_cpu=None)
    assert plan_by_load(one, [dark, LoadNode("busy", cpu=8, used_cpu=5)]).nodes == {"t": "dark"}
    assert plan_by_load(one, [dark, LoadNode("idle", cpu=8, used_cpu=3)]).nodes == {"t": "idle"}
    # It has four left, as far as anybody knows, and the first task takes them.
    with pytest.raises(PlanError, match="room for task u") as caught:
        plan_by_load([LoadTask("t", estimate=HEAVY), LoadTask("u", estimate=HEAVY)], [dark])
    assert caught.value.kind == "insufficient-resources"


@pytest.mark.req("P7.142", "P7.144")
def test_where_the_input_is_counts_as_less_loaded() -> None:
    assert plan_by_load([LoadTask("t", location="region-2")], NODES).nodes == {"t": "node-2"}
    bound = LoadTask("t", location="region-1", only_there=True, estimate=Estimate(cpu=7.0))
    with pytest.raises(PlanError):
        plan_by_load([bound], NODES)


def pipeline() -> LoadPlan:
    far = Estimate(500, network_priority=2)
    tasks = [
        LoadTask("load", estimate=Estimate(1000)),
        LoadTask("fit", reads=[Read("load", "rows", 20.0)], location="region-2", only_there=True),
        LoadTask(
            "show",
            estimate=far,
            reads=[Read("load", "rows")],
            location="region-2",
            only_there=True,
            timeout_ms=9,
        ),
        LoadTask("save", depends_on=["fit"], location="region-1", only_there=True),
    ]
    return plan_by_load(tasks, NODES, run="r", bandwidth=10.0)


@pytest.mark.req("P7.148", "P7.149", "P7.150", "P7.152", "P7.154", "P7.156", "P7.157")
def test_movements_priorities_times_and_peaks() -> None:
    made = pipeline()
    (only,) = made.movements
    assert (only.id, only.size_mb, only.priority) == ("load.rows@node-2", 20.0, 2)
    assert made.levels == {"load": 0, "fit": 1, "show": 1, "save": 2}
    assert made.critical == ["load", "fit", "save"]
    assert made.priorities == {"load": 13, "fit": 12, "show": 2, "save": 11}
    assert (made.barrier_ms, made.critical_ms) == (3000, 5000.0)
    # 10 MB of unknown size for `show` would arrive after a second, and two are to spare.
    assert made.slack_ms == {"load": 0.0, "fit": 0.0, "show": 2500.0, "save": 0.0}
    assert (made.peak_cpu, made.peak_memory_mb, made.peak_storage_mb) == (2.0, 512.0, 20.0)
    assert made.seconds > 0
    assert len(made) == 4
    assert made.at_level(1) == ["fit", "show"]
    told = made.dispatch("show")
    assert (told.run, told.node, told.level, told.priority, told.timeout_ms) == ("r", "node-2", 1, 2, 9)


@pytest.mark.req("P7.155")
def test_what_may_run_now_follows_from_dependencies() -> None:
    made = pipeline()
    assert made.ready() == ["load"]
    assert made.ready(active=["load"]) == []
    assert made.ready(completed=["load"]) == ["fit", "show"]
    assert made.ready(completed=["load"], active=["show"]) == ["fit"]
    assert made.ready(completed=["load", "show"], ended=["fit"]) == []
    assert made.ready(completed=["load", "fit", "show"]) == ["save"]


@pytest.mark.req("P7.158")
def test_a_plan_is_drawn_by_level_with_what_moves() -> None:
    assert pipeline().mermaid().splitlines() == [
        "graph TB",
        '  subgraph level0["Level 0"]',
        '    n0["load (node-1)"]',
        "  end",
        '  subgraph level1["Level 1"]',
        '    n1["fit (node-2)"]',
        '    n2["show (node-2)"]',
        "  end",
        '  subgraph level2["Level 2"]',
        '    n3["save (node-1)"]',
        "  end",
        '  n0 -- "20MB" --> n1',
        '  n0 -- "20MB" --> n2',
        "  n1 --> n3",
    ]


@pytest.mark.req("P7.159")
def test_a_snapshot_of_the_run_is_attached() -> None:
    made = plan_by_load([LoadTask("t")], NODES, run="r", state=lambda run: {"run": run, "completed": []})
    assert made.state == {"run": "r", "completed": []}


@pytest.mark.req("P7.161")
def test_what_went_wrong_is_told_apart() -> None:
    def kind(*args: object, **options: object) -> str:
        with pytest.raises(PlanError) as caught:
            plan_by_load(*args, **options)  # type: ignore[arg-type]
        return caught.value.kind

    def broken(_: object) -> Estimate:
        raise OSError("no history")

    one = [LoadTask("t")]
    assert kind(one, []) == "no-nodes"
    assert (
        kind([LoadTask("a", depends_on=["b"]), LoadTask("b", depends_on=["a"])], NODES) == "cyclic-dependency"
    )
    assert kind([LoadTask("t", estimate=Estimate(cpu=99))], NODES) == "insufficient-resources"
    assert kind(one, NODES, state=broken) == "state-access-failed"
    assert kind(one, NODES, estimate=broken) == "history-access-failed"
    assert kind([LoadTask("t", depends_on=["lost"])], NODES) == "invalid"
    assert kind([*one, *one], NODES) == "invalid"
    with pytest.raises(PlanError) as caught:
        plan_by_load(one, NODES).dispatch("other")
    assert caught.value.kind == "internal-error"


@pytest.mark.req("P8.3", "P8.4", "P8.5", "P8.18")
def test_runs_with_plans_are_kept_track_of() -> None:
    plans = Plans(lambda: NODES)
    tasks = [LoadTask("a"), LoadTask("b", timeout_ms=50), LoadTask("c", depends_on=["a", "b"])]
    made = plans.submit("r", tasks)
    with pytest.raises(PlanError) as caught:
        plans.submit("r", tasks)
    assert caught.value.kind == "already-active"
    with pytest.raises(PlanError, match="waits for 'lost'"):
        plans.submit("s", [LoadTask("t", depends_on=["lost"])])
    assert [*plans.runs] == ["r"]
    (first,) = plans.next("r", most=1)
    assert (first.task, first.node, first.cpu, first.memory_mb, first.storage_mb) == (
        "a",
        "node-1",
        1.0,
        256.0,
        10.0,
    )
    (second,) = plans.next("r")
    assert (second.task, second.timeout_ms, second.priority) == ("b", 50, made.priorities["b"])
    assert plans.next("r") == []
    plans.completed("r", "a")
    plans.failed("r", "b", "out of luck")
    it = plans.runs["r"]
    assert (it.plan, it.active, it.completed, it.failed) == (made, set(), {"a"}, {"b": "out of luck"})
    assert it.started <= it.scheduled <= it.updated
    assert plans.next("r") == []
    with pytest.raises(PlanError, match="does not run"):
        plans.completed("r", "c")


def test_estimates_are_asked_for() -> None:
    made = plan_by_load(
        [LoadTask("t", kind="heavy")], NODES, estimate=lambda it: HEAVY if it.kind == "heavy" else Estimate()
    )
    assert made.barrier_ms == 8000
