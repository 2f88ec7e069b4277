"""gdb steps through a generated kernel on the simulated board, and nothing changes by that."""

from __future__ import annotations

import itertools
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mcuq_lab import nucleosim
from mcuq_lab.bench import BuildFlags, build
from mcuq_lab.bench.firmware import Firmware
from mcuq_lab.bench.flash import program
from mcuq_lab.bench.mailbox import SYMBOL, Command, Request
from mcuq_lab.bench.probe import open_session
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.layer_grammar import layer_network
from mcuq_lab.policy import LayerBits
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.storage import pack_batch, unpack_batch
from mcuq_lab.target import DEFAULT_TARGET

pytestmark = pytest.mark.slow

BOARD = load_board("nucleo_f412zg")
UID = f"{BOARD.simulated_uid}:stepped"
NAME = "c3_8x4_4"
STEPS = 150
CYCCNT = 0xE0001004

_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(\S+)(?:\t(\S.*))?$")


@dataclass(frozen=True)
class Case:
    """A network of one layer, its image, and two inputs where the firmware looks for them.

    Attributes:
        stored: the inputs as bytes (2, input bytes).
        expected: outputs of the integer reference.
        cycles_at, inputs_at, outputs_at: addresses in RAM.
    """

    firmware: Firmware
    network: QuantGraph
    stored: np.ndarray
    expected: np.ndarray
    cycles_at: int
    inputs_at: int
    outputs_at: int

    @property
    def request(self) -> bytes:
        """The mailbox that asks for both inferences."""
        return Request(Command.RUN, 2, self.inputs_at, self.outputs_at, self.cycles_at).pack()


@pytest.fixture(scope="module")
def case() -> Case:
    if shutil.which("gdb-multiarch") is None:
        pytest.skip("no gdb for Arm on PATH: install gdb-multiarch")
    engine = engine_named("liteengine")
    network = layer_network(NAME, LayerBits(4, 4))
    firmware = build(
        engine.generate(network, DEFAULT_TARGET), BOARD, flags=BuildFlags(debug=("-g",))
    )
    inputs = np.random.default_rng(3).integers(0, 16, (2, 8, 8, 4), np.uint8)
    stored = pack_batch(inputs, network.input)
    start = firmware.address("mcuq_free_start")
    inputs_at = start + 2 * 4
    return Case(
        firmware=firmware,
        network=network,
        stored=stored,
        expected=engine.reference(network, inputs),
        cycles_at=start,
        inputs_at=inputs_at,
        outputs_at=inputs_at + stored.size,
    )


@dataclass(frozen=True)
class Whole:
    """What an uninterrupted run leaves: cycles of each inference, CYCCNT at the end."""

    cycles: list[int]
    cyccnt: int


@pytest.fixture(scope="module")
def whole(case) -> Iterator[Whole]:
    uid = f"{BOARD.simulated_uid}:whole"
    with open_session(BOARD, uid) as session:
        program(session, case.firmware.image.segments)
        target = session.target
        target.reset_and_halt()
        target.write_memory_block8(case.firmware.address(SYMBOL), case.request)
        target.write_memory_block8(case.inputs_at, case.stored.tobytes())
        target.resume()
        while not target.is_halted():
            pass
        yield Whole(list(target.read_memory_block32(case.cycles_at, 2)), target.read32(CYCCNT))
    nucleosim.discard_board(uid)


@pytest.fixture
def gdb(case, tmp_path):
    """Runs commands of gdb on a board that pyOCD's server holds; returns what gdb printed."""
    elf = tmp_path / "image.elf"
    elf.write_bytes(case.firmware.elf)
    port = _free_port()
    command = [sys.executable, "-m", "pyocd", "gdbserver", "-t", BOARD.pyocd_target, "--uid", UID]
    command += ["--no-config", "--port", str(port), "--telnet-port", str(_free_port())]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    )

    def run(commands: list[str]) -> str:
        started = ["set confirm off", "set pagination off", "set mem inaccessible-by-default off"]
        started += [f"target remote 127.0.0.1:{port}", "monitor reset halt", "load"]
        script = tmp_path / "commands.gdb"
        script.write_text("\n".join([*started, "monitor reset halt", *commands, "detach"]) + "\n")
        session = subprocess.run(
            ["gdb-multiarch", "-batch", "-nx", "-x", str(script), str(elf)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd=tmp_path,
        )
        assert session.returncode == 0, session.stdout + session.stderr
        return session.stdout

    try:
        lines = []
        for line in server.stdout:
            lines.append(line)
            if f"listening on port {port}" in line:
                break
        else:
            pytest.fail("".join(lines))
        yield run
    finally:
        server.terminate()
        server.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _functions(firmware: Firmware, pattern: str) -> list[str]:
    return sorted(name for name in firmware.image.symbols if re.fullmatch(pattern, name))


@dataclass(frozen=True)
class Instruction:
    """One line of the disassembly; `target` of a branch to a fixed address."""

    size_bytes: int
    mnemonic: str
    target: int | None

    def may_go_to(self, address: int, next_address: int) -> bool:
        """Whether `address` can follow this instruction."""
        if self.target is not None:
            always = self.mnemonic in ("b", "b.n", "b.w", "bl")
            return address == self.target or (not always and address == next_address)
        if self.mnemonic.startswith(("bx", "blx", "pop", "ldmia")) and address != next_address:
            return True
        return address == next_address


def _disassembly(firmware: Firmware, directory: Path) -> dict[int, Instruction]:
    elf = directory / "disassembled.elf"
    elf.write_bytes(firmware.elf)
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", str(elf)], capture_output=True, text=True, check=True
    ).stdout
    instructions = {}
    for line in listing.splitlines():
        if match := _INSTRUCTION.match(line):
            address, code, mnemonic, operands = match.groups()
            target = None
            if mnemonic.startswith(("b", "cb")) and not mnemonic.startswith(("bx", "blx", "bic")):
                hit = re.search(r"(?:^|, )([0-9a-f]{6,8}) <", operands or "")
                target = int(hit[1], 16) if hit else None
            size = len(code.replace(" ", "")) // 2
            instructions[int(address, 16)] = Instruction(size, mnemonic, target)
    return instructions


def test_stepping_through_a_kernel(case, whole, gdb, tmp_path):
    (layer,) = _functions(case.firmware, rf"layer_00_{NAME}")
    (kernel,) = _functions(case.firmware, r"le_row_tile_[a-z0-9]+_[a-z0-9]+_[a-z0-9]+")
    (tmp_path / "request.bin").write_bytes(case.request)
    (tmp_path / "inputs.bin").write_bytes(case.stored.tobytes())
    arena, model = case.firmware.address("mcuq_arena"), case.firmware.model
    input_at = arena + model.input_offset
    outputs_end = case.outputs_at + 2 * model.output_bytes
    printed = gdb(
        [
            f"restore request.bin binary {case.firmware.address(SYMBOL):#x}",
            f"restore inputs.bin binary {case.inputs_at:#x}",
            f"break {layer}",
            "continue",
            f"dump binary memory arena.bin {input_at:#x} {input_at + model.input_bytes:#x}",
            f"x/8xb {input_at:#x}",
            "info registers",
            f"tbreak *{kernel}",
            "continue",
            'printf "step %#x\\n", $pc',
            "set $step = 0",
            f"while $step < {STEPS}",
            "stepi",
            'printf "step %#x\\n", $pc',
            "set $step = $step + 1",
            "end",
            "continue",  # to the layer of the second inference
            "finish",
            "info symbol $pc",
            "delete",
            "continue",
            'printf "stopped %#x\\n", $pc',
            f"dump binary memory outputs.bin {case.outputs_at:#x} {outputs_end:#x}",
            f'printf "cycles %u %u\\n", *(unsigned*){case.cycles_at:#x}, '
            f"*(unsigned*){case.cycles_at + 4:#x}",
            f'printf "cyccnt %u\\n", *(unsigned*){CYCCNT:#x}',
        ]
    )
    # The layer was reached with its input in its slot, and its argument registers say where.
    assert printed.count(f"{layer} (") >= 2, printed
    assert (tmp_path / "arena.bin").read_bytes() == case.stored[0].tobytes()
    shown = [int(byte, 16) for byte in re.findall(r"\t0x([0-9a-f]{2})\b", printed)[:8]]
    assert shown == case.stored[0, :8].tolist()
    registers = dict(re.findall(r"^(\w+) +(0x[0-9a-f]+) ", printed, re.MULTILINE))
    assert int(registers["r0"], 16) == input_at
    assert int(registers["pc"], 16) == case.firmware.address(layer)

    # Every step goes to where the disassembly says that it can go.
    places = [int(place, 16) for place in re.findall(r"^step (0x[0-9a-f]+)$", printed, re.M)]
    assert len(places) == STEPS + 1
    assert places[0] == case.firmware.address(kernel)
    code = _disassembly(case.firmware, tmp_path)
    for place, following in itertools.pairwise(places):
        instruction = code[place]
        assert instruction.may_go_to(following, place + instruction.size_bytes), hex(place)
    assert sum(code[place].mnemonic == "smlal" for place in places) > STEPS // 4

    # `finish` came out of the layer, and the run ended where it should.
    assert re.search(r"^mcuq_invoke \+ \d+ in section \.text$", printed, re.MULTILINE), printed
    assert f"stopped {case.firmware.address('mcuq_stopped'):#x}" in printed

    outputs = np.frombuffer((tmp_path / "outputs.bin").read_bytes(), np.uint8).reshape(2, -1)
    np.testing.assert_array_equal(unpack_batch(outputs, case.network.output), case.expected)
    cycles = [int(count) for count in re.search(r"cycles (\d+) (\d+)", printed).groups()]
    assert cycles == whole.cycles
    assert int(re.search(r"cyccnt (\d+)", printed)[1]) == whole.cyccnt
