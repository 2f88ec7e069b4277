"""The allocator's tuning must never be in the way on another C library."""

import ctypes

import pytest

from mcuq_lab.models import allocator


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")


def test_settings_reach_glibc(monkeypatch):
    calls = []

    class Glibc:
        @staticmethod
        def mallopt(parameter, value):
            calls.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Glibc)
    assert allocator.tune_allocator()
    # malloc.h: M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD -1, M_TOP_PAD -2; int is 32 bits wide.
    assert dict(calls).keys() == {-3, -1, -2}
    assert all(0 < value < 2**31 for _, value in calls)


def test_nothing_happens_elsewhere(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not allocator.tune_allocator()
