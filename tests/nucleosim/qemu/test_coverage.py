"""What compilers make of the generated networks is among what is compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mcuq_lab.bench.cache import user_cache
from mcuq_lab.bench.objects import compile_objects
from mcuq_lab.bench.toolchain import find_toolchain
from mcuq_lab.engines import ENGINES
from mcuq_lab.liteengine import FAMILIES, GENERIC_FAMILIES, generate
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.sources import Sources
from tests.nucleosim.qemu.case import GATE_CASES, GATE_SEED, CaseGenerator
from tests.nucleosim.qemu.forms import forms_in
from tests.nucleosim.qemu.image import build_image
from tests.support.networks import chain, mobilenet, resnet8
from tests.support.simulated_core import FLAGS, has_toolchain

pytestmark = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")

PAIRS = [(8, 8), (4, 4), (2, 2), (3, 5), (6, 4), (2, 8)]
FLAGS_BY_CORE = {
    "cortex-m4": FLAGS,
    "cortex-m7": tuple(
        {"-mcpu=cortex-m4": "-mcpu=cortex-m7", "-mfpu=fpv4-sp-d16": "-mfpu=fpv5-d16"}.get(
            flag, flag
        )
        for flag in FLAGS
    ),
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> dict[str, set[str]]:
    """Forms in the images that test_against_qemu.py runs, by core."""
    found = {}
    for core in FLAGS_BY_CORE:
        directory = tmp_path_factory.mktemp(core)
        image = build_image(core, CaseGenerator(core, GATE_SEED).cases(GATE_CASES), directory)
        found[core] = set(forms_in(image.path, "case0"))
    return found


def liteengine() -> Iterator[Sources]:
    for kind in (QConv2d, QDepthwiseConv2d, QFullyConnected):
        yield generate(chain(kind, PAIRS), FAMILIES)


def whole_networks() -> Iterator[Sources]:
    for kind in (QConv2d, QDepthwiseConv2d, QFullyConnected):
        yield generate(chain(kind, PAIRS), GENERIC_FAMILIES)
    for bits in (None, *range(2, 9)):
        yield generate(resnet8(bits), FAMILIES)
        yield generate(mobilenet(bits), FAMILIES)


def baselines(blocks: int) -> Iterator[Sources]:
    for name, engine in ENGINES.items():
        for bits in (8, 4, 2):
            if name != "liteengine" and engine.supports(f"w{bits}a{bits}"):
                yield engine.generate(mobilenet(bits, blocks=blocks))
                yield engine.generate(resnet8(bits))


def unchecked(core: str, networks: Iterator[Sources], compared: dict[str, set[str]]) -> set[str]:
    """Forms that gcc emits for networks and that nothing compares."""
    emitted: set[str] = set()
    for sources in networks:
        objects = compile_objects(
            find_toolchain(), sources.files, FLAGS_BY_CORE[core], user_cache()
        )
        for path in objects.paths:
            emitted |= set(forms_in(path))
    assert len(emitted) > 100
    return emitted - compared[core]


def test_liteengine(compared):
    assert unchecked("cortex-m4", liteengine(), compared) == set()


def test_baselines(compared):
    assert unchecked("cortex-m4", baselines(blocks=2), compared) == set()


@pytest.mark.nightly
@pytest.mark.parametrize("core", FLAGS_BY_CORE)
def test_whole_networks(core, compared):
    assert unchecked(core, whole_networks(), compared) == set()
    assert unchecked(core, liteengine(), compared) == set()
    assert unchecked(core, baselines(blocks=13), compared) == set()


def test_there_is_much_to_compare(compared):
    assert len(compared["cortex-m4"]) > 600
    assert len(compared["cortex-m7"] - compared["cortex-m4"]) > 60
