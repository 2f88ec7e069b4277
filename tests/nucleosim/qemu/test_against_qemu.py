"""Random code on the simulated cores and on QEMU: registers, flags and memory are the same."""

import random
from pathlib import Path

import pytest

from tests.nucleosim.qemu.case import GATE_CASES, GATE_SEED, CaseGenerator
from tests.nucleosim.qemu.comparison import differing_cases, explain, shrink
from tests.nucleosim.qemu.image import Image, build_image
from tests.nucleosim.qemu.machines import (
    EMULATOR,
    CaseError,
    missing_tools,
    run_on_core,
    run_on_qemu,
)

CORES = ("cortex-m4", "cortex-m7")
NAMES = (EMULATOR, "simulated")

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))


def simulated(image: Image) -> bytes:
    return run_on_core(image).ram


def check(core: str, seed: int, directory: Path) -> None:
    """Compares one image of cases; fails with the shortest code that still differs."""
    image = build_image(core, CaseGenerator(core, seed).cases(GATE_CASES), directory)
    runs = (run_on_qemu, simulated)
    try:
        differing = differing_cases(*(run(image) for run in runs))
    except CaseError as error:
        pytest.fail(f"seed {seed}: {error}\n{image.cases[error.index].text}")
    if differing:
        case = shrink(core, image.cases[differing[0]], runs, directory)
        text = explain(core, case, runs, NAMES, directory)
        pytest.fail(
            f"seed {seed}: {len(differing)} of {GATE_CASES} cases differ, one of them:\n{text}"
        )


@pytest.mark.parametrize("core", CORES)
def test_same_results(core, tmp_path):
    check(core, GATE_SEED, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("core", CORES)
def test_same_results_with_new_seeds(core, tmp_path):
    for _ in range(20):
        check(core, random.SystemRandom().getrandbits(32), tmp_path)


def test_a_wrong_instruction_is_found_and_shown_alone(tmp_path):
    """One simulator crosses the halfwords where it should not."""

    def crossed(image: Image) -> bytes:
        cases = [case.replaced("smlad ", "smladx ") for case in image.cases]
        return run_on_qemu(build_image(image.core, cases, tmp_path))

    image = build_image("cortex-m4", CaseGenerator("cortex-m4", 1).cases(600), tmp_path)
    runs = (run_on_qemu, crossed)
    differing = differing_cases(*(run(image) for run in runs))
    assert differing
    case = shrink("cortex-m4", image.cases[differing[0]], runs, tmp_path)
    assert len(case.units) == 1
    text = explain("cortex-m4", case, runs, NAMES, tmp_path)
    assert "smlad " in text
    assert "<--" in text
