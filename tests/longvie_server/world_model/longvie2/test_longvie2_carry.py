"""A first frame that its points take along: by hand, and against a picture that is known everywhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from miniature import HEIGHT, MINIATURE, WIDTH
from numpy.typing import NDArray

from bridge.errors import ShapeMismatch
from bridge.geometry.seeds import seed_uv
from longvie_server.world_model.longvie2 import build
from longvie_server.world_model.longvie2.carry import CarriedFrame, look_back
from longvie_server.world_model.longvie2.palette import Palette
from longvie_server.world_model.longvie2.pipeline import ClipInput
from longvie_server.world_model.longvie2.vae import encode_carried, encode_video, to_video

SEEDS = seed_uv(144, 80)


def picture(height: int = 80, width: int = 144) -> NDArray[np.uint8]:
    """Smooth, and different everywhere."""
    noise = np.random.default_rng(5).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def flat(frames: int, height: int = 80, width: int = 144) -> NDArray[np.uint8]:
    """Return the depth of a wall."""
    return np.full((frames, height, width), 90, np.uint8)


def grey(frames: int, height: int = 80, width: int = 144) -> NDArray[np.float32]:
    """Return a guess that says nothing."""
    return np.full((frames, height, width, 3), 127, np.float32)


def moved_points(frames: int, *, across: float = 0.0, down: float = 0.0, zoom: float = 1.0) -> NDArray[np.float32]:
    """The grid, moved by so much of the picture per frame, and drawn apart from the middle."""
    seeds = SEEDS.astype(np.float32)
    steps = np.arange(frames, dtype=np.float32)[:, None, None]
    points = (seeds - 0.5) * np.float32(zoom) ** steps + 0.5 + steps * np.array([across, down], np.float32)
    return np.where(((points >= 0) & (points < 1)).all(axis=2)[:, :, None], points, np.float32(np.nan))


def test_what_moves_by_whole_pixels_arrives_as_it_was() -> None:
    image = picture()
    carried = look_back(moved_points(3, across=4 / 144, down=2 / 80), flat(3)).carry(image, grey(3), drawn=False)
    assert np.array_equal(carried.video[0], image)
    assert carried.known[0].all()
    inner = (slice(12, 70), slice(16, 130))
    moved = np.roll(image, (4, 8), axis=(0, 1))
    assert carried.known[2][inner].all()
    assert np.abs(carried.video[2][inner].astype(int) - moved[inner].astype(int)).max() <= 2


def test_what_comes_nearer_stays_whole() -> None:
    image = picture()
    carried = look_back(moved_points(3, zoom=1.5), flat(3)).carry(image, grey(3), drawn=False)
    magnified = cv2.resize(image, None, fx=2.25, fy=2.25, interpolation=cv2.INTER_CUBIC)
    magnified = magnified[50 : 50 + 80, 90 : 90 + 144]
    inner = (slice(8, 72), slice(10, 134))
    assert carried.known[2][inner].mean() > 0.95
    # Half a pixel here is 7 of 255; the picture that was not moved is off by more than 60.
    assert np.abs(carried.video[2][inner].astype(int) - magnified[inner].astype(int)).mean() < 10


def test_places_that_no_point_reaches_are_unknown_and_have_the_guess_as_far_off_as_it_is_beside_them() -> None:
    truth = picture()
    points = moved_points(2)
    points[1, SEEDS[:, 0] > 0.8] = np.nan
    back = look_back(points, flat(2))
    assert not back.known[1][:, 124:].any()
    assert back.known[1][10:70, 10:110].all()
    off = np.array([20.0, -30.0, 10.0], np.float32)
    guess = np.repeat(truth[None].astype(np.float32) - off, 2, axis=0)
    wrong = truth - back.carry(truth, guess, drawn=False).video[1].astype(np.float32)
    known = back.known[1]
    assert np.abs(wrong[known]).max() <= 2
    inner = (slice(10, 70), slice(None))  # beyond, the picture itself is clipped
    beside, far = (wrong[inner][:, columns].mean(axis=(0, 1)) / off for columns in (slice(118, 122), slice(138, 144)))
    assert (beside < 0.7).all()
    assert (far > beside + 0.1).all()
    assert (far < 1).all()


def test_what_a_model_drew_goes_half_way_back_to_the_guess_and_keeps_its_detail() -> None:
    checks = np.indices((80, 144)).sum(axis=0) % 2 * 40
    image = np.repeat((100 + checks)[:, :, None], 3, axis=2).astype(np.uint8)
    guess = np.full((5, 80, 144, 3), 60, np.float32)
    back = look_back(moved_points(5), flat(5))
    surely, drawn = (back.carry(image, guess, drawn=drawn).video.astype(float) for drawn in (False, True))
    inner = (slice(20, 60), slice(20, 124))
    for frame, left in enumerate((1, 0.875, 0.75, 0.625, 0.5)):
        assert np.abs(surely[frame][inner] - image[inner]).max() <= 1
        # On the whole 60 above the guess; the checks of +-20 stay.
        expected = 60 + 60 * left + (checks[inner] - 20)[:, :, None]
        assert np.abs(drawn[frame][inner] - expected).max() <= 2


def test_without_a_point_nothing_is_known() -> None:
    points = np.full((2, 2500, 2), np.nan, np.float32)
    guess = np.random.default_rng(3).uniform(-5, 260, (2, 80, 144, 3)).astype(np.float32)
    carried = look_back(points, flat(2)).carry(picture(), guess, drawn=False)
    assert not carried.known[1].any()
    assert np.array_equal(carried.video[1], np.clip(np.rint(guess[1]), 0, 255))


def test_a_point_that_was_not_seen_at_first_says_nothing() -> None:
    points = moved_points(2)
    points[0] = np.nan
    assert not look_back(points, flat(2)).carry(picture(), grey(2), drawn=False).known[1].any()


def test_the_order_of_points_is_free() -> None:
    points = moved_points(2, across=0.013)
    mixed = points[:, np.random.default_rng(1).permutation(points.shape[1])]
    one, other = (
        look_back(points, flat(2)).carry(picture(), grey(2), drawn=False),
        look_back(mixed, flat(2)).carry(picture(), grey(2), drawn=False),
    )
    assert np.array_equal(one.known, other.known)
    assert np.abs(one.video.astype(int) - other.video.astype(int)).max() <= 1


def test_a_thing_takes_its_own_colours_and_hides_others() -> None:
    """A near square moves over a still wall: no colour of the one is on the other, and what it uncovers is unknown."""
    image, dense = picture() // 2, np.full((2, 80, 144), 200, np.uint8)
    image[32:48, 40:64], dense[0, 32:48, 40:64] = 255, 50
    dense[1, 32:48, 56:80] = 50
    points = np.repeat(SEEDS[None].astype(np.float32), 2, axis=0)
    x, y = points[0].T * np.array([[144], [80]])
    square = (x >= 40) & (x < 64) & (y >= 32) & (y < 48)
    points[1, square, 0] += 16 / 144
    points[1, ~square & (x >= 56) & (x < 80) & (y >= 32) & (y < 48)] = np.nan
    carried = look_back(points, dense).carry(image, grey(2), drawn=False)
    expected = image.copy()
    expected[32:48, 40:64] = 0
    expected[32:48, 56:80] = 255
    uncovered = np.zeros((80, 144), np.bool_)
    uncovered[32:48, 40:56] = True
    assert np.array_equal(carried.known[1], ~uncovered)
    wrong = np.abs(carried.video[1].astype(int) - expected.astype(int)).max(axis=2)
    assert wrong[~uncovered].max() <= 2


def test_a_first_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match=r"image.*\(80, 144, 3\).*\(80, 143, 3\)"):
        look_back(moved_points(2), flat(2)).carry(picture()[:, :-1], grey(2), drawn=False)


@pytest.mark.parametrize(
    ("points", "dense"), [((5, 10), (5, 80, 144)), ((5, 10, 3), (5, 80, 144)), ((5, 10, 2), (4, 80, 144))]
)
def test_other_shapes_are_refused(points: tuple[int, ...], dense: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="points"):
        look_back(np.zeros(points, np.float32), np.zeros(dense, np.uint8))


def test_a_mask_channel_stands_for_a_frame_and_counts_known_pixels() -> None:
    pipeline = build(MINIATURE, seed=0)
    video = np.random.default_rng(2).integers(0, 256, (9, HEIGHT, WIDTH, 3), dtype=np.uint8)
    known = np.zeros((9, HEIGHT, WIDTH), np.bool_)
    known[0] = True
    known[6, :16, :8] = True
    condition = encode_carried(pipeline.vae, CarriedFrame(video, known))
    assert condition.shape == (1, 4 + 8, 3, HEIGHT // 16, WIDTH // 16)
    assert torch.equal(condition[:, 4:], encode_video(pipeline.vae, to_video(video)))
    mask = torch.zeros(4, 3, HEIGHT // 16, WIDTH // 16)
    mask[:, 0] = 1
    mask[1, 2, 0, 0] = 0.5
    assert torch.equal(condition[0, :4], mask)


def test_a_clip_with_points_has_the_carried_condition_and_one_without_has_not() -> None:
    pipeline = build(MINIATURE, seed=0)
    image = picture(HEIGHT, WIDTH)
    black = np.zeros((9, HEIGHT, WIDTH, 3), np.uint8)
    points = moved_points(9, across=0.01)
    text = pipeline.encode_prompt("")
    conditions = [
        pipeline.prepare(ClipInput(image, black, black, points=p), text=text, negative_text=None)
        for p in (points, None)
    ]
    guess = Palette.of(image, black[0, :, :, 0]).paint(black[..., 0])
    carried = look_back(points, black[..., 0]).carry(image, guess, drawn=False)
    assert torch.equal(conditions[0].image_latents, encode_carried(pipeline.vae, carried))
    assert not torch.equal(conditions[0].image_latents[:, 4:, 1:], conditions[1].image_latents[:, 4:, 1:])
    assert (conditions[1].image_latents[:, :4, 1:] == 0).all()
    pipeline.register_to_config(carries_first_frame=False)
    same = pipeline.prepare(ClipInput(image, black, black, points=points), text=text, negative_text=None)
    assert torch.equal(same.image_latents, conditions[1].image_latents)


def test_a_first_frame_that_is_not_the_anchor_was_drawn() -> None:
    pipeline = build(MINIATURE, seed=0)
    image, black = picture(HEIGHT, WIDTH), np.zeros((9, HEIGHT, WIDTH, 3), np.uint8)
    anchor = np.full((HEIGHT, WIDTH, 4), 200, np.uint8)
    points, grey = moved_points(9, across=0.01), black[..., 0]
    clip = ClipInput(image, black, black, points=points, anchor=anchor)
    seen = pipeline.prepare(clip, text=pipeline.encode_prompt(""), negative_text=None).image_latents
    guess = Palette.of(anchor[:, :, :3], anchor[:, :, 3]).paint(grey)
    drawn, surely = (
        encode_carried(pipeline.vae, look_back(points, grey).carry(image, guess, drawn=d)) for d in (True, False)
    )
    assert torch.equal(seen, drawn)
    assert not torch.equal(seen, surely)


def test_what_is_not_known_has_the_colours_of_the_anchor() -> None:
    pipeline = build(MINIATURE, seed=0)
    image, black = picture(HEIGHT, WIDTH), np.zeros((9, HEIGHT, WIDTH, 3), np.uint8)
    lost = np.full((9, 10, 2), np.nan, np.float32)
    anchor = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    anchor[:, :, :3] = (200, 30, 90)
    clip = ClipInput(image, black, black, points=lost, anchor=anchor)
    seen = pipeline.prepare(clip, text=pipeline.encode_prompt(""), negative_text=None).image_latents
    video = np.broadcast_to(anchor[:, :, :3], (9, HEIGHT, WIDTH, 3)).copy()
    video[0] = image
    assert torch.equal(seen[:, 4:], encode_video(pipeline.vae, to_video(video)))
    with pytest.raises(ShapeMismatch, match=r"anchor.*4\).*3\)"):
        ClipInput(image, black, black, points=lost, anchor=anchor[:, :, :3])


def test_points_of_another_number_of_frames_are_refused() -> None:
    black = np.zeros((9, HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(ShapeMismatch, match="points"):
        ClipInput(picture(HEIGHT, WIDTH), black, black, points=moved_points(5))
