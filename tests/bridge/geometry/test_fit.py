import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.geometry.camera import Camera, Intrinsics
from bridge.geometry.fit import Fit, FitMap
from bridge.geometry.projection import project


def test_another_aspect_is_refused_with_both_aspects_named():
    with pytest.raises(InvalidValue, match=r"1\.3333 \(640 x 480\) is not the model's 1\.8182 \(640 x 352\)"):
        FitMap.between((640, 480), (640, 352))


@pytest.mark.parametrize("source", [(1280, 704), (1920, 1056), (1000, 555), (1000, 545)])
def test_aspects_within_one_per_cent_are_stretched_without_a_word(source):
    fitted = FitMap.between(source, (640, 352))
    assert fitted.scale == (1.0, 1.0)
    assert fitted.offset == (0.0, 0.0)


@pytest.mark.parametrize("source", [(1000, 560), (1000, 540), (1280, 720)])
def test_aspects_beyond_one_per_cent_are_not(source):
    with pytest.raises(InvalidValue, match="crop, pad or stretch"):
        FitMap.between(source, (640, 352))


def test_crop_by_hand():
    # 800 x 400 to 300 x 300: the middle 400 of 800 columns fills the target.
    fitted = FitMap.between((800, 400), (300, 300), fit=Fit.CROP)
    assert fitted.box == (200.0, 0.0, 600.0, 400.0)
    assert fitted.uv(np.array([[0.25, 0.1], [0.75, 0.9], [0.5, 0.5], [np.nan, 0.0]])).tolist()[:3] == [
        [0.0, 0.1],
        [1.0, 0.9],
        [0.5, 0.5],
    ]
    lens = fitted.intrinsics(Intrinsics(500.0, 520.0, 410.0, 190.0, 800, 400))
    # 300 target pixels show 400 source ones, either way.
    assert lens == Intrinsics(375.0, 390.0, 157.5, 142.5, 300, 300)


def test_pad_by_hand():
    # 640 x 480 into 640 x 352: 469 of 640 columns show it, 85 black ones left of them, 86 right.
    fitted = FitMap.between((640, 480), (640, 352), fit=Fit.PAD)
    assert fitted.place == (85, 0, 554, 352)
    assert fitted.uv(np.array([[0.0, 0.0], [1.0, 1.0]])) == pytest.approx(np.array([[85 / 640, 0.0], [554 / 640, 1.0]]))
    lens = fitted.intrinsics(Intrinsics(500.0, 510.0, 320.0, 240.0, 640, 480))
    assert lens.fx_px == pytest.approx(500 * 469 / 640)
    assert lens.fy_px == pytest.approx(510 * 352 / 480)
    assert lens.cx_px == pytest.approx(85 + 469 / 2)
    assert lens.cy_px == pytest.approx(176)


def test_stretch_by_hand():
    fitted = FitMap.between((640, 480), (320, 120), fit=Fit.STRETCH)
    assert fitted.scale == (1.0, 1.0)
    assert fitted.intrinsics(Intrinsics(500.0, 520.0, 300.0, 200.0, 640, 480)) == Intrinsics(
        250.0, 130.0, 150.0, 50.0, 320, 120
    )


def test_nearest_depth_by_hand():
    depth = np.arange(12, dtype=np.float32).reshape(2, 6)
    halved = FitMap.between((6, 2), (3, 1), fit=Fit.STRETCH).depth(depth)
    # Target centres fall on the edges 1, 3, 5 across and 1 down: the pixel right of, and below, the edge.
    assert halved.tolist() == [[7.0, 9.0, 11.0]]
    cropped = FitMap.between((6, 2), (2, 2), fit=Fit.CROP).depth(depth)
    assert cropped.tolist() == [[2.0, 3.0], [8.0, 9.0]]
    padded = FitMap.between((6, 2), (6, 6), fit=Fit.PAD).depth(depth)
    assert np.isposinf(padded[[0, 1, 4, 5]]).all()
    np.testing.assert_array_equal(padded[2:4], depth)
    assert padded.dtype == np.float32


def test_nothing_to_do_gives_the_very_same_values():
    fitted = FitMap.between((640, 352), (640, 352))
    depth, image = np.ones((352, 640), np.float32), Image.new("RGB", (640, 352))
    lens, uv = Intrinsics(500.0, 500.0, 320.0, 176.0, 640, 352), np.zeros((4, 2))
    assert fitted.is_identity
    assert fitted.depth(depth) is depth
    assert fitted.image(image) is image
    assert fitted.intrinsics(lens) is lens
    assert fitted.uv(uv) is uv


@pytest.mark.parametrize("fit", list(Fit))
def test_image_and_depth_have_the_same_edges(fit):
    # A white block on black, and the same block near on far.
    shown, depth = np.zeros((90, 200, 3), np.uint8), np.full((90, 200), 50.0, np.float32)
    shown[20:70, 60:120] = 255
    depth[20:70, 60:120] = 2.0
    fitted = FitMap.between((200, 90), (120, 80), fit=fit)
    grey = np.asarray(fitted.image(Image.fromarray(shown)))[..., 0]
    near = fitted.depth(depth) == 2.0
    assert grey.shape == near.shape == (80, 120)
    sure = (grey < 32) | (grey > 223)
    np.testing.assert_array_equal(grey[sure] > 223, near[sure])
    assert sure.mean() > 0.9


SIZES = st.tuples(st.integers(16, 400), st.integers(16, 400))


@settings(deadline=None)
@given(SIZES, SIZES, st.sampled_from(Fit), st.integers(0, 2**31))
def test_fitted_intrinsics_see_points_where_fitted_coordinates_say(source, target, fit, seed):
    rng = np.random.default_rng(seed)
    lens = Intrinsics(*rng.uniform(50, 300, 2), *rng.uniform(10, 200, 2), *source)
    fitted = FitMap.between(source, target, fit=fit)
    points = np.append(rng.uniform(-1, 1, (20, 2)), np.ones((20, 2)), axis=1)
    uv, _, _ = project(points, Camera(lens))
    again, _, _ = project(points, Camera(fitted.intrinsics(lens)))
    np.testing.assert_allclose(again, fitted.uv(uv), atol=1e-9)


@settings(deadline=None)
@given(SIZES, SIZES, st.sampled_from(Fit))
@example((16, 322), (198, 17), Fit.CROP)
def test_fitted_depth_is_the_depth_at_the_fitted_pixel(source, target, fit):
    fitted = FitMap.between(source, target, fit=fit)
    rows, columns = np.indices(source[::-1])
    # Whole numbers, exact in float32; what follows has to be float64: a fit may magnify its rounding by hundreds.
    across = fitted.depth(columns.astype(np.float32)).astype(np.float64)
    down = fitted.depth(rows.astype(np.float32)).astype(np.float64)
    seen = np.isfinite(across)
    v, u = np.nonzero(seen)
    uv = fitted.uv(np.stack([(across[seen] + 0.5) / source[0], (down[seen] + 0.5) / source[1]], axis=1))
    # Half a source pixel at most, in target pixels.
    off = np.abs(uv * target - np.stack([u + 0.5, v + 0.5], axis=1))
    assert (off <= 0.5 * np.array(fitted.scale) * target / source + 1e-9).all()


def test_data_of_another_size_is_refused():
    fitted = FitMap.between((640, 480), (320, 240))
    with pytest.raises(ShapeMismatch):
        fitted.depth(np.ones((240, 320), np.float32))
    with pytest.raises(ShapeMismatch):
        fitted.image(Image.new("RGB", (320, 240)))
    with pytest.raises(ShapeMismatch):
        fitted.intrinsics(Intrinsics(1.0, 1.0, 1.0, 1.0, 320, 240))
    with pytest.raises(InvalidValue, match="positive"):
        FitMap.between((0, 480), (320, 240))
