"""What a command prints, and how it ends.

With `--json` a command prints one JSON document to stdout and nothing else there; progress and
messages go to stderr. It ends with 0; with 2 after a mistake of the user's, whose message says what
to do; with 1 after a failure.
"""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mcuq_lab.errors import ConfigError, FitError, McuqError, ModelError

P = ParamSpec("P")

USER_MISTAKE, FAILURE = 2, 1

_FILE_WIDTH = 160
"""Columns of a table that goes into a file or a pipe."""


def command(run: Callable[P, None]) -> Callable[P, None]:
    """Turns MCUQ's errors into a message on stderr and an exit code."""

    @functools.wraps(run)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            run(*args, **kwargs)
        except (ConfigError, ModelError, FitError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(USER_MISTAKE) from error
        except McuqError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILURE) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from error

    return guarded


def new_app(**settings: Any) -> typer.Typer:
    """An app for one command, or for a group of them."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, **settings)


def command_line() -> str:
    """The command under way, as a person would type it again."""
    return shlex.join(["mcuq", *sys.argv[1:]])


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    typer.echo(text, err=True)


def emit(document: Any, as_json: bool, columns: Sequence[str] = ()) -> None:
    """Prints the command's result: JSON, or a table of the named columns for people."""
    if as_json:
        sys.stdout.write(json.dumps(document, default=_plain, allow_nan=False) + "\n")
        return
    rows = document if isinstance(document, list) else [document]
    names = list(columns or rows[0] if rows else columns)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        numeric = all(isinstance(row[name], int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(row[name]) for name in names))
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    Console(file=sys.stdout, width=width).print(table)


@contextmanager
def stdout_is_stderr() -> Iterator[None]:
    """Sends what libraries print to stderr, so that stdout holds the result alone."""
    kept = sys.stdout
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = kept


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else escape(str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
