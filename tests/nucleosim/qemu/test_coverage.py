"""What compilers make of the generated networks is among what is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from mcuq_lab.bench.objects import compile_objects
from mcuq_lab.bench.toolchain import find_toolchain
from mcuq_lab.content_cache import user_cache
from mcuq_lab.engines import ENGINES
from mcuq_lab.liteengine import FAMILIES, GENERIC_FAMILIES, generate
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.sources import Sources
from mcuq_lab.target import DEFAULT_TARGET
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
def compared(tmp_path_factory) -> Callable[[str], set[str]]:
    """Forms that test_against_qemu.py compares on a core; a part of its cases has all of them."""

    @cache
    def of(core: str) -> set[str]:
        cases = CaseGenerator(core, GATE_SEED).cases(GATE_CASES // 2)
        return set(forms_in(build_image(core, cases, tmp_path_factory.mktemp(core)).path, "case0"))

    return of


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
                yield engine.generate(mobilenet(bits, blocks=blocks), DEFAULT_TARGET)
                yield engine.generate(resnet8(bits), DEFAULT_TARGET)


def forms_of(core: str, networks: Iterator[Sources]) -> set[str]:
    """Forms that gcc emits for networks."""
    emitted: set[str] = set()
    for sources in networks:
        objects = compile_objects(
            find_toolchain(), sources.files, FLAGS_BY_CORE[core], user_cache()
        )
        for path in objects.paths:
            emitted |= set(forms_in(path))
    assert len(emitted) > 100
    return emitted


def test_liteengine(compared):
    assert forms_of("cortex-m4", liteengine()) <= compared("cortex-m4")


def test_baselines(compared):
    assert forms_of("cortex-m4", baselines(blocks=2)) <= compared("cortex-m4")


@pytest.mark.nightly
@pytest.mark.parametrize("core", FLAGS_BY_CORE)
def test_whole_networks(core, compared):
    assert forms_of(core, whole_networks()) <= compared(core)
    assert forms_of(core, liteengine()) <= compared(core)
    assert forms_of(core, baselines(blocks=13)) <= compared(core)


def test_there_is_much_to_compare(compared):
    assert len(compared("cortex-m4")) > 600
    assert len(compared("cortex-m7") - compared("cortex-m4")) > 60
