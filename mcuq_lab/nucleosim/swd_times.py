"""How long an ST-LINK/V2-1 takes for an access over SWD. Pure arithmetic, no state.

Three parts: the bits on the wire, what the probe's firmware does between two packets, and USB.

Sources and assumptions:

- **Packets** (ARM IHI 0031, chapter B4): request 8 bits, turnaround 1, acknowledge 3, data 32,
  parity 1, and one further turnaround, in either direction: 46 bits. WAIT ends it after the
  acknowledge.
- **Blocks**: CSW and TAR are written, then DRW is accessed once a word. Reads are posted, so the
  last value comes by reading RDBUFF. TAR is sure to count by itself within 1 KB only (chapter C2:
  bits 9..0), then it is written anew.
- **Commands**: one access to memory is the command with its data and one for the status, as pyOCD
  sends them; at most 6,144 bytes a command, or 64 where a size or an address is not a multiple of
  4, which goes byte by byte. An access to a register is one command.
- **USB**: a full-speed device. 64-byte packets, at most 19 in a frame of 1 ms (USB 2.0, 5.8.4).
  Round trip of a command 0.28 ms: rgrr/yapicoprobe issue 108 gives 8,587 bytes/s for single-word
  reads by a full-speed bulk device at 1 MHz, which is 0.47 ms, less four packets.
- **Firmware**: 5.5 us between packets of a block, which makes the model meet 105 KiB/s at 1.8 MHz
  (an OpenOCD `dump_image` of 1 MB, firmware V2J39S7, in commands of 1 KB).

One measurement fits by construction, and another (an older clone, also 1.8 MHz) reached half of it:
take the result as right within a factor of two.
"""

from __future__ import annotations

PACKET_BITS = 46
WAIT_BITS = 13

COMMAND_S = 0.28e-3
USB_BYTES_PER_S = 19 * 64 / 1e-3
FIRMWARE_S = 5.5e-6

TAR_BLOCK_BYTES = 1024
MOST_BYTES = 6144

# What an ST-LINK/V2-1 can do; pyOCD asks for the fastest that is not above the frequency wanted.
STLINK_STEPS_HZ = (
    4_600_000,
    1_800_000,
    1_200_000,
    950_000,
    650_000,
    480_000,
    400_000,
    360_000,
    240_000,
    150_000,
    125_000,
    100_000,
)


def stlink_step_hz(wanted_hz: float) -> int:
    """The clock that an ST-LINK/V2-1 sets when `wanted_hz` is asked for."""
    return next((step for step in STLINK_STEPS_HZ if step <= wanted_hz), STLINK_STEPS_HZ[-1])


def memory_s(
    frequency_hz: int, address: int, size_bytes: int, most_bytes: int = MOST_BYTES
) -> float:
    """Seconds of an access to `size_bytes` of memory.

    Args:
        frequency_hz: clock on the wire.
        address: where it starts.
        size_bytes: its length.
        most_bytes: of one command that moves words.
    """
    head = min(-address % 4, size_bytes)
    words, tail = divmod(size_bytes - head, 4)
    singles = [size for size in (head, tail) if size]
    commands = len(singles) + -(-4 * words // most_bytes)
    blocks = len(singles)
    if words:
        first = (address + head) // TAR_BLOCK_BYTES
        last = (address + head + 4 * words - 1) // TAR_BLOCK_BYTES
        blocks += max(last - first + 1, -(-4 * words // most_bytes))
    data_packets = words + sum(singles)
    # Each command writes CSW and ends with RDBUFF; each block writes TAR.
    packets = data_packets + 2 * commands + blocks
    return (
        2 * commands * COMMAND_S
        + size_bytes / USB_BYTES_PER_S
        + packets * (PACKET_BITS / frequency_hz + FIRMWARE_S)
    )


def register_s(frequency_hz: int, is_debug_port: bool) -> float:
    """Seconds of an access to one register; one of an access port also takes SELECT and RDBUFF."""
    packets = 1 if is_debug_port else 3
    return COMMAND_S + packets * (PACKET_BITS / frequency_hz + FIRMWARE_S)


def wait_s(frequency_hz: int) -> float:
    """Seconds of an access that is answered with WAIT."""
    return WAIT_BITS / frequency_hz + FIRMWARE_S
