"""ARM's CMSIS packs in the user's cache, through cmsis_pack_manager; checked by hash.

The packs' index publishes no digests. So the user may give one, and otherwise the digest of the
first use is remembered: the same version must never be another file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from cmsis_pack_manager import Cache, CmsisPackRef

from mcuq_lab.errors import ConfigError


def find_pack(
    cache: Cache, pack: CmsisPackRef, digests: Path, sha256: str = "", *, fetch: bool = True
) -> Path:
    """The file of a pack, fetched if the cache does not have it.

    Args:
        cache: where packs lie, and who fetches them.
        pack: vendor, name and version.
        digests: directory in which the digests of first uses are remembered.
        sha256: what the file must have; "": what it had at first use.
        fetch: whether to ask the network.

    Raises:
        ConfigError: it cannot be fetched, or its digest is wrong.
    """
    path = Path(cache.data_path) / pack.get_pack_name()
    if not path.is_file():
        if not fetch:
            raise ConfigError(
                f"CMSIS pack {pack} is not in {cache.data_path} yet; the first measurement with "
                "it fetches it."
            )
        _fetch(cache, pack, path)
    _check(path, pack, digests, sha256.lower())
    return path


def _fetch(cache: Cache, pack: CmsisPackRef, path: Path) -> None:
    try:
        if not (Path(cache.data_path) / pack.get_pdsc_name()).is_file():
            cache.cache_descriptors()
            _check_offered(cache, pack)
        cache.download_pack_list([pack])
    except ConfigError:
        raise
    except Exception as error:  # its native part knows no other class
        raise ConfigError(f"CMSIS pack {pack} could not be fetched: {error}. {_BY_HAND}") from error
    if not path.is_file():
        raise ConfigError(f"CMSIS pack {pack} could not be fetched to {path}. {_BY_HAND}")


_BY_HAND = "Check the network, put the pack there by hand, or name a folder with its sources."


def _check_offered(cache: Cache, pack: CmsisPackRef) -> None:
    """The index describes the newest version of a pack only."""
    data = Path(cache.data_path)
    if (data / pack.get_pdsc_name()).is_file():
        return
    stem = f"{pack.vendor}.{pack.pack}."
    offered = sorted(found.name[len(stem) : -len(".pdsc")] for found in data.glob(f"{stem}*.pdsc"))
    if offered:
        raise ConfigError(
            f"The index of CMSIS packs offers {pack.pack} {', '.join(offered)}, not "
            f'{pack.version}. Write "pack {offered[-1]}" in mcuq.toml, or name a folder.'
        )


def _check(path: Path, pack: CmsisPackRef, digests: Path, wanted: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    remembered = digests / f"{pack}.sha256"
    source = "mcuq.toml"
    if not wanted and remembered.is_file():
        wanted, source = remembered.read_text().strip(), str(remembered)
    if wanted and wanted != found:
        raise ConfigError(
            f"{path} has SHA-256 {found}, but {source} says {wanted}. Remove the file to have it "
            "fetched again; if the new one is meant, correct the digest."
        )
    if not wanted:
        _write(remembered, found)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
    os.replace(name, path)
