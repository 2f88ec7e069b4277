"""What strips of networks that differ in widths have in common: rows, found once for all widths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcuq_lab.graph import Shape
from mcuq_lab.liteengine import in_strips, strip_topology
from mcuq_lab.liteengine import strips as strips_module
from mcuq_lab.liteengine.strip_overlap import over_inputs
from mcuq_lab.liteengine.strip_topology import Topology
from mcuq_lab.liteengine.strips import Strips, all_heights
from tests.support.networks import mobilenet, residual_block, resnet8


def all_strips(graph) -> list[Strips]:
    count = len(graph.ops)
    spans = ((first, end) for first in range(count) for end in range(first + 2, count + 1))
    return [over_inputs(s) for first, end in spans for s in all_heights(graph, end, first)]


def described(strips: Strips) -> tuple:
    """All that decides the code of strips, and their bytes."""
    calls = [strips.calls(op) for op in strips.ops]
    return (
        strips.name, strips.turns, strips.homes, strips.over, strips.first_strip, strips.strips,
        calls, strips.places, strips.maps_bytes, strips.stage_bytes, strips.ahead,
    )  # fmt: skip


def forget() -> None:
    for known in (strip_topology._geometry, strip_topology._same, strip_topology._topology):
        known.cache_clear()
    strips_module._neighbours.cache_clear()


def block(bits: int | None, seed: int):
    return residual_block(Shape(13, 6, 8), bits, seed=seed)


@pytest.mark.parametrize("network", [resnet8, mobilenet, block])
def test_networks_of_other_widths_have_strips_as_if_they_were_alone(network):
    graphs = [network(bits, seed) for seed, bits in enumerate((None, None, None, 8, 4, 2))]
    together = [list(map(described, all_strips(graph))) for graph in graphs]
    for graph, found in zip(graphs, together, strict=True):
        forget()
        assert found == list(map(described, all_strips(graph)))
    assert len({tuple(map(repr, found)) for found in together}) > 1


def test_networks_that_differ_in_widths_alone_are_one_topology():
    assert Topology.of(resnet8(8)) is Topology.of(resnet8(None, 3))
    assert Topology.of(resnet8(8)) is not Topology.of(mobilenet(8))


@pytest.mark.parametrize("network", [resnet8, mobilenet])
def test_as_many_strips_lead_up_to_the_first_rows_as_save_most_bytes(network):
    seen = set()
    for strips in all_strips(network(None, 5)):
        for number in range(5):
            geometry = replace(strips.geometry, first_strip=-number)
            other = replace(strips, geometry=geometry)
            more = other.maps_bytes > strips.maps_bytes
            assert more or (other.maps_bytes == strips.maps_bytes and -number <= strips.first_strip)
        seen.add(strips.first_strip)
    assert len(seen) > 1


def test_strips_that_cannot_be_are_none_again():
    graph = resnet8(8)
    for _ in range(2):
        assert in_strips(graph, len(graph.ops), 1) is None
        assert in_strips(graph, 1, 4) is None
