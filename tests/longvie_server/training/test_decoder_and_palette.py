"""What the decoder's loss sees, and what recolouring a scene leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longvie_server.training.muon import _orthogonal
from longvie_server.training.pictures import contrast_error
from longvie_server.training.scenes import recolour


def _stripes(period: int, shift: int = 0, amplitude: float = 0.5) -> torch.Tensor:
    columns = (torch.arange(64) + shift) % period < period // 2
    return (amplitude * (2.0 * columns.float() - 1.0)).expand(1, 3, 64, 64).contiguous()


def test_stripes_that_are_moved_have_the_same_contrast() -> None:
    assert float(contrast_error(_stripes(2), _stripes(2, shift=1))) == pytest.approx(0.0, abs=1e-6)


def test_a_picture_without_detail_lacks_the_stripes_energy() -> None:
    # Stripes of period 2 are wholly in the finest band: their energy is 0.5 squared. The floor is 0.001.
    grey = torch.zeros(1, 3, 64, 64)
    assert float(contrast_error(grey, _stripes(2))) == pytest.approx(0.25 / 0.251, rel=1e-5)


def test_half_the_contrast_is_a_quarter_of_the_energy() -> None:
    none, half = (float(contrast_error(_stripes(2, amplitude=a), _stripes(2))) for a in (0.0, 0.25))
    assert half == pytest.approx(none * 3 / 4, rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 8, 40), (3, 40, 8), (2, 24, 24)])
def test_a_step_has_about_the_same_size_in_every_direction(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(_orthogonal(matrices))
    assert singular.max() < 1.3
    assert singular[:, : shape[1] // 2].min() > 0.6
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    alignment = ((u @ v) * _orthogonal(matrices)).sum((1, 2)) / singular.square().sum(1).sqrt() / min(shape[1:]) ** 0.5
    assert alignment.min() > 0.9


def test_about_half_of_the_scenes_change_their_colours_each_always_in_the_same_way() -> None:
    rgb = np.zeros((81, 16, 16, 3), np.uint8)
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = 200, 120, 40
    changed = []
    for seed in range(60):
        out = recolour(rgb, seed)
        assert np.array_equal(out, recolour(rgb, seed))
        assert out.shape == rgb.shape
        assert out.dtype == np.uint8
        assert (out == out[:1, :1, :1]).all()  # what had one colour has one colour
        changed.append(not np.array_equal(out, rgb))
    assert 15 < sum(changed) < 45
