"""CMSIS packs in the user's cache: found, fetched through cmsis_pack_manager, checked by hash."""

import hashlib
import inspect
import zipfile
from pathlib import Path

import pytest
from cmsis_pack_manager import Cache, CmsisPackRef

from mcuq_lab.baselines.official import (
    cmsis_nn,
    find_pack,
    library_in_folder,
    library_in_pack,
)
from mcuq_lab.errors import ConfigError

TINY = Path(__file__).with_name("tiny_cmsis_nn")
PACK = CmsisPackRef("ARM", "CMSIS-NN", "7.0.0")


def write_pack(path):
    """The tiny library as a pack."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(TINY / "sample.pdsc", "ARM.CMSIS-NN.pdsc")
        for file in sorted(TINY.rglob("*.[ch]")):
            archive.write(file, file.relative_to(TINY).as_posix())


class OfflineCache:
    """The two methods of cmsis_pack_manager.Cache that fetch, from a server that is a dictionary.

    `offers` are the versions that the index describes; packs of them can be had.
    """

    def __init__(self, data_path, offers=("7.0.0",), fails=""):
        self.data_path, self.offers, self.fails, self.calls = str(data_path), offers, fails, []

    def cache_descriptors(self):
        self.calls.append("descriptors")
        if self.fails:
            raise Exception(self.fails)
        for version in self.offers:
            pack = CmsisPackRef("ARM", "CMSIS-NN", version)
            (Path(self.data_path) / pack.get_pdsc_name()).write_text("<package/>")

    def download_pack_list(self, pack_list):
        self.calls.append("download")
        for pack in pack_list:
            if (Path(self.data_path) / pack.get_pdsc_name()).is_file():
                write_pack(Path(self.data_path) / pack.get_pack_name())


def test_the_stand_in_has_the_methods_of_the_real_cache():
    for name in ("cache_descriptors", "download_pack_list"):
        real = inspect.signature(getattr(Cache, name))
        assert inspect.signature(getattr(OfflineCache, name)) == real
    assert Cache(True, False, data_path="somewhere").data_path == "somewhere"


def test_a_pack_that_is_there_is_used_without_asking(tmp_path):
    cache = Cache(True, False, json_path=str(tmp_path), data_path=str(tmp_path))
    write_pack(tmp_path / "ARM" / "CMSIS-NN" / "7.0.0.pack")
    path = find_pack(cache, PACK, tmp_path / "digests")
    library = library_in_pack("CMSIS-NN", "cmsis_nn", path, cmsis_nn.FOLDERS)
    assert cmsis_nn.version_of(library) == "7.0.0"
    assert "Source/Convolution/tiny_convolve.c" in library.files


def test_a_pack_and_the_folder_it_unpacks_to_are_the_same_library(tmp_path):
    write_pack(tmp_path / "7.0.0.pack")
    with zipfile.ZipFile(tmp_path / "7.0.0.pack") as archive:
        archive.extractall(tmp_path / "folder")
    packed = library_in_pack("CMSIS-NN", "cmsis_nn", tmp_path / "7.0.0.pack", cmsis_nn.FOLDERS)
    folder = library_in_folder("CMSIS-NN", "cmsis_nn", tmp_path / "folder", cmsis_nn.FOLDERS)
    assert packed.files == folder.files
    assert packed.digest == folder.digest


def test_a_missing_pack_is_fetched_once(tmp_path):
    cache = OfflineCache(tmp_path)
    path = find_pack(cache, PACK, tmp_path / "digests")
    assert find_pack(cache, PACK, tmp_path / "digests") == path
    assert cache.calls == ["descriptors", "download"]


def test_a_known_description_is_not_fetched_again(tmp_path):
    cache = OfflineCache(tmp_path)
    (tmp_path / PACK.get_pdsc_name()).write_text("<package/>")
    find_pack(cache, PACK, tmp_path / "digests")
    assert cache.calls == ["download"]


def test_the_digest_of_the_first_use_is_remembered(tmp_path):
    cache, digests = OfflineCache(tmp_path), tmp_path / "digests"
    path = find_pack(cache, PACK, digests)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (digests / "ARM.CMSIS-NN.7.0.0.sha256").read_text() == f"{found}\n"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ConfigError, match=f"sha256 says {found}. Remove the file"):
        find_pack(cache, PACK, digests)


def test_the_users_digest_decides(tmp_path):
    cache, digests = OfflineCache(tmp_path), tmp_path / "digests"
    with pytest.raises(ConfigError, match=r"7\.0\.0\.pack has SHA-256 .* mcuq\.toml says 00ff"):
        find_pack(cache, PACK, digests, "00FF")
    assert not digests.exists()
    right = hashlib.sha256((tmp_path / "ARM" / "CMSIS-NN" / "7.0.0.pack").read_bytes()).hexdigest()
    assert find_pack(cache, PACK, digests, right.upper()).is_file()


@pytest.mark.parametrize(
    ("offers", "fails", "message"),
    [
        (("7.1.0",), "", 'offers CMSIS-NN 7.1.0, not 7.0.0. Write "pack 7.1.0"'),
        ((), "", "could not be fetched to .*7.0.0.pack. Check the network, put the pack there"),
        ((), "no route to host", "could not be fetched: no route to host. Check the network"),
    ],
)
def test_what_cannot_be_fetched_is_told(tmp_path, offers, fails, message):
    with pytest.raises(ConfigError, match=message):
        find_pack(OfflineCache(tmp_path, offers, fails), PACK, tmp_path / "digests")


def test_a_damaged_pack_is_refused(tmp_path):
    (tmp_path / "7.0.0.pack").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"7\.0\.0\.pack is no CMSIS pack .*Remove it"):
        library_in_pack("CMSIS-NN", "cmsis_nn", tmp_path / "7.0.0.pack")
