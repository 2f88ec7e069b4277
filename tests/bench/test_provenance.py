"""A measurement says where its cycles come from, and flash wait states are among them."""

from mcuq_lab.bench import build, open_board
from mcuq_lab.board import load_board

BOARD = load_board()


def test_the_model_of_the_cycles_is_named():
    with open_board(BOARD, simulated=True) as session:
        assert session.timing_model.startswith("cortex-m4 ")
        assert "%" in session.timing_model


def test_wait_states_cost_cycles(tiny):
    firmware = build(tiny.sources, BOARD)
    cycles = {}
    for clock in ("reset", "max"):
        with open_board(BOARD, probe_uid="sim:nucleo-f412zg:waits", clock=clock) as session:
            output = session.run(firmware, tiny.inputs)
            assert (output.outputs == tiny.expected(tiny.inputs)).all()
            cycles[clock] = output.cycles
    # The first inference meets empty caches; the later ones find code and weights there.
    first, last = cycles["max"][0], cycles["max"][-1]
    assert cycles["reset"][0] < first
    assert cycles["reset"][-1] <= last < first
