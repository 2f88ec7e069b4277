"""One choice for all operators together: cycles, and flash, where a shared kernel counts once.

The fastest kernel of each operator alone may mean a kernel for each. So flash has a price in
cycles, and the choice with the lowest sum of both is searched: from the fastest kernels on, by
moves of one operator to another kernel, and of all operators at once that a kernel can serve or
that use it now, until no move pays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import inf
from operator import or_

from mcuq_lab.liteengine.code_size import code_bytes
from mcuq_lab.liteengine.lowering import Lowered

CALL_BYTES = 50
"""Code of an operator beside its kernel: its call with the addresses of its tensors, and its entry
in the table of layers."""

Choice = tuple[int, ...]


@dataclass(frozen=True)
class Option:
    """One way to compute one operator.

    Attributes:
        kernel: name of its kernel.
        cycles: of one call.
        constants_bytes: flash that only this operator uses.
        files: the kernel's files, as a set of bits (see `SharedChoice`).
    """

    kernel: str
    cycles: float
    constants_bytes: int
    files: int


class SharedChoice:
    """The ways of all operators, and what a choice among them costs.

    Args:
        options: the ways of each operator, at least one.
        file_bytes: code of each file, in the order of the bits that stand for files.
        known: bytes of sets of files, kept by and for all choices among the same files.
    """

    def __init__(
        self,
        options: Sequence[Sequence[Option]],
        file_bytes: Sequence[int],
        known: dict[int, int] | None = None,
    ) -> None:
        self.options, self.file_bytes = tuple(map(tuple, options)), tuple(file_bytes)
        self._known = {} if known is None else known

    @classmethod
    def of(
        cls, ways: Sequence[Sequence[Lowered]], cycles: Sequence[Sequence[float]]
    ) -> SharedChoice:
        """Of operators' ways, and what each takes."""
        named = {file.name: file for some in ways for way in some for file in way.files}
        bit = {name: 1 << i for i, name in enumerate(named)}
        options = [
            [
                Option(
                    way.kernel,
                    count,
                    way.weights_bytes + (CALL_BYTES if way.call else 0),
                    sum({bit[file.name] for file in way.files}),
                )
                for way, count in zip(some, counts, strict=True)
            ]
            for some, counts in zip(ways, cycles, strict=True)
        ]
        return cls(options, [code_bytes(file) for file in named.values()])

    def among(self, kept: Sequence[Sequence[int]]) -> SharedChoice:
        """The same with some ways only, `kept` of each operator by their numbers, at least one; a
        choice then numbers those."""
        fewer = [
            [some[i] for i in numbers] for some, numbers in zip(self.options, kept, strict=True)
        ]
        return SharedChoice(fewer, self.file_bytes, self._known)

    def cycles(self, choice: Choice) -> float:
        """Of one inference."""
        return sum(some[i].cycles for some, i in zip(self.options, choice, strict=True))

    def flash_bytes(self, choice: Choice) -> int:
        """Constants and code; a file that several operators use counts once."""
        return sum(self.constants_bytes(choice)) + self._bytes_of(self._files(choice))

    def constants_bytes(self, choice: Choice) -> tuple[int, ...]:
        """What each operator takes by itself, its call included."""
        return tuple(some[i].constants_bytes for some, i in zip(self.options, choice, strict=True))

    def fastest(self) -> Choice:
        """Every operator by itself; of equally fast ways the first."""
        return tuple(min(range(len(some)), key=lambda i: some[i].cycles) for some in self.options)

    def best(self, cycles_per_byte: float) -> Choice:
        """The choice with the lowest cycles + price of its flash that the moves lead to."""
        choice = self.fastest()
        files = self._files(choice)
        lowest = self.cycles(choice) + cycles_per_byte * self.flash_bytes(choice)
        while True:
            op, i, cost = self._best_of_one(choice, files, cycles_per_byte)
            move = (*choice[:op], i, *choice[op + 1 :])
            for several in self._moves_of_several(choice, cycles_per_byte):
                if (their_cost := self._cost(several, files, cycles_per_byte)) < cost:
                    move, cost = several, their_cost
            if cost >= lowest:
                return choice
            choice, files, lowest = move, self._files(move), cost

    def _files(self, choice: Choice) -> int:
        """All files of a choice."""
        files = 0
        for some, i in zip(self.options, choice, strict=True):
            files |= some[i].files
        return files

    def _cost(self, choice: Choice, near: int, cycles_per_byte: float) -> float:
        """Of a choice whose files are nearly those of `near`."""
        files = cycles = constants = 0
        for some, i in zip(self.options, choice, strict=True):
            option = some[i]
            files |= option.files
            cycles += option.cycles
            constants += option.constants_bytes
        return cycles + cycles_per_byte * (constants + self._bytes_near(files, near))

    def _best_of_one(
        self, choice: Choice, near: int, cycles_per_byte: float
    ) -> tuple[int, int, float]:
        """The first of the cheapest moves of one operator: which one, to which of its ways, and
        what the choice then costs; infinite where no operator has another way."""
        chosen = [some[i] for some, i in zip(self.options, choice, strict=True)]
        cycles = sum(option.cycles for option in chosen)
        constants = sum(option.constants_bytes for option in chosen)
        best = 0, 0, inf
        others = _files_of_others([option.files for option in chosen])
        for op, (now, files) in enumerate(zip(chosen, others, strict=True)):
            other_cycles = cycles - now.cycles
            other_bytes = constants - now.constants_bytes + self._bytes_near(files, near)
            for i, option in enumerate(self.options[op]):
                if i == choice[op]:
                    continue
                own_bytes = option.constants_bytes + self._bytes_of(option.files & ~files)
                cost = other_cycles + option.cycles + cycles_per_byte * (other_bytes + own_bytes)
                if cost < best[2]:
                    best = op, i, cost
        return best

    def _moves_of_several(self, choice: Choice, cycles_per_byte: float) -> Iterator[Choice]:
        for serving in self._by_kernel.values():
            yield tuple([serving.get(op, i) for op, i in enumerate(choice)])
        kernels = (some[i].kernel for some, i in zip(self.options, choice, strict=True))
        for kernel in dict.fromkeys(kernels):
            yield self._without(kernel, choice, cycles_per_byte)

    @cached_property
    def _by_kernel(self) -> Mapping[str, Mapping[int, int]]:
        """For each kernel, the operators that it can serve, each with its fastest such way."""
        found: dict[str, dict[int, int]] = {}
        for op, some in enumerate(self.options):
            for i in sorted(range(len(some)), key=lambda i: some[i].cycles):
                found.setdefault(some[i].kernel, {}).setdefault(op, i)
        return found

    def _without(self, kernel: str, choice: Choice, cycles_per_byte: float) -> Choice:
        """The same choice, with the operators that use `kernel` on what is there for the others."""
        files = 0
        for some, i in zip(self.options, choice, strict=True):
            files |= 0 if some[i].kernel == kernel else some[i].files
        moved = list(choice)
        for op, some in enumerate(self.options):
            others = [i for i in range(len(some)) if some[i].kernel != kernel]
            if some[choice[op]].kernel == kernel and others:
                moved[op] = min(
                    others,
                    key=lambda i: (
                        some[i].cycles
                        + cycles_per_byte
                        * (some[i].constants_bytes + self._bytes_of(some[i].files & ~files))
                    ),
                )
                files |= some[moved[op]].files
        return tuple(moved)

    def _bytes_near(self, files: int, near: int) -> int:
        """`_bytes_of`, by what differs from `near`, whose bytes are known."""
        more, less = self._bytes_of(files & ~near), self._bytes_of(near & ~files)
        return self._bytes_of(near) + more - less

    def _bytes_of(self, files: int) -> int:
        if files not in self._known:
            total, left = 0, files
            while left:  # of the many files few are looked at
                lowest = left & -left
                total += self.file_bytes[lowest.bit_length() - 1]
                left ^= lowest
            self._known[files] = total
        return self._known[files]


def _files_of_others(files: Sequence[int]) -> list[int]:
    """For each operator the files that all others use."""
    in_front = accumulate(files, or_, initial=0)
    behind = [*accumulate(reversed(files), or_, initial=0)][-2::-1]
    return [front | back for front, back in zip(in_front, behind, strict=False)]
