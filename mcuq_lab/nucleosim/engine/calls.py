"""Who called whom, compiled: a shadow of the call stack, and a tree with a node for each path.

A node is a function as called along one path of calls, named by the address that was called; it
holds the calls and the cycles spent in it, those of its callees apart. What a block's end does to
the stack is read off its last instruction (`end_of`). Memory that the firmware keeps of its own
calls is not looked at: a return is a jump to an address that some call has left behind.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import capstone
import numpy as np
from capstone import arm

from mcuq_lab.nucleosim.engine.compiled import compiled
from mcuq_lab.nucleosim.thumb import instructions

# What a block that ends in a jump does to the stack of calls.
END_PLAIN = 0
END_CALL = 1  # BL, BLX: its end is where the callee returns to
END_INDIRECT = 2  # a return, or a jump to wherever a register or the memory says
END_TAIL_CALL = 3  # a direct branch to the entry of a function

# Header, stack of frames, nodes, entries of functions, in one array.
_CURRENT = 0  # node
_SINCE = 1  # cycles of the machine when it became the current one
_DEPTH = 2
_NODES = 3
_ENTRIES = 4
_HEADER_WORDS = 8

_RETURN = 0  # address, or _EXCEPTION
_CALLER = 1  # node
_FRAME_WORDS = 2
_FRAMES = 1024
_EXCEPTION = -1

_ADDRESS = 0
_PARENT = 1
_CHILD = 2  # the one met last; the others follow it as siblings
_SIBLING = 3
_CALLS = 4
_CYCLES = 5
_NODE_WORDS = 6
_MOST_NODES = 1 << 14
_NO_NODE = -1

_FIRST_NODE = _HEADER_WORDS + _FRAMES * _FRAME_WORDS
_FIRST_ENTRY = _FIRST_NODE + _MOST_NODES * _NODE_WORDS

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_DECODER.detail = True


@compiled
def _go_to(tree, node, cycles):
    """Make a node the current one; the one before gets its cycles."""
    tree[_FIRST_NODE + tree[_CURRENT] * _NODE_WORDS + _CYCLES] += cycles - tree[_SINCE]
    tree[_SINCE] = cycles
    tree[_CURRENT] = node


@compiled
def _call(tree, address, cycles):
    """Go to the child of the current node for an address. A full tree lets callers answer."""
    parent = tree[_CURRENT]
    children = _FIRST_NODE + parent * _NODE_WORDS + _CHILD
    node = tree[children]
    while node != _NO_NODE and tree[_FIRST_NODE + node * _NODE_WORDS + _ADDRESS] != address:
        node = tree[_FIRST_NODE + node * _NODE_WORDS + _SIBLING]
    if node == _NO_NODE:
        if tree[_NODES] == _MOST_NODES:
            return
        node = tree[_NODES]
        tree[_NODES] += 1
        base = _FIRST_NODE + node * _NODE_WORDS
        tree[base + _ADDRESS] = address
        tree[base + _PARENT] = parent
        tree[base + _CHILD] = _NO_NODE
        tree[base + _SIBLING] = tree[children]
        tree[children] = node
    tree[_FIRST_NODE + node * _NODE_WORDS + _CALLS] += 1
    _go_to(tree, node, cycles)


@compiled
def _push(tree, return_address):
    """Remember where the current node goes on. Recursion deeper than the stack is not followed."""
    if tree[_DEPTH] < _FRAMES:
        base = _HEADER_WORDS + tree[_DEPTH] * _FRAME_WORDS
        tree[base + _RETURN] = return_address
        tree[base + _CALLER] = tree[_CURRENT]
        tree[_DEPTH] += 1


@compiled
def _is_entry(tree, address):
    low, high = 0, tree[_ENTRIES]
    while low < high:
        middle = (low + high) // 2
        if tree[_FIRST_ENTRY + middle] < address:
            low = middle + 1
        else:
            high = middle
    return low < tree[_ENTRIES] and tree[_FIRST_ENTRY + low] == address


@compiled
def _frame_of(tree, return_address):
    """Highest frame with a return address, of those above the last exception; -1 if none."""
    for frame in range(tree[_DEPTH] - 1, -1, -1):
        found = tree[_HEADER_WORDS + frame * _FRAME_WORDS + _RETURN]
        if found == return_address:
            return frame
        if found == _EXCEPTION:
            return -1
    return -1


@compiled
def _pop(tree, frame, cycles):
    """Return to the node that a frame remembers."""
    tree[_DEPTH] = frame
    _go_to(tree, tree[_HEADER_WORDS + frame * _FRAME_WORDS + _CALLER], cycles)


@compiled
def follow(tree, end, end_address, target, cycles):
    """A block that ends at an address in a way (END_...) has been left for `target`."""
    if end == END_CALL:
        _push(tree, end_address)
        _call(tree, target, cycles)
    elif end == END_TAIL_CALL:
        _call(tree, target, cycles)
    elif end == END_INDIRECT:
        top = tree[_HEADER_WORDS + (tree[_DEPTH] - 1) * _FRAME_WORDS + _RETURN]
        if tree[_DEPTH] > 0 and top == target:
            _pop(tree, tree[_DEPTH] - 1, cycles)
        elif _is_entry(tree, target):
            _call(tree, target, cycles)
        else:
            frame = _frame_of(tree, target)
            if frame >= 0:
                _pop(tree, frame, cycles)


@dataclass(frozen=True)
class CallNode:
    """A function along one path of calls.

    Attributes:
        address: what was called; of the root, where the program counter was at the beginning.
        parent: index of the caller's node; None for the root.
        calls: by this path; 0 for the root.
        cycles: spent in it, without callees.
    """

    address: int
    parent: int | None
    calls: int
    cycles: int


class CallTree:
    """The tree that the block hook grows, as Python reads it and helps where no hook is called."""

    def __init__(self, entries: Collection[int], address: int, cycles: int) -> None:
        """A root at an address; `entries` are the functions that jumps may go to as calls."""
        self._entries = frozenset(entries)
        self._words = np.zeros(_FIRST_ENTRY + len(self._entries), dtype=np.int64)
        self._words[[_SINCE, _NODES, _ENTRIES]] = cycles, 1, len(self._entries)
        self._words[_FIRST_ENTRY:] = sorted(self._entries)
        self._words[_FIRST_NODE : _FIRST_NODE + _NODE_WORDS] = (
            address,
            _NO_NODE,
            _NO_NODE,
            _NO_NODE,
            0,
            0,
        )

    @property
    def host_address(self) -> int:
        """Where the hook finds it."""
        return self._words.ctypes.data

    def end_of(self, address: int, code: bytes) -> int:
        """Which END_ a block ends in."""
        last = list(instructions(code))[-1:]
        if not last:
            return END_PLAIN
        at = last[0].offset
        decoded = next(_DECODER.disasm(code[at:], address + at, 1), None)
        if decoded is None:
            return END_PLAIN
        if decoded.id in (arm.ARM_INS_BL, arm.ARM_INS_BLX):
            return END_CALL
        if decoded.id == arm.ARM_INS_B:
            return END_TAIL_CALL if decoded.operands[-1].imm in self._entries else END_PLAIN
        if decoded.id in (arm.ARM_INS_TBB, arm.ARM_INS_TBH):
            return END_PLAIN
        writes_pc = arm.ARM_REG_PC in decoded.regs_access()[1]
        return END_INDIRECT if writes_pc or decoded.id == arm.ARM_INS_BX else END_PLAIN

    def follow(self, end: int, end_address: int, target: int, cycles: int) -> None:
        """A block has been left for `target`, unseen by the hook."""
        follow(self._words, end, end_address, target, cycles)

    def interrupt(self, handler: int, cycles: int) -> None:
        """An exception is taken."""
        _push(self._words, _EXCEPTION)
        _call(self._words, handler, cycles)

    def resume(self, cycles: int) -> None:
        """An exception returns; nothing if it was taken before the beginning."""
        frame = _frame_of(self._words, _EXCEPTION)
        if frame >= 0:
            _pop(self._words, frame, cycles)

    def restart(self, cycles: int) -> None:
        """A reset: nothing is called any more."""
        if self._words[_DEPTH]:
            self._words[_DEPTH] = 0
        _go_to(self._words, 0, cycles)

    def skip(self, cycles: int) -> None:
        """Cycles have passed that belong to no function."""
        self._words[_SINCE] += cycles

    def nodes(self, cycles: int) -> tuple[CallNode, ...]:
        """The tree as it is now, callers before their callees; the first is the root."""
        _go_to(self._words, int(self._words[_CURRENT]), cycles)
        count = int(self._words[_NODES])
        words = self._words[_FIRST_NODE : _FIRST_NODE + count * _NODE_WORDS]
        return tuple(
            CallNode(
                node[_ADDRESS],
                None if node[_PARENT] == _NO_NODE else node[_PARENT],
                node[_CALLS],
                node[_CYCLES],
            )
            for node in words.reshape(count, _NODE_WORDS).tolist()
        )
