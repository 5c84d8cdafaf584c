"""A run's folder keeps what it was begun with, and refuses all else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.errors import InvalidValue
from longvie_server.training.settings import SETTINGS_FILE, keep_settings

FIRST = {"seed": 0, "learning_rate": 1e-3, "rollouts_at": (0.25, 0.5), "start": None, "model": {"vae": {"z_dim": 8}}}


def test_the_first_call_writes_them_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    keep_settings(folder, FIRST)
    before = (folder / SETTINGS_FILE).read_bytes()
    assert json.loads(before) == {**FIRST, "rollouts_at": [0.25, 0.5]}
    keep_settings(folder, FIRST)
    assert (folder / SETTINGS_FILE).read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [SETTINGS_FILE]


def test_every_difference_is_named_with_both_values(tmp_path: Path) -> None:
    keep_settings(tmp_path, FIRST)
    before = (tmp_path / SETTINGS_FILE).read_bytes()
    with pytest.raises(InvalidValue) as caught:
        keep_settings(tmp_path, {**FIRST, "learning_rate": 7e-4, "start": "sha256:1", "model": {"vae": {"z_dim": 9}}})
    assert caught.value.field == "--folder"
    assert caught.value.problem.endswith(
        '--learning-rate was 0.001, is 0.0007; --start was null, is "sha256:1"; model.vae.z_dim was 8, is 9'
    )
    assert (tmp_path / SETTINGS_FILE).read_bytes() == before


def test_a_setting_that_only_one_of_two_versions_knows_is_a_difference(tmp_path: Path) -> None:
    keep_settings(tmp_path, FIRST)
    with pytest.raises(InvalidValue, match='--shift was "not recorded", is 5'):
        keep_settings(tmp_path, {**FIRST, "shift": 5})
    with pytest.raises(InvalidValue, match='--seed was 0, is "not recorded"'):
        keep_settings(tmp_path, {name: value for name, value in FIRST.items() if name != "seed"})


@pytest.mark.parametrize("made", ["vae", "latents", "world", "decoder", "rollouts_0"])
def test_a_folder_that_does_not_say_what_it_was_begun_with_is_refused(tmp_path: Path, made: str) -> None:
    (tmp_path / made).mkdir()
    with pytest.raises(InvalidValue, match=f"holds {made}, and no settings.json"):
        keep_settings(tmp_path, FIRST)
    assert not (tmp_path / SETTINGS_FILE).exists()


def test_scenes_may_be_there_already(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    keep_settings(tmp_path, FIRST)
    assert (tmp_path / SETTINGS_FILE).exists()


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_file_that_cannot_be_read_is_no_licence(tmp_path: Path, content: str) -> None:
    (tmp_path / SETTINGS_FILE).write_text(content)
    with pytest.raises(InvalidValue, match="cannot be read"):
        keep_settings(tmp_path, FIRST)
