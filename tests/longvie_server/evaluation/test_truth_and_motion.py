"""What the engine knows, on a real scene; and measures of motion, on videos whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine_plugins.builtin import CapturedClip, Renderer, capture_clip, evaluation_scene
from longvie_server.evaluation.metrics import psnr
from longvie_server.evaluation.motion import edge_agreement, seam_jump, track_error_px
from longvie_server.sequences.truth import HIDDEN, ClipTruth, Watcher, depth_edges

HEIGHT, WIDTH, FRAMES = 48, 80, 33
Video = NDArray[np.uint8]


@pytest.fixture(scope="module")
def watched() -> tuple[CapturedClip, ClipTruth]:
    scene = evaluation_scene(1)
    watcher = Watcher(scene)
    clip = capture_clip(Renderer(scene, width=WIDTH, height=HEIGHT), 0, ticks=FRAMES, look_on=watcher)
    return clip, watcher.truth()


def test_a_warp_shows_the_first_frame_s_pixels_where_they_went(watched: tuple[CapturedClip, ClipTruth]) -> None:
    clip, truth = watched
    assert truth.warp is not None
    assert truth.warp.shape == (FRAMES, HEIGHT, WIDTH)
    np.testing.assert_array_equal(truth.warp[0], np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH))
    first = clip.rgb[0].reshape(-1, 3)
    last = truth.warp[-1]
    known = last != HIDDEN
    assert 0.2 < known.mean() < 1.0
    moved, still = (np.where(known[..., None], pixels, clip.rgb[-1])[None] for pixels in (first[last], clip.rgb[0]))
    assert psnr(moved, clip.rgb[-1:]) > psnr(still, clip.rgb[-1:]) + 2


def test_tracks_stay_on_surfaces_that_look_alike(watched: tuple[CapturedClip, ClipTruth]) -> None:
    clip, truth = watched
    assert truth.tracks is not None
    seen = np.isfinite(truth.tracks).all(axis=(0, 2))
    assert seen.sum() > 200
    depth = [
        clip.depth_m[t][tuple(truth.tracks[t, seen].astype(int).clip(0, [WIDTH - 1, HEIGHT - 1]).T[::-1])]
        for t in (0, 8)
    ]
    own = [clip.track_depth_m[t, seen] for t in (0, 8)]
    for at_pixel, of_point in zip(depth, own, strict=True):
        near = np.isfinite(at_pixel) & np.isfinite(of_point)
        assert np.median(np.abs(at_pixel[near] / of_point[near] - 1)) < 0.01


def test_an_edge_is_the_nearer_side_of_a_jump() -> None:
    depth = np.full((4, 6), 10.0, np.float32)
    depth[1:3, 2:4] = 2.0
    depth[0, 0] = 10.5
    want = np.zeros((4, 6), np.bool_)
    want[1:3, 2:4] = True
    np.testing.assert_array_equal(depth_edges(depth), want)
    sky = np.array([[np.inf, 5.0]], np.float32)
    assert depth_edges(sky).tolist() == [[False, True]]


def _shifting(per_frame: tuple[float, float]) -> tuple[Video, NDArray[np.float32]]:
    """A texture that moves, (17, 64, 96, 3), and a grid of points on it."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (64, 96)).astype(np.float32), (0, 0), 2.0)
    texture = (texture - texture.mean()) * 6 + 128
    steps = np.arange(17)[:, None] * np.asarray(per_frame)
    frames = [
        cv2.warpAffine(texture, np.array([[1, 0, x], [0, 1, y]], np.float32), (96, 64), borderMode=cv2.BORDER_WRAP)
        for x, y in steps
    ]
    grid = np.stack(np.meshgrid(np.arange(24, 72, 6), np.arange(20, 44, 6)), axis=-1).reshape(-1, 2) + 0.5
    tracks = grid[None] + steps[:, None]
    return np.repeat(np.clip(frames, 0, 255).astype(np.uint8)[..., None], 3, axis=-1), tracks.astype(np.float32)


def test_points_are_followed_where_the_video_moves_as_it_should() -> None:
    truth, tracks = _shifting((0.5, -0.25))
    assert track_error_px(truth, truth, tracks) < 0.2
    still = np.broadcast_to(truth[0], truth.shape)
    # 16 frames of (0.5, -0.25) pixels.
    assert track_error_px(still, truth, tracks) == pytest.approx(np.hypot(8, 4), abs=0.1)


def test_points_that_are_hidden_once_do_not_count() -> None:
    truth, tracks = _shifting((0.5, 0.0))
    tracks[7] = np.nan
    assert np.isnan(track_error_px(truth, truth, tracks))


def test_edges_agree_where_they_are_drawn() -> None:
    edges = np.zeros((2, 20, 30), np.bool_)
    edges[:, :, 10] = True
    drawn, elsewhere = np.zeros((2, 2, 20, 30, 3), np.uint8)
    drawn[:, :, 10:] = 200
    elsewhere[:, :, 18:] = 200
    assert edge_agreement(drawn, edges) == 1.0
    assert edge_agreement(elsewhere, edges) == 0.0
    assert np.isnan(edge_agreement(drawn, np.zeros_like(edges)))


def test_a_seam_is_a_first_change_that_is_larger_than_the_later_ones() -> None:
    even = (np.arange(9, dtype=np.uint8) * 3)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    assert seam_jump(even) == 1.0
    jumps = even.copy()
    jumps[0] += 60
    assert seam_jump(jumps) == pytest.approx(57 / 3)
    assert np.isnan(seam_jump(even[:1].repeat(5, axis=0)))
