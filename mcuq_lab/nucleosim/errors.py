"""Errors of the simulated boards."""


class NucleoSimError(Exception):
    """Base of the errors that the simulator raises about itself (never about the firmware)."""


class UnknownBoardError(NucleoSimError):
    """No simulated board has the unique id that was asked for."""


class FaultsError(NucleoSimError):
    """Faults that do not exist, or values that they cannot have."""
