"""A source of candidates that gains nothing rests, and is tried again."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.results import ReferencePoint, Row, read_rows
from mcuq_lab.rlquant import new_run, run_search
from mcuq_lab.rlquant.merit import earns_its_share
from mcuq_lab.rlquant.proposers import Mutations

REFERENCE = ReferencePoint(error=1.0, cycles=100, sram_peak_bytes=100)


def rows(*described: tuple[str, int, int]) -> list[Row]:
    """Rows by origin, cycles and SRAM, all of one accuracy."""
    return [
        Row(
            evaluation=i, model="m", data="d", board="b", engine="e", policy=((8, 8),),
            origin=origin, status="ok", accuracy_quick=0.5, cycles_median=cycles,
            sram_peak_bytes=sram,
        )
        for i, (origin, cycles, sram) in enumerate(described)
    ]  # fmt: skip


def earns(found: list[Row], n: int = 48) -> bool:
    return earns_its_share(found, "agent", ["mutation", "scout"], n, REFERENCE)


USEFUL = [("mutation", 20, 60), ("scout", 40, 40), ("mutation", 60, 20)]
USELESS = [("agent", 70, 70), ("agent", 80, 80), ("agent", 90, 90)]


def test_rows_that_others_dominate_earn_nothing():
    assert not earns(rows(*USEFUL, *USELESS))


def test_two_rows_say_nothing_yet():
    assert earns(rows(*USEFUL, *USELESS[:2]))


def test_old_rows_are_forgotten():
    found = rows(*USELESS, *USEFUL)
    assert not earns(found)
    assert earns(found, n=5)


def test_a_source_is_held_against_its_rivals_alone():
    assert earns(rows(("anchor", 20, 60), ("anchor", 60, 20), *USELESS))


def test_half_as_much_is_enough():
    # Alone: 10 x 10 each of the rivals; of the agent 10 x 5, 10 x 5 and 10 x 10.
    stairs = [("mutation", 50, 90), ("mutation", 60, 80), ("agent", 70, 75), ("agent", 80, 70)]
    assert earns(rows(*stairs, ("agent", 90, 60)))


class Wide:
    """Stands in for an agent that has learnt nothing: wide policies, which cost most."""

    name = "agent"

    def __init__(self, *arguments: object) -> None:
        self.rounds: list[int] = []

    def propose(self, round_, found):
        self.rounds.append(round_.number)
        shape = (64, round_.world.costs.space.n_layers, 2)
        return round_.rng.integers(7, 9, size=shape).astype(np.int8)

    def state(self):
        return None

    def restore(self, state):
        pass

    def close(self):
        pass


class Good(Mutations):
    """Stands in for one that proposes as well as the others."""

    name = "agent"

    def __init__(self, *arguments: object) -> None:
        super().__init__(128, 8)
        self.rounds: list[int] = []

    def propose(self, round_, found):
        self.rounds.append(round_.number)
        return super().propose(round_, found)


@pytest.mark.parametrize("kind", [Wide, Good])
def test_an_agent_works_while_it_earns_its_share(kind, config, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "mcuq_lab.rlquant.agent.Agent", lambda *a: made.append(kind(*a)) or made[-1]
    )
    run_dir = new_run(config("rlquant", 58), root=tmp_path)
    run_search(run_dir, evaluator=SyntheticEvaluator(residual_net()))
    (agent,) = made
    n_agent = sum(row.origin == "agent" for row in read_rows(run_dir))
    if kind is Wide:
        assert agent.rounds == [0, 1, 2]
        assert n_agent == 3
    else:
        assert len(agent.rounds) > 5
        assert n_agent > 5
