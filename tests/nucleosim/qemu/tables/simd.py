"""Parallel addition and subtraction of bytes and halfwords, and the selection by its flags."""

from tests.nucleosim.qemu.template import plain

SIMD = plain(
    "(s|u|q|uq|sh|uh)(add8|sub8|add16|sub16|asx|sax) <d>, <n>, <n>",
    "sel <d>, <n>, <n>",
)
