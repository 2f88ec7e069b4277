"""A measurement says what its cycles do not include."""

from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board


def test_wait_states_that_the_simulator_leaves_out_are_named():
    with open_board(load_board(), simulated=True) as session:
        assert "WAIT STATES" not in session.timing_model
    with open_board(load_board(), simulated=True, clock="max") as session:
        assert "WAIT STATES ARE NOT MODELLED" in session.timing_model
