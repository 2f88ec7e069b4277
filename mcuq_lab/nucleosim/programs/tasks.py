"""What the programs are given and what they must give back, computed in plain Python."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from functools import cache

INPUT = 0x2000_0100
KEY = 0x2000_0400
OUTPUT = 0x2000_0800
TABLE = 0x2000_1000
SAMPLES = 0x2000_2000
LONG_INPUT = 0x2000_2000
LONG_OUTPUT = 0x2000_4000

_WORD = 0xFFFF_FFFF
_FIELD_25519 = 2**255 - 19


@dataclass(frozen=True)
class Task:
    """Arguments r0 to r3, contents of memory by address before, and those expected after."""

    arguments: tuple[int, ...]
    inputs: dict[int, bytes] = field(default_factory=dict)
    outputs: dict[int, bytes] = field(default_factory=dict)


def delay(turns: int) -> Task:
    """Count down from `turns`."""
    return Task((turns,))


def chacha(rounds: int) -> Task:
    """The permutation of ChaCha on sixteen words, without the sum at its end."""
    state = [(0x9E37_79B9 * (n + 1)) & _WORD for n in range(16)]
    after = list(state)
    for _ in range(rounds // 2):
        for a in range(4):
            quarter_round(after, a, 4 + a, 8 + a, 12 + a)
        for a in range(4):
            quarter_round(after, a, 4 + (a + 1) % 4, 8 + (a + 2) % 4, 12 + (a + 3) % 4)
    return Task((OUTPUT, INPUT), {INPUT: _words(state)}, {OUTPUT: _words(after)})


def quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    """RFC 8439, 2.1, on four words of a state."""
    for plus, other, xored, shift in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[plus] = (state[plus] + state[other]) & _WORD
        mixed = state[xored] ^ state[plus]
        state[xored] = (mixed << shift | mixed >> (32 - shift)) & _WORD


def fir() -> Task:
    """1000 samples through a filter of 128 taps, summed; arguments: samples, taps, out."""
    samples, taps = (
        [(n * 0x9E37 + seed) % 0x8000 - 0x4000 for n in range(count)]
        for count, seed in ((1000, 1), (128, 7))
    )
    total = sum(samples[n - i] * taps[i] for n in range(1000) for i in range(min(n + 1, 128)))
    return Task(
        (SAMPLES, INPUT, OUTPUT),
        {SAMPLES: _words(samples), INPUT: _words(taps)},
        {OUTPUT: _words([total >> 20])},
    )


def aes_encrypt() -> Task:
    """One block of AES-128 with expanded keys; arguments: keys, in, out, rounds, table in RAM."""
    keys, block = aes_round_keys(bytes(range(16))), bytes(range(0, 256, 17))
    return Task(
        (KEY, INPUT, OUTPUT, 10),
        {INPUT: block, KEY: keys, TABLE: aes_table()},
        {OUTPUT: aes_encrypted(keys, block)},
    )


def aes_blocks(turns: int) -> Task:
    """The same block `turns` times; arguments: keys, in, out, times, table in RAM."""
    one = aes_encrypt()
    return Task((KEY, INPUT, OUTPUT, turns), one.inputs, one.outputs)


def aes_key_schedule(table: int, first: int) -> Task:
    """Round keys of AES-128 from number `first` on; arguments: out, key, table of `aes_table`."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    return Task(
        (OUTPUT, KEY, table),
        {KEY: key, table: aes_table()},
        {OUTPUT: aes_round_keys(key)[16 * first :]},
    )


def aes_counter(table: int, turns: int) -> Task:
    """`turns` blocks in counter mode; arguments: counter, nonce and round keys; in, out, bytes."""
    keys = aes_round_keys(bytes(range(16)))
    nonce = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafb")
    text = bytes(7 * n & 0xFF for n in range(16 * turns))
    masks = b"".join(
        aes_encrypted(keys, counter.to_bytes(4, "little") + nonce) for counter in range(turns)
    )
    return Task(
        (KEY, LONG_INPUT, LONG_OUTPUT, len(text)),
        {KEY: bytes(4) + nonce + keys, LONG_INPUT: text, table: aes_table()},
        {LONG_OUTPUT: bytes(a ^ b for a, b in zip(text, masks, strict=True))},
    )


def crc32(turns: int) -> Task:
    """The CRC-32 of 1024 bytes, `turns` times; arguments: result, turns."""
    state, text = 0, bytearray()
    for _ in range(1024):
        state = (state * 1103515245 + 12345) & 0x7FFF_FFFF
        text.append(state >> 16 & 0xFF)
    return Task((OUTPUT, turns), {}, {OUTPUT: zlib.crc32(text).to_bytes(4, "little")})


def primes(turns: int) -> Task:
    """How many primes there are below the square of the 42nd; arguments: result, turns."""
    limit = 181 * 181
    sieve = bytearray([1]) * limit
    sieve[:2] = bytes(2)
    for n in range(2, 181):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return Task((OUTPUT, turns), {}, {OUTPUT: sum(sieve).to_bytes(4, "little")})


@cache
def _sbox() -> tuple[int, ...]:
    """FIPS 197, 5.1.1: inverse in GF(2^8), then an affine map."""
    powers = [1]
    for _ in range(254):
        powers.append(powers[-1] ^ _doubled(powers[-1]))
    found = [0x63]
    for value in range(1, 256):
        inverse = powers[-powers.index(value) % 255]
        twice = inverse * 0x101
        rotated = twice >> 4 ^ twice >> 5 ^ twice >> 6 ^ twice >> 7
        found.append(0x63 ^ inverse ^ rotated & 0xFF)
    return tuple(found)


def _doubled(value: int) -> int:
    return (value << 1) ^ (0x11B if value & 0x80 else 0)


def aes_table() -> bytes:
    """SubBytes and MixColumns in one table: bytes s, s, 3s, 2s of each word, from the lowest."""
    return b"".join(bytes((s, s, s ^ _doubled(s), _doubled(s))) for s in _sbox())


def aes_round_keys(key: bytes) -> bytes:
    """FIPS 197, 5.2, for AES-128."""
    words = [key[n : n + 4] for n in range(0, 16, 4)]
    constant = 1
    for n in range(4, 44):
        word = words[-1]
        if n % 4 == 0:
            word = bytes(_sbox()[byte] for byte in word[1:] + word[:1])
            word = bytes((word[0] ^ constant, *word[1:]))
            constant = _doubled(constant)
        words.append(bytes(a ^ b for a, b in zip(word, words[n - 4], strict=True)))
    return b"".join(words)


def aes_encrypted(keys: bytes, block: bytes) -> bytes:
    """FIPS 197, 5.1, with all round keys."""
    state = bytes(a ^ b for a, b in zip(block, keys[:16], strict=True))
    for number in range(1, 11):
        state = bytes(_sbox()[state[(n + 4 * (n % 4)) % 16]] for n in range(16))
        if number < 10:
            state = b"".join(_mixed(state[n : n + 4]) for n in range(0, 16, 4))
        state = bytes(
            a ^ b for a, b in zip(state, keys[16 * number : 16 * number + 16], strict=True)
        )
    return state


def _mixed(column: bytes) -> bytes:
    every = column[0] ^ column[1] ^ column[2] ^ column[3]
    return bytes(
        column[n] ^ every ^ _doubled(column[n] ^ column[(n + 1) % 4]) & 0xFF for n in range(4)
    )


def field_sum() -> Task:
    """a + b modulo 2^255 - 19, in eight words, not fully reduced."""
    a, b = _elements()
    folded = a + b
    top = folded >> 255
    return _field_task(a, b, (folded & (2**255 - 1)) + 19 * top)


def field_difference() -> Task:
    """a - b modulo 2^256 - 38, in eight words."""
    a, b = _elements()
    return _field_task(a, b, (a - b) % (2**256 - 38))


def _elements() -> tuple[int, int]:
    return pow(3, 201, _FIELD_25519), pow(5, 111, _FIELD_25519)


def _field_task(a: int, b: int, expected: int) -> Task:
    return Task(
        (OUTPUT, INPUT, INPUT + 32),
        {INPUT: a.to_bytes(32, "little") + b.to_bytes(32, "little")},
        {OUTPUT: expected.to_bytes(32, "little")},
    )


def _words(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *(value & _WORD for value in values))
