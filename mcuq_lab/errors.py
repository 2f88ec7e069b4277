"""Every error that MCUQ raises on purpose.

Each message says what is wrong, where, and what to do next. Programs tell the cases apart by class;
people read the text.
"""

from __future__ import annotations


class McuqError(Exception):
    """Base of all errors that MCUQ raises on purpose."""


class ConfigError(McuqError):
    """The user's configuration or data is wrong: a name, a path, a file, a value."""


class ModelError(McuqError):
    """A network cannot be represented: an unsupported operator, a wrong shape, a dangling input."""


class NumericsError(McuqError):
    """Integer arithmetic would leave its proven range, or integers differ where they must not."""


class BuildError(McuqError):
    """The toolchain is missing or too old, or the compiler or linker refused the sources."""


class FitError(McuqError):
    """The image does not fit the board.

    Attributes:
        memory: `"flash"` or `"sram"`.
        overflow_bytes: how many bytes are missing.
    """

    def __init__(self, message: str, *, memory: str, overflow_bytes: int) -> None:
        super().__init__(message)
        self.memory = memory
        self.overflow_bytes = overflow_bytes


class BoardError(McuqError):
    """The board or its probe failed.

    Attributes:
        status: how a result row records it: `"timeout"`, `"fault"` or `"probe_error"`.
    """

    def __init__(self, message: str, *, status: str = "probe_error") -> None:
        super().__init__(message)
        self.status = status
