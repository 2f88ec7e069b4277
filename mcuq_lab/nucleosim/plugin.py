"""The door through which pyOCD finds the simulated boards (entry point group `pyocd.probe`)."""

from pyocd.core.options import OptionInfo
from pyocd.core.plugin import Plugin


class NucleoSimPlugin(Plugin):
    """Tells pyOCD of probes whose unique ids start with `sim:`."""

    def load(self) -> type:
        """The probe class; imported late, as pyOCD is half imported while it looks for plugins."""
        from mcuq_lab.nucleosim.probe import SimulatedProbe

        return SimulatedProbe

    @property
    def name(self) -> str:
        """The probe type: what stands before the first colon of a unique id."""
        return "sim"

    @property
    def version(self) -> str:
        """Version of the simulator."""
        from mcuq_lab.nucleosim import __version__

        return __version__

    @property
    def description(self) -> str:
        """One line for `pyocd list --plugins`."""
        return "Simulated STM32 Nucleo boards"

    @property
    def options(self) -> list[OptionInfo]:
        """Session options of the simulated boards."""
        return [
            OptionInfo(
                "nucleosim.persist",
                bool,
                False,
                "Keep the flash of a simulated board in a file from one process to the next. "
                "Default is off: flash is erased in every new process.",
            ),
            OptionInfo(
                "nucleosim.flash_dir",
                str,
                None,
                "Directory of the files that nucleosim.persist keeps. Default is the user's "
                "cache directory.",
            ),
            OptionInfo(
                "nucleosim.raw_dap",
                bool,
                False,
                "Make pyOCD reach memory through DP and AP registers, word by word, instead of "
                "through the fast memory interface. For tests of the debug port.",
            ),
            OptionInfo(
                "nucleosim.faults",
                str,
                None,
                "What goes wrong, each time a session opens: the path of a TOML file, or faults "
                "with commas between them, such as 'hang_at_cycle=100000, unplugged_after=200'.",
            ),
            OptionInfo(
                "nucleosim.swd_hz",
                int,
                None,
                "The fastest SWD clock that the probe can do, in Hz. Default is what an "
                "ST-LINK/V2-1 can. Only the modelled time depends on it.",
            ),
            OptionInfo(
                "nucleosim.real_time",
                bool,
                False,
                "Let accesses take as long as with a real probe, flash and core. Default is off: "
                "the time is only counted.",
            ),
        ]
