"""Colours by depth: by hand, and on scenes that the built-in engine renders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridge.errors import ShapeMismatch
from longvie_server.world_model.longvie2 import palette as palette_module
from longvie_server.world_model.longvie2.palette import Palette

SKY, SEA, LAND = (230, 240, 250), (20, 60, 120), (120, 90, 40)


def sea_and_rock(*, rock_at: int) -> tuple[np.ndarray, np.ndarray]:
    """Return colours, (80, 144, 3), and greys, (80, 144): sky, sea that comes nearer downwards, an upright rock."""
    image, dense = np.empty((80, 144, 3), np.uint8), np.empty((80, 144), np.uint8)
    image[:40], dense[:40] = SKY, 255
    image[40:], dense[40:] = SEA, np.linspace(250, 60, 40)[:, None]
    image[25:55, rock_at : rock_at + 30], dense[25:55, rock_at : rock_at + 30] = LAND, 150
    return image, dense


def test_depth_alone_tells_sky_from_sea_from_rock_wherever_they_are() -> None:
    image, dense = sea_and_rock(rock_at=20)
    true, other = sea_and_rock(rock_at=90)
    painted = Palette.of(image, dense).paint(other[None])
    assert painted.shape == (1, 80, 144, 3)
    assert painted.dtype == np.float32
    wrong = np.abs(painted[0] - true).max(axis=2)
    for rows, columns in ((slice(0, 20), slice(None)), (slice(62, 79), slice(None)), (slice(32, 46), slice(94, 116))):
        assert wrong[rows, columns].max() < 12
    assert wrong.mean() < 8


def test_a_frame_of_one_colour_has_no_other() -> None:
    image = np.full((80, 144, 3), (10, 130, 250), np.uint8)
    dense = np.random.default_rng(4).integers(0, 256, (3, 80, 144), dtype=np.uint8)
    painted = Palette.of(image, dense[0]).paint(dense)
    assert np.abs(painted - image[0, 0]).max() < 0.01


def test_depth_that_the_frame_did_not_have_takes_the_nearest() -> None:
    image, dense = np.full((80, 144, 3), 40, np.uint8), np.full((80, 144), 100, np.uint8)
    image[:, 72:], dense[:, 72:] = 200, 160
    near, far = (Palette.of(image, dense).paint(np.full((1, 80, 144), grey, np.uint8)) for grey in (0, 255))
    assert np.abs(near[0, 4:-4] - 40).max() < 1
    assert np.abs(far[0, 4:-4] - 200).max() < 1


def test_threads_change_no_byte() -> None:
    image, dense = sea_and_rock(rock_at=60)
    before = torch.get_num_threads()
    painted = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            palette_module._taught.cache_clear()
            painted.append(Palette.of(image, dense).paint(dense[None]))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(painted[0], painted[1])
    assert np.array_equal(painted[0], painted[2])


def test_the_same_frame_is_asked_once_and_a_changed_one_again() -> None:
    image, dense = sea_and_rock(rock_at=60)
    first = Palette.of(image, dense)
    assert Palette.of(image.copy(), dense.copy()) is first
    image[:40] = LAND
    assert Palette.of(image, dense).paint(dense[None])[0, 5, 5] == pytest.approx(LAND, abs=1)


def test_a_frame_without_its_own_depth_is_refused() -> None:
    image, dense = sea_and_rock(rock_at=60)
    with pytest.raises(ShapeMismatch, match=r"image.*\(80, 144, 3\).*\(80, 143, 3\)"):
        Palette.of(image[:, :-1], dense)
