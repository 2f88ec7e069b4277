"""`mcuq boards`: what can be measured on."""

from __future__ import annotations

from mcuq_lab.bench import ProbeInfo, find_probes, is_of, memory_map
from mcuq_lab.board import Board, board_ids, load_board
from mcuq_lab.cli.options import Json
from mcuq_lab.cli.output import command, emit, new_app, stdout_is_stderr

COLUMNS = (
    "id",
    "name",
    "core",
    "simulated",
    "probe_uid",
    "flash_bytes",
    "sram_bytes",
    "sysclk_hz",
)


app = new_app()


@app.command()
@command
def boards(as_json: Json = False) -> None:
    """Lists every board: simulated, and real where its probe is plugged in."""
    with stdout_is_stderr():
        real = [probe for probe in find_probes() if not probe.simulated]
        rows = [row for board_id in board_ids() for row in _rows(load_board(board_id), real)]
    emit(rows, as_json, COLUMNS)


def _rows(board: Board, real: list[ProbeInfo]) -> list[dict]:
    memory = memory_map(board)
    described = {
        "id": board.id,
        "name": board.name,
        "core": board.core,
        "pyocd_target": board.pyocd_target,
        "flash_bytes": memory.flash.length_bytes,
        "sram_bytes": memory.ram.length_bytes,
        "sysclk_hz": board.clock().sysclk_hz,
    }
    uids = [(True, board.simulated_uid)]
    uids += [(False, p.uid) for p in real if is_of(p, board)]
    return [described | {"simulated": sim, "probe_uid": uid} for sim, uid in uids]
