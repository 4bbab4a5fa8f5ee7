"""Where tasks run: nodes with what they have, and the links between them."""

from __future__ import annotations

import os
import platform as machine
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ferroflow._core import parse_duration, parse_size
from ferroflow.errors import PlanError


def _bytes(given: float | str, what: str) -> float:
    if isinstance(given, str):
        try:
            return float(given)
        except ValueError:
            pass
        try:
            return float(parse_size(given))
        except ValueError as error:
            raise PlanError(f"{what}: {error}") from None
    return float(given)


def _seconds(given: float | str, what: str) -> float:
    if isinstance(given, str):
        try:
            return parse_duration(given) / 1e6
        except ValueError as error:
            raise PlanError(f"{what}: {error}") from None
    return float(given)


@dataclass(frozen=True, slots=True)
class Node:
    """A place where steps run.

    Parameters
    ----------
    name
        What it is called; no two nodes of a platform share a name.
    cores
        How many cores' worth of work it does at one time.
    speed
        How much faster it works than what durations were measured on: what takes 10 s there takes 5 s on a
        node of speed 2.
    speeds
        Speeds that differ from `speed`, by the kind of a task that is planned, the name of one that is
        simulated.
    memory
        Bytes, or a size such as `"16GiB"`; None is as much as anybody wants.
    devices
        Divisible extras by name, such as `{"gpu": 2, "gpu_memory": 16 * 2**30}`; those that workflows name
        among `resources`. As much `disk` as anybody wants is there unless said.
    labels
        What tasks may ask for, such as `{"role": "worker"}`.
    location
        Where it stands, such as `"region-1"`.
    price
        What an hour of one core costs.

    Examples
    --------
    >>> from ferroflow.plan import Node
    >>> Node("fast", cores=8, speed=2.0, memory="16GiB").memory
    17179869184
    """

    name: str
    cores: int = 1
    speed: float = 1.0
    speeds: Mapping[str, float] = field(default_factory=dict)
    memory: int | str | None = None
    devices: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    location: str | None = None
    price: float = 0.0

    def __post_init__(self) -> None:
        if self.memory is not None:
            object.__setattr__(self, "memory", int(_bytes(self.memory, f"memory of node {self.name}")))
        devices = {key: int(_bytes(it, f"{key} of node {self.name}")) for key, it in self.devices.items()}
        object.__setattr__(self, "devices", devices)


@dataclass(frozen=True, slots=True)
class Link:
    """How data get from one node to another, if not as a platform's other links do.

    Parameters
    ----------
    source, target
        Names of nodes.
    bandwidth
        Bytes a second, or a size such as `"100MiB"`.
    latency
        Seconds before the first byte arrives, or a duration such as `"2ms"`.
    both_ways
        Whether the link is the same in the other direction.

    Examples
    --------
    >>> from ferroflow.plan import Link
    >>> Link("a", "b", bandwidth="1MiB", latency="2ms")
    Link(source='a', target='b', bandwidth=1048576.0, latency=0.002, both_ways=True)
    """

    source: str
    target: str
    bandwidth: float | str = float("inf")
    latency: float | str = 0.0
    both_ways: bool = True

    def __post_init__(self) -> None:
        where = f"the link from {self.source} to {self.target}"
        object.__setattr__(self, "bandwidth", _bytes(self.bandwidth, f"bandwidth of {where}"))
        object.__setattr__(self, "latency", _seconds(self.latency, f"latency of {where}"))


class Platform:
    """Nodes and what is between them. Data on a node are there at once.

    Parameters
    ----------
    nodes
        The nodes, or names of plain ones.
    bandwidth, latency
        Of every link that `links` does not name; see `Link`.
    links
        Those that differ.

    Raises
    ------
    PlanError
        If two nodes share a name, or a link names a node that is not there.

    Examples
    --------
    >>> from ferroflow.plan import Node, Platform
    >>> platform = Platform([Node("slow"), Node("fast", speed=2.0)], bandwidth="100MiB", latency="1ms")
    >>> platform
    <Platform of 2 nodes: slow, fast>
    """

    def __init__(
        self,
        nodes: Iterable[Node | str],
        *,
        bandwidth: float | str = float("inf"),
        latency: float | str = 0.0,
        links: Iterable[Link] = (),
    ) -> None:
        self.nodes = tuple(it if isinstance(it, Node) else Node(it) for it in nodes)
        self.bandwidth = _bytes(bandwidth, "bandwidth")
        self.latency = _seconds(latency, "latency")
        self.links = tuple(links)
        names = [node.name for node in self.nodes]
        for name in names:
            if names.count(name) > 1:
                raise PlanError(f"two nodes are called {name!r}: names have to differ")
        for link in self.links:
            for name in (link.source, link.target):
                if name not in names:
                    raise PlanError(f"a link names node {name!r}; the nodes are {', '.join(names)}")

    def __repr__(self) -> str:
        names = [node.name for node in self.nodes]
        shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
        return f"<Platform of {len(names)} node{'s' if len(names) != 1 else ''}: {shown}>"

    @classmethod
    def from_dict(cls, given: Any) -> Platform:
        """Return the platform that a plain object describes.

        Parameters
        ----------
        given
            `nodes`, a list of names or of objects with the parameters of `Node`; `bandwidth`, `latency`;
            `links`, a list of objects with the parameters of `Link`, whose ends may be called `from` and
            `to`.

        Raises
        ------
        PlanError
            If it describes none.

        Examples
        --------
        >>> from ferroflow.plan import Platform
        >>> Platform.from_dict({"nodes": ["a", {"name": "b", "cores": 4}], "bandwidth": "1GiB"})
        <Platform of 2 nodes: a, b>
        """
        if not isinstance(given, Mapping) or not isinstance(given.get("nodes"), Sequence):
            raise PlanError('a platform is an object with a list of "nodes"')
        unknown = {*given} - {"nodes", "bandwidth", "latency", "links"}
        if unknown:
            raise PlanError(f"a platform has no {', '.join(sorted(map(str, unknown)))}")

        def made(kind: type[Any], it: Any, what: str) -> Any:
            if not isinstance(it, Mapping):
                raise PlanError(f"{what} has to be an object, and is {it!r}")
            ends = {"from": "source", "to": "target"}
            try:
                return kind(**{ends.get(str(key), str(key)): it[key] for key in it})
            except TypeError as error:
                raise PlanError(f"{what}: {str(error).replace('__init__() ', '')}") from None

        nodes = [
            it if isinstance(it, str) else made(Node, it, f"node {at}")
            for at, it in enumerate(given["nodes"])
        ]
        links = [made(Link, it, f"link {at}") for at, it in enumerate(given.get("links") or ())]
        return cls(
            nodes,
            bandwidth=given.get("bandwidth", float("inf")),
            latency=given.get("latency", 0.0),
            links=links,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Platform:
        """Return the platform that a JSON text describes; see `from_dict`.

        Examples
        --------
        >>> from ferroflow.plan import Platform
        >>> Platform.from_json('{"nodes": ["a", "b"]}')
        <Platform of 2 nodes: a, b>
        """
        try:
            return cls.from_dict(msgspec.json.decode(text))
        except msgspec.DecodeError as error:
            raise PlanError(f"the platform is not JSON: {error}") from None

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Platform:
        """Return the platform that a YAML text describes; see `from_dict`. Needs the extra `yaml`.

        Examples
        --------
        >>> from ferroflow.plan import Platform
        >>> Platform.from_yaml("nodes: [a, {name: b, speed: 2}]")
        <Platform of 2 nodes: a, b>
        """
        try:
            import yaml
        except ImportError:
            raise PlanError("reading YAML needs PyYAML: pip install 'ferroflow[yaml]'") from None
        try:
            return cls.from_dict(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise PlanError(f"the platform is not YAML: {error}") from None

    @classmethod
    def load(cls, path: str | Path) -> Platform:
        """Return the platform that a `.json` or `.yaml` file describes.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from ferroflow.plan import Platform
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "platform.json"
        ...     _ = path.write_text('{"nodes": ["a"]}')
        ...     Platform.load(path)
        <Platform of 1 node: a>
        """
        path = Path(path)
        if path.suffix in (".yaml", ".yml"):
            return cls.from_yaml(path.read_bytes())
        return cls.from_json(path.read_bytes())

    @classmethod
    def here(cls) -> Platform:
        """Return the machine that this runs on: one node with the cores and memory that we may use.

        Examples
        --------
        >>> from ferroflow.plan import Platform
        >>> Platform.here().nodes[0].cores >= 1
        True
        """
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        node = Node(
            machine.node() or "localhost",
            cores=len(os.sched_getaffinity(0)),
            memory=memory,
            labels={"system": machine.system().lower(), "architecture": machine.machine()},
        )
        return cls([node])

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes.

        Examples
        --------
        >>> from ferroflow.plan import Platform
        >>> Platform(["a"], latency=0.5).to_dict()
        {'nodes': [{'name': 'a'}], 'latency': 0.5}
        """

        def changed(it: Node | Link, plain: Node | Link, names: Sequence[str]) -> dict[str, Any]:
            pairs = ((name, getattr(it, name)) for name in names)
            return {name: value for name, value in pairs if value != getattr(plain, name)}

        found: dict[str, Any] = {
            "nodes": [
                {"name": it.name} | changed(it, Node(it.name), Node.__dataclass_fields__.keys())  # type: ignore[arg-type]
                for it in self.nodes
            ]
        }
        if self.bandwidth != float("inf"):
            found["bandwidth"] = self.bandwidth
        if self.latency:
            found["latency"] = self.latency
        if self.links:
            found["links"] = [
                {"source": it.source, "target": it.target}
                | changed(it, Link(it.source, it.target), ["bandwidth", "latency", "both_ways"])
                for it in self.links
            ]
        return found

    def _core(self) -> tuple[list[tuple[Any, ...]], Any, Any]:
        """Return the nodes, latencies and bandwidths as the extension takes them."""
        nodes = [
            (
                it.name,
                it.cores,
                float(it.speed),
                dict(it.speeds),
                it.memory,
                dict(it.devices),
                dict(it.labels),
                it.location,
                float(it.price),
            )
            for it in self.nodes
        ]
        if not self.links:
            return nodes, self.latency, self.bandwidth
        count = len(nodes)
        place = {node.name: at for at, node in enumerate(self.nodes)}
        latency = array("d", [self.latency]) * (count * count)
        bandwidth = array("d", [self.bandwidth]) * (count * count)
        for link in self.links:
            ends = [(place[link.source], place[link.target])]
            if link.both_ways:
                ends.append(ends[0][::-1])
            for source, target in ends:
                latency[source * count + target] = float(link.latency)
                bandwidth[source * count + target] = float(link.bandwidth)
        return nodes, latency, bandwidth
