"""A simulated board gives right outputs, exact cycles, true high-water marks, and honest errors."""

import dataclasses

import numpy as np
import pytest

from mcuq_lab import nucleosim
from mcuq_lab.bench import flash
from mcuq_lab.bench import session as bench_session
from mcuq_lab.bench.firmware import build
from mcuq_lab.bench.mailbox import SIZE_BYTES
from mcuq_lab.bench.session import open_board
from mcuq_lab.board import load_board
from mcuq_lab.errors import BoardError, ConfigError, NumericsError
from mcuq_lab.nucleosim import Faults

BOARD = load_board("nucleo_f412zg")
UID = "sim:nucleo-f412zg:bench-tests"


@pytest.fixture(scope="module")
def session():
    with open_board(BOARD, probe_uid=UID) as session:
        yield session
    nucleosim.discard_board(UID)


@pytest.fixture
def inject():
    """Injects faults into the module's board, and mends it afterwards."""
    board = nucleosim.simulated_board(UID)
    yield lambda **faults: board.inject(Faults(**faults))
    board.inject(Faults())


def with_add(tiny, body):
    """The tiny network whose first layer begins with `body`."""
    add = tiny.texts["add"].replace("void layer_add(void)\n{", f"void layer_add(void)\n{{\n{body}")
    return tiny.make(add=add)


def runs_well(session, tiny):
    output = session.run(build(tiny.sources, BOARD), tiny.inputs)
    np.testing.assert_array_equal(output.outputs, tiny.expected(tiny.inputs))
    return output


def test_outputs_equal_numpy(session, tiny):
    runs_well(session, tiny)


def test_more_inputs_than_ram_holds(session, tiny):
    inputs = np.random.default_rng(2).integers(0, 256, (9000, 24), np.uint8)
    output = session.run(build(tiny.sources, BOARD), inputs)
    assert inputs.size + output.outputs.size > 256 * 1024
    np.testing.assert_array_equal(output.outputs, tiny.expected(inputs))
    assert output.cycles.shape == (9000,)


def test_cycles_are_repeatable_and_add_up(session, tiny):
    first = runs_well(session, tiny)
    again = runs_well(session, tiny)
    assert first.cycles.tolist() == again.cycles.tolist() == [first.cycles[0]] * 5
    assert first.layer_cycles == again.layer_cycles
    assert len(first.layer_cycles) == 2
    # The rest of the network is two calls, two comparisons and a frame.
    rest = int(first.cycles[0]) - sum(first.layer_cycles)
    assert 0 < rest < 60


def test_a_delay_shows_in_cycles_to_the_cycle(session, tiny):
    def cycles(nops):
        body = "    __asm volatile(" + '"nop\\n\\t"' * nops + '"nop.w");'
        return session.run(build(with_add(tiny, body), BOARD), tiny.inputs[:1])

    few, more = cycles(100), cycles(300)
    assert more.cycles[0] - few.cycles[0] == 200
    assert more.layer_cycles[0] - few.layer_cycles[0] == 200
    assert more.layer_cycles[1] == few.layer_cycles[1]


def test_an_empty_layer_costs_nothing(session, tiny):
    model = tiny.texts["model"].replace(
        "const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT] = {layer_add, layer_dot}",
        "static void layer_none(void) {}\n"
        "const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT] = {layer_none, layer_dot}",
    )
    with pytest.raises(NumericsError, match="two outputs for one input"):
        # The profile misses a layer, so its output differs: that is seen, too.
        session.run(build(tiny.make(model=model), BOARD), tiny.inputs[:1])
    model = model.replace("{layer_none, layer_dot}", "{layer_none, layer_add, layer_dot}")
    header = tiny.texts["header"].replace("LAYER_COUNT 2", "LAYER_COUNT 3")
    sources = tiny.make(model=model, header=header)
    sources = dataclasses.replace(sources, layers=(sources.layers[0], *sources.layers))
    output = session.run(build(sources, BOARD), tiny.inputs[:1])
    assert output.layer_cycles[0] == 0


def test_arena_high_water_is_the_highest_byte_written(session, tiny):
    # Outputs end at byte 56 of 64.
    assert runs_well(session, tiny).arena_touched_bytes == 56
    for paint in (0x00, 0xA5, 0x5A):
        body = f"    mcuq_arena[61] = 0x{paint:02X};"
        output = session.run(build(with_add(tiny, body), BOARD), tiny.inputs[:1])
        assert output.arena_touched_bytes == 62


def test_a_write_behind_the_arena_is_reported(session, tiny):
    body = "    uint8_t *volatile arena = mcuq_arena;\n    arena[64 + 5] = 1;"
    with pytest.raises(BoardError, match="6 bytes or more beyond its arena of 64") as error:
        session.run(build(with_add(tiny, body), BOARD), tiny.inputs[:1])
    assert error.value.status == "fault"
    runs_well(session, tiny)


def test_stack_high_water_follows_the_stack(session, tiny):
    def stack_bytes(size):
        body = f"    volatile uint8_t local[{size}];\n    local[0] = 1;\n    (void)local[0];"
        return session.run(build(with_add(tiny, body), BOARD), tiny.inputs[:1]).stack_bytes

    plain = runs_well(session, tiny).stack_bytes
    assert 0 < plain < 200
    assert stack_bytes(1000) - stack_bytes(200) == 800


def test_a_stack_overflow_is_called_by_its_name(session, tiny):
    body = (
        "    volatile uint8_t local[5000];\n"
        "    for (int i = 4999; i >= 0; --i) {\n        local[i] = 1;\n    }\n    (void)local[0];"
    )
    with pytest.raises(BoardError, match="stack overflow: more than its 4,096 bytes") as error:
        session.run(build(with_add(tiny, body), BOARD), tiny.inputs[:1])
    assert error.value.status == "fault"
    runs_well(session, tiny)


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("(void)*(volatile int *)0x60000000;", r"PRECISERR\), accessing 0x60000000"),
        ('__asm volatile("udf #0");', "undefined instruction"),
        ("((void (*)(void))0x08000000)();", "invalid state"),
        (
            '__asm volatile("ldrd r0, r1, [%0]" ::"r"(mcuq_arena + 1) : "r0", "r1");',
            "unaligned access",
        ),
    ],
)
def test_a_fault_is_decoded_with_function_and_line(session, tiny, statement, cause):
    with pytest.raises(BoardError, match=cause) as error:
        session.run(build(with_add(tiny, f"    {statement}"), BOARD), tiny.inputs[:1])
    assert error.value.status == "fault"
    if "0x08000000" not in statement:  # after that jump, the place is its target
        assert "layer_add (layer_add.c:5)" in str(error.value)
    runs_well(session, tiny)


def test_a_store_through_the_write_buffer_faults_near_its_place(session, tiny):
    body = "    *(volatile int *)0x60000000 = 1;"
    with pytest.raises(BoardError, match=r"only near \(IMPRECISERR\).*layer_add\.c"):
        session.run(build(with_add(tiny, body), BOARD), tiny.inputs[:1])


def test_a_hang_ends_with_its_place_and_the_next_run_works(session, tiny):
    body = "    while (*(volatile uint8_t *)(mcuq_arena + 60) != 1) {\n    }"
    with pytest.raises(BoardError, match=r"did not end in 0\.5 s.*layer_add\.c:5") as error:
        session.run(build(with_add(tiny, body), BOARD), tiny.inputs, inference_timeout_s=0.5)
    assert error.value.status == "timeout"
    runs_well(session, tiny)


def test_a_nearly_full_ram_still_measures(session, tiny):
    room = 2 * 4 + 20  # two counts, and less than one input
    arena_bytes = 256 * 1024 - BOARD.stack_bytes - 32 - SIZE_BYTES - room
    text = tiny.texts["header"].replace("ARENA_BYTES 64", f"ARENA_BYTES {arena_bytes}")
    sources = dataclasses.replace(tiny.make(header=text), arena_bytes=arena_bytes)
    output = session.run(build(sources, BOARD), tiny.inputs)
    np.testing.assert_array_equal(output.outputs, tiny.expected(tiny.inputs))
    plain = runs_well(session, tiny)
    assert output.arena_touched_bytes == plain.arena_touched_bytes
    assert output.cycles.tolist() == plain.cycles.tolist()


def test_only_what_changed_is_flashed(session, tiny):
    firmware = build(tiny.sources, BOARD)
    session.run(firmware, tiny.inputs)
    session.run(firmware, tiny.inputs)
    assert session.last.flash.bytes_written == session.last.flash.sectors_erased == 0
    assert session.last.flash_s < 0.001
    other = build(with_add(tiny, '    __asm volatile("nop");'), BOARD)
    session.run(other, tiny.inputs)
    assert session.last.flash.sectors_erased == 1


@pytest.mark.parametrize("symbol", ["layer_dot", "mcuq_serve"])
def test_a_flash_error_is_found_and_placed(session, tiny, monkeypatch, symbol):
    firmware = build(tiny.sources, BOARD)
    address = firmware.address(symbol) + 2
    (segment,) = firmware.image.segments
    data = bytearray(segment.data)
    data[address - segment.address] ^= 0x40

    def program_wrongly(session, _segments):
        return flash.program(session, [dataclasses.replace(segment, data=bytes(data))])

    session.run(build(with_add(tiny, '    __asm volatile("nop");'), BOARD), tiny.inputs)
    monkeypatch.setattr(bench_session, "program", program_wrongly)
    with pytest.raises(BoardError, match=rf"verify failed at 0x{address:08X}") as error:
        session.run(firmware, tiny.inputs)
    assert error.value.status == "probe_error"
    monkeypatch.undo()
    runs_well(session, tiny)


def test_a_worn_out_byte_of_flash_is_found(session, tiny, inject):
    firmware = build(tiny.sources, BOARD)
    (segment,) = firmware.image.segments
    address = firmware.address("layer_dot")
    while segment.data[address - segment.address] & 1:
        address += 1
    session.run(build(with_add(tiny, '    __asm volatile("nop");'), BOARD), tiny.inputs)
    inject(stuck_flash_address=address)
    with pytest.raises(BoardError, match=rf"verify failed at 0x{address:08X}"):
        session.run(firmware, tiny.inputs)
    inject()
    runs_well(session, tiny)


def test_a_reset_in_mid_run_is_seen(session, tiny, inject):
    runs_well(session, tiny)
    inject(brown_out_at_cycle=500)
    with pytest.raises(BoardError, match="was reset while it ran") as error:
        runs_well(session, tiny)
    assert error.value.status == "probe_error"
    inject()
    runs_well(session, tiny)


def test_a_transfer_fault_is_reported_and_survived(session, tiny, inject):
    runs_well(session, tiny)
    inject(transfer_fault_after=40, transfer_fault_count=20)
    with pytest.raises(BoardError, match="Could not run on the NUCLEO-F412ZG") as error:
        runs_well(session, tiny)
    assert error.value.status == "probe_error"
    inject()
    runs_well(session, tiny)


@pytest.mark.parametrize("after", [10, 60, 90, 120])
def test_a_transfer_fault_while_flashing_is_reported_and_survived(session, tiny, inject, after):
    session.run(build(with_add(tiny, '    __asm volatile("nop");'), BOARD), tiny.inputs)
    inject(transfer_fault_after=after, transfer_fault_count=20)
    with pytest.raises(BoardError, match="Could not flash the NUCLEO-F412ZG") as error:
        runs_well(session, tiny)
    assert error.value.status == "probe_error"
    inject()
    runs_well(session, tiny)


def test_an_unplugged_probe_is_reported_and_a_new_session_works(tiny):
    uid = UID + "-unplugged"
    firmware = build(tiny.sources, BOARD)
    board = nucleosim.simulated_board(uid)
    with open_board(BOARD, probe_uid=uid) as session:
        session.run(firmware, tiny.inputs)
        board.inject(Faults(unplugged=True))
        with pytest.raises(BoardError, match="Could not run on") as error:
            session.run(firmware, tiny.inputs)
    assert error.value.status == "probe_error"
    with pytest.raises(BoardError, match="does not answer"), open_board(BOARD, probe_uid=uid):
        pass
    board.inject(Faults())
    with open_board(BOARD, probe_uid=uid) as session:
        runs_well(session, tiny)
    nucleosim.discard_board(uid)


def test_without_a_profile_there_are_no_layer_cycles(session, tiny):
    whole = runs_well(session, tiny)
    output = session.run(build(tiny.sources, BOARD), tiny.inputs[:1], profile=False)
    assert output.layer_cycles == ()
    assert output.cycles.tolist() == whole.cycles.tolist()[:1]
    assert output.stack_bytes == whole.stack_bytes


def test_inputs_of_a_wrong_size_are_refused(session, tiny):
    with pytest.raises(NumericsError, match="One input has 12 bytes, the network takes 24"):
        session.run(build(tiny.sources, BOARD), np.zeros((1, 12), np.uint8))


def test_provenance_is_complete(session, tiny):
    bench = session.bench(build(tiny.sources, BOARD))
    assert bench.simulated
    assert bench.probe_uid == UID
    assert (bench.sysclk_hz, bench.flash_wait_states) == (16_000_000, 0)
    assert bench.compiler.startswith("arm-none-eabi-gcc 1")
    assert "-O3" in bench.flags
    assert "cortex" in bench.timing_model.lower()


def test_a_probe_serves_one_session_at_a_time(session):
    with pytest.raises(BoardError, match="in use"), open_board(BOARD, probe_uid=UID):
        pass


def test_the_fast_clock_is_set_and_reported(tiny):
    uid = UID + "-max"
    with open_board(BOARD, probe_uid=uid, clock="max") as session:
        firmware = build(tiny.sources, BOARD)
        output = session.run(firmware, tiny.inputs)
        np.testing.assert_array_equal(output.outputs, tiny.expected(tiny.inputs))
        bench = session.bench(firmware)
        assert (bench.sysclk_hz, bench.flash_wait_states) == (100_000_000, 3)
    nucleosim.discard_board(uid)


def test_a_clock_that_never_gets_ready_is_reported(tiny):
    clock = BOARD.clock("max")
    # The PLL without its switch.
    writes = tuple(
        dataclasses.replace(write, value=0) if write.wait_mask == 0x0200_0000 else write
        for write in clock.writes
    )
    broken = dataclasses.replace(BOARD, clocks=(dataclasses.replace(clock, writes=writes),))
    broken = dataclasses.replace(broken, clocks=(*broken.clocks, BOARD.clock("reset")))
    uid = UID + "-broken"
    with (
        open_board(broken, probe_uid=uid, clock="max") as session,
        pytest.raises(BoardError, match=r"Clock 'max'.*PLLRDY"),
    ):
        session.run(build(tiny.sources, broken), tiny.inputs)
    nucleosim.discard_board(uid)


def test_an_unknown_clock_is_refused():
    with pytest.raises(ConfigError, match="no clock 'turbo'"), open_board(BOARD, clock="turbo"):
        pass
