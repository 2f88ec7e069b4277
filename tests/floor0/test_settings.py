"""Settings of this computer: where they are found, and what is refused."""

from pathlib import Path

import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.settings import CMSIS_NN_PACK, Settings, load_settings


def test_no_file_gives_empty_settings(tmp_path):
    assert load_settings(tmp_path, tmp_path) == Settings()


def test_the_working_directory_comes_before_the_home(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    (home / ".config" / "mcuq").mkdir(parents=True)
    work.mkdir()
    (home / ".config" / "mcuq" / "mcuq.toml").write_text('[toolchain]\ngcc = "/opt/gcc"\n')
    assert str(load_settings(work, home).gcc) == "/opt/gcc"
    (work / "mcuq.toml").write_text('[data]\ncifar10 = "images"\n')
    settings = load_settings(work, home)
    assert settings.gcc is None
    assert settings.data_roots == {"cifar10": work / "images"}
    (work / "notebooks").mkdir()
    assert load_settings(work / "notebooks", home) == settings


def test_faults_of_the_simulator_are_a_line_or_a_file(tmp_path):
    (tmp_path / "mcuq.toml").write_text('[simulator]\nfaults = "hang_at_cycle=5, unplugged=true"\n')
    assert load_settings(tmp_path, tmp_path).simulator_faults == "hang_at_cycle=5, unplugged=true"
    (tmp_path / "mcuq.toml").write_text('[simulator]\nfaults = "bad/day.toml"\n')
    assert load_settings(tmp_path, tmp_path).simulator_faults == str(tmp_path / "bad" / "day.toml")


@pytest.mark.parametrize(
    ("value", "folders", "pack"),
    [
        ("lib/CMSIS-NN", {"cmsis_nn": "lib/CMSIS-NN"}, ""),
        ("/opt/pack", {"cmsis_nn": "/opt/pack"}, ""),
        ("pack", {}, CMSIS_NN_PACK),
        ("pack 7.1.0", {}, "7.1.0"),
        ("", {}, ""),
    ],
)
def test_a_library_is_a_folder_or_a_pack(tmp_path, value, folders, pack):
    (tmp_path / "mcuq.toml").write_text(f'[libraries]\ncmsis_nn = "{value}"\n')
    found = load_settings(tmp_path, tmp_path).libraries
    assert found.folders == {key: tmp_path / folder for key, folder in folders.items()}
    assert found.cmsis_nn_pack == pack


def test_libraries_are_folders_beside_the_file(tmp_path):
    text = '[libraries]\ncmix_nn = "lib/CMix-NN"\ntinyengine = "/opt/tinyengine"\n'
    (tmp_path / "mcuq.toml").write_text(text)
    found = load_settings(tmp_path, tmp_path).libraries.folders
    assert found == {
        "cmix_nn": tmp_path / "lib" / "CMix-NN",
        "tinyengine": Path("/opt/tinyengine"),
    }


@pytest.mark.parametrize("text", ["[data\n", '[dta]\ncifar10 = "x"\n', "[data]\ncifar10 = 3\n"])
def test_wrong_files_are_refused_by_name(tmp_path, text):
    (tmp_path / "mcuq.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"mcuq\.toml"):
        load_settings(tmp_path, tmp_path)
