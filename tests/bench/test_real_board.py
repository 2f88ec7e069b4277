"""The same bench with a real NUCLEO-F412ZG, if one is plugged in: outputs, cycles, faults."""

import numpy as np
import pytest

from mcuq_lab.bench import build, find_probes, open_board
from mcuq_lab.board import load_board
from mcuq_lab.errors import BoardError

BOARD = load_board("nucleo_f412zg")

pytestmark = pytest.mark.hardware


@pytest.fixture(scope="module", params=["reset", "max"])
def session(request):
    if not any(probe.pyocd_target == BOARD.pyocd_target for probe in find_probes_real()):
        pytest.skip(f"no real {BOARD.name} is plugged in")
    with open_board(BOARD, simulated=False, clock=request.param) as session:
        yield session


def find_probes_real():
    return [probe for probe in find_probes() if not probe.simulated]


def test_outputs_equal_numpy_and_cycles_repeat(session, tiny):
    firmware = build(tiny.sources, BOARD)
    first = session.run(firmware, tiny.inputs)
    again = session.run(firmware, tiny.inputs)
    np.testing.assert_array_equal(first.outputs, tiny.expected(tiny.inputs))
    assert first.cycles.tolist() == again.cycles.tolist()
    assert first.layer_cycles == again.layer_cycles


def test_memory_use_equals_the_simulated_boards(session, tiny):
    firmware = build(tiny.sources, BOARD)
    real = session.run(firmware, tiny.inputs)
    with open_board(BOARD, "sim:nucleo-f412zg:beside-the-real-one") as simulated:
        model = simulated.run(firmware, tiny.inputs)
    assert real.arena_touched_bytes == model.arena_touched_bytes
    assert real.stack_bytes == model.stack_bytes


def test_faults_and_hangs_are_survived(session, tiny):
    entry = "void layer_add(void)\n{"
    bad = tiny.texts["add"].replace(entry, f'{entry}\n    __asm volatile("udf #0");')
    with pytest.raises(BoardError, match=r"undefined instruction.*layer_add\.c:5"):
        session.run(build(tiny.make(add=bad), BOARD), tiny.inputs)
    bad = tiny.texts["add"].replace(entry, f'{entry}\n    __asm volatile("b .");')
    with pytest.raises(BoardError, match="did not end"):
        session.run(build(tiny.make(add=bad), BOARD), tiny.inputs, inference_timeout_s=1.0)
    output = session.run(build(tiny.sources, BOARD), tiny.inputs)
    np.testing.assert_array_equal(output.outputs, tiny.expected(tiny.inputs))
