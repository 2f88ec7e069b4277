"""What the simulated boards can be trusted with, and how fast they are: one table of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mcuq_lab.bench import build, open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.layer_grammar import layer_network
from mcuq_lab.nucleosim import discard_board, simulated_board
from mcuq_lab.nucleosim.benchmark import flash_200kb_s, session_open_s
from mcuq_lab.nucleosim.programs import ProgramRow, program_rows
from mcuq_lab.nucleosim.speed import Speed, function_speed
from mcuq_lab.nucleosim.timing import BenchmarkRow, benchmark_rows
from mcuq_lab.policy import Policy
from mcuq_lab.target import Target

KERNEL = "c3_32x16_16"


@dataclass(frozen=True)
class SpeedRow:
    """Speed of one convolution on one simulated board at one clock.

    Attributes:
        mips: millions of instructions a second of this computer, with the cycle model.
        untimed_mips: the same instructions in the emulator alone.
    """

    kernel: str
    policy: str
    engine: str
    board: str
    clock: str
    instructions: int
    cycles: int
    mips: float
    untimed_mips: float


@dataclass(frozen=True)
class SimulatorBenchmark:
    """Speed in this process, and accuracy against published counts."""

    speeds: tuple[SpeedRow, ...]
    session_open_s: float
    flash_200kb_s: float
    rules: tuple[BenchmarkRow, ...]
    programs: tuple[ProgramRow, ...]

    def slowest(self, engine: str, board: str, clock: str = "reset") -> SpeedRow:
        """The kernel of an engine on which a board at a clock is slowest."""
        wanted = (engine, board, clock)
        rows = [row for row in self.speeds if (row.engine, row.board, row.clock) == wanted]
        return min(rows, key=lambda row: row.mips)


# Board and clock of each speed; at the maximum clock flash waits and its caches are modelled.
SETTINGS = (
    ("nucleo_f412zg", "reset"),
    ("nucleo_f412zg", "max"),
    ("nucleo_f767zi", "reset"),
    ("nucleo_f767zi", "max"),
)
ENGINES = (("liteengine", "w4a4"), ("liteengine", "w8a8"), ("cmsis_nn", "w8a8"))


def bench_simulator() -> SimulatorBenchmark:
    """All of it; minutes.

    Raises:
        McuqError: what building or running the kernels raises.
    """
    return SimulatorBenchmark(
        speeds=tuple(bench_speed()),
        session_open_s=session_open_s(),
        flash_200kb_s=flash_200kb_s(),
        rules=benchmark_rows(),
        programs=program_rows(),
    )


def bench_speed() -> Iterator[SpeedRow]:
    """A row for each kernel, board and clock, as they are measured."""
    for board, clock in SETTINGS:
        for engine, policy in ENGINES:
            speed = _kernel_speed(board, clock, engine, policy)
            yield SpeedRow(
                kernel=KERNEL,
                policy=policy,
                engine=engine,
                board=board,
                clock=clock,
                instructions=speed.instructions,
                cycles=speed.cycles,
                mips=speed.mips,
                untimed_mips=speed.untimed_mips,
            )


def _kernel_speed(board_id: str, clock: str, engine: str, policy: str) -> Speed:
    """The network of one convolution: run once as it is measured, then called over and over."""
    board = load_board(board_id)
    network = layer_network(KERNEL, Policy.parse(policy, 1).layers[0])
    firmware = build(engine_named(engine).generate(network, Target.of(board)), board)
    uid = f"{board.simulated_uid}:speed"
    try:
        with open_board(board, probe_uid=uid, clock=clock) as session:
            # Any bytes will do: the time of these kernels does not depend on them.
            session.run(
                firmware, np.zeros((1, firmware.model.input_bytes), np.uint8), profile=False
            )
            arena = firmware.address("mcuq_arena")
            places = (arena + firmware.model.input_offset, arena + firmware.model.output_offset)
            return function_speed(simulated_board(uid), firmware.address("mcuq_invoke"), places)
    finally:
        discard_board(uid)
