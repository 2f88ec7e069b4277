"""The board in the loop: C sources in; outputs, cycles and bytes of a board out."""

from mcuq_lab.bench.host import build_for_host, run_on_host

__all__ = ["build_for_host", "run_on_host"]
