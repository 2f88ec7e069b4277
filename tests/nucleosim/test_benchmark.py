"""The benchmark does what it says it times."""

from pyocd.core.session import Session
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim import benchmark, known_ids


def test_a_session_is_opened_on_a_new_board_each_time(monkeypatch):
    opened = []
    open_session = Session.open

    def note(session):
        opened.append(session.probe.unique_id)
        open_session(session)

    monkeypatch.setattr(Session, "open", note)
    assert benchmark.session_open_s(repetitions=2) > 0
    assert len(set(opened)) == 2
    assert not set(opened) & set(known_ids())


def test_200_kb_are_programmed(monkeypatch):
    programmed = []
    program = FlashLoader.program_binary_data

    def note(session, address, data):
        program(session, address, data)
        programmed.append(bytes(session.target.read_memory_block8(address, len(data))) == data)

    monkeypatch.setattr(FlashLoader, "program_binary_data", note)
    assert benchmark.flash_200kb_s(repetitions=1) > 0
    assert programmed == [True]
    assert benchmark.FLASH_BYTES == 204_800
