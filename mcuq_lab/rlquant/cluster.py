"""A Ray cluster that has boards: the user's, or one on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import os

import ray

from mcuq_lab.errors import BoardError, ConfigError

_OBJECT_STORE_BYTES = 200 << 20


def connect(board: str, boards: int, address: str = "") -> bool:
    """Connects to a cluster; returns whether that was done here, so that it must be shut down.

    Args:
        board: id of the board.
        boards: that a cluster has which is started here.
        address: of a cluster; empty: Ray is started on this machine.

    Raises:
        ConfigError: there is no cluster at the address.
        BoardError: Ray did not start.
    """
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"There is no Ray cluster at '{address}' ({error}); start one with "
                "`ray start --head`, or leave the address out."
            ) from error
        return True
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(
            address="local",
            resources={board: boards},
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
    except Exception as error:  # what Ray raises where its processes start too slowly
        raise BoardError(
            f"Ray did not start on this machine ({error}). A machine that is busy with other work "
            "starts it too slowly: try again, or search with one board, which needs no Ray."
        ) from error
    return True


def check_free(board: str, boards: int) -> None:
    """Raises ConfigError at once where Ray would wait forever for boards that nobody has."""
    everywhere = int(ray.cluster_resources().get(board, 0))
    free = int(ray.available_resources().get(board, 0))
    if free < boards:
        raise ConfigError(
            f"{boards} boards {board} are asked for; the Ray cluster has "
            f"{everywhere}, of which {free} are free. Ask for fewer, or start nodes with "
            f"`ray start --address=... --resources='{{\"{board}\": 1}}'`."
        )
