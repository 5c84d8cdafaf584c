"""The three figures on videos whose answers are known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bridge.errors import ShapeMismatch
from longvie_server.evaluation.metrics import gradient_energy, psnr, ssim


def _noise(seed: int = 0, frames: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(frames, 24, 32, 3)).astype(np.uint8)


def test_psnr_of_a_constant_error() -> None:
    truth = np.full((3, 16, 16, 3), 100, np.uint8)
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(20 * math.log10(255 / 5))


def test_psnr_pools_the_error_before_the_logarithm() -> None:
    truth = np.full((2, 16, 16, 3), 100, np.uint8)
    video = truth.copy()
    video[1] += 10
    assert psnr(video, truth) == pytest.approx(10 * math.log10(255**2 / 50))


def test_equal_videos_have_a_finite_psnr_and_perfect_structure() -> None:
    video = _noise()
    assert psnr(video, video) == 99.0
    assert ssim(video, video) == pytest.approx(1.0, abs=1e-5)
    assert gradient_energy(video, video) == 1.0


def test_ssim_of_two_flat_grounds_is_its_luminance_term() -> None:
    a, b = np.full((1, 16, 16, 3), 51, np.uint8), np.full((1, 16, 16, 3), 102, np.uint8)
    # Means 0.2 and 0.4, no variance: (2 * 0.2 * 0.4 + C1) / (0.2 ** 2 + 0.4 ** 2 + C1), C1 = 1e-4.
    assert ssim(a, b) == pytest.approx(0.1601 / 0.2001, abs=1e-4)


def test_ssim_of_unrelated_noise_is_low() -> None:
    assert ssim(_noise(1), _noise(2)) < 0.1


def test_gradient_energy_of_halved_contrast_is_a_quarter() -> None:
    truth = np.zeros((1, 16, 16, 3), np.uint8)
    truth[:, :, ::2] = 200
    assert gradient_energy(truth // 2, truth) == pytest.approx(0.25)
    assert gradient_energy(np.zeros_like(truth), truth) == 0.0


@pytest.mark.parametrize("metric", [psnr, ssim, gradient_energy])
def test_other_shapes_and_types_are_refused(metric) -> None:  # type: ignore[no-untyped-def]
    video = _noise()
    with pytest.raises(ShapeMismatch, match="both of one shape"):
        metric(video, video[:1])
    with pytest.raises(ShapeMismatch, match="uint8"):
        metric(video.astype(np.float32), video)


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(ShapeMismatch, match="window"):
        ssim(np.zeros((1, 10, 32, 3), np.uint8), np.zeros((1, 10, 32, 3), np.uint8))
