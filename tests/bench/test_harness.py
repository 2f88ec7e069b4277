"""The C of the harness: memory functions on this computer, the mailbox against its twin."""

import ctypes
import random
import subprocess

import pytest

from mcuq_lab.bench import mailbox
from mcuq_lab.bench.toolchain import find_host_compiler
from mcuq_lab.board import BOARDS_DIR

COMMON = BOARDS_DIR / "common"
FUNCTIONS = ("memcpy", "memmove", "memset", "memcmp")


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    library = tmp_path_factory.mktemp("memory") / "memory.so"
    names = [f"-D{name}=mcuq_{name}" for name in FUNCTIONS]
    command = [find_host_compiler().path, "-O3", "-shared", "-fPIC", *names]
    subprocess.run([*command, COMMON / "mcuq_memory.c", "-o", library], check=True)
    return ctypes.CDLL(str(library))


def cases():
    random.seed(5)
    for n in [*range(40), 63, 64, 65, 200]:
        yield n, random.randrange(8), random.randrange(8)


def address(buffer, offset):
    return ctypes.c_void_p(ctypes.addressof(buffer) + offset)


def test_memcpy_at_all_alignments(memory):
    for n, to, source in cases():
        data = random.randbytes(256)
        a, b = ctypes.create_string_buffer(256), ctypes.create_string_buffer(data, 256)
        memory.mcuq_memcpy(address(a, to), address(b, source), ctypes.c_size_t(n))
        assert a.raw == bytes(to) + data[source : source + n] + bytes(256 - to - n)


def test_memset_writes_its_range_only(memory):
    for n, to, _ in cases():
        a = ctypes.create_string_buffer(256)
        memory.mcuq_memset(address(a, to), 0x1C3, ctypes.c_size_t(n))
        assert a.raw == bytes(to) + b"\xc3" * n + bytes(256 - to - n)


def test_memcmp_orders_like_bytes(memory):
    for n, _, _ in cases():
        one = random.randbytes(n)
        two = bytearray(one)
        if n:
            two[random.randrange(n)] ^= random.randrange(256)
        got = memory.mcuq_memcmp(one, bytes(two), ctypes.c_size_t(n))
        assert (got > 0) - (got < 0) == (one > two) - (one < two)


def test_mailbox_has_the_same_layout_on_both_sides(tmp_path):
    fields = (
        *("magic", "version", "command", "count", "inputs", "outputs", "cycles", "status"),
        *("arena_touched_bytes", "stack_bytes", "overhead_cycles", "checksum[0]", "checksum[1]"),
        *("cfsr", "hfsr", "mmfar", "bfar", "sp", "pc", "lr", "xpsr"),
    )
    source = tmp_path / "print.c"
    source.write_text(
        '#include <stdio.h>\n#include "mcuq_mailbox.h"\nint main(void)\n{\n'
        "    struct mcuq_mailbox box;\n"
        + "".join(f"    box.{field} = {index + 100};\n" for index, field in enumerate(fields))
        + "    fwrite(&box, sizeof box, 1, stdout);\n"
        '    fprintf(stderr, "%u %u %u %u %u %u %u %u %u", MCUQ_MAGIC, MCUQ_VERSION,\n'
        "            MCUQ_CHECKSUM_FACTOR, MCUQ_COMMAND_RUN, MCUQ_COMMAND_PROFILE,\n"
        "            MCUQ_COMMAND_CHECK, MCUQ_STATUS_DONE, MCUQ_STATUS_REFUSED,\n"
        "            MCUQ_STATUS_FAULT);\n    return 0;\n}\n"
    )
    program = tmp_path / "print"
    compiler = find_host_compiler().path
    subprocess.run([compiler, f"-I{COMMON}", source, "-o", program], check=True)
    said = subprocess.run([program], capture_output=True, check=True)
    assert len(said.stdout) == mailbox.SIZE_BYTES
    reply = mailbox.unpack_reply(said.stdout)
    assert (reply.status, reply.arena_touched_bytes, reply.stack_bytes) == (107, 108, 109)
    assert (reply.overhead_cycles, reply.checksum) == (110, 111 + (112 << 32))
    registers = (getattr(reply.fault, field) for field in fields[13:])
    assert list(registers) == list(range(113, 121))
    request = mailbox.Request(mailbox.Command.RUN, 103, 104, 105, 106).pack()
    assert request[12:28] == said.stdout[12:28]
    constants = [int(text) for text in said.stderr.split()]
    assert constants == [
        *(mailbox.MAGIC, mailbox.VERSION, mailbox.CHECKSUM_FACTOR),
        *mailbox.Command,
        *(mailbox.Status.DONE, mailbox.Status.REFUSED, mailbox.Status.FAULT),
    ]


def test_memmove_with_overlap_in_both_directions(memory):
    for n, to, source in cases():
        data = random.randbytes(256)
        a = ctypes.create_string_buffer(data, 256)
        memory.mcuq_memmove(address(a, to), address(a, source), ctypes.c_size_t(n))
        assert a.raw == data[:to] + data[source : source + n] + data[to + n :]
