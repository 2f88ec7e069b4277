"""The `mcuq` command."""

from mcuq_lab.cli.main import main

__all__ = ["main"]
