"""Memory profiles: what a card gets, and that where weights lie changes no byte."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import LongVie2Pipeline
from longvie_server.world_model.longvie2.memory import PROFILES, choose_profile, footprint, profile_named
from longvie_server.world_model.longvie2.pipeline import ClipInput

GB = 10**9
CPU = torch.device("cpu")


def clip_of(pipeline: LongVie2Pipeline, clip: ClipInput) -> np.ndarray:
    return pipeline(clip.image, clip.dense, clip.sparse, "a street", history=clip.history, guidance_scale=3.0)


def test_the_real_models_parameters() -> None:
    size = footprint()
    assert size.transformer / 1e9 == pytest.approx(16.4 + 2.6, abs=0.1)
    assert size.text_encoder / 1e9 == pytest.approx(5.7, abs=0.1)
    assert size.image_encoder / 1e9 == pytest.approx(0.63, abs=0.01)
    assert size.vae / 1e6 == pytest.approx(127, abs=1)
    assert 3 * GB < size.activation_bytes < 10 * GB


@pytest.mark.parametrize(
    ("device_gb", "host_gb", "name"),
    [
        (139, 128, "resident"),
        (78, 64, "resident"),
        (47, 64, "encoders-offloaded"),
        (47, 8, None),
        (31, 64, "float8"),
        (23, 64, "offloaded"),
        (15, 64, "offloaded"),
        (15, 40, "float8-offloaded"),
        (5, 64, None),
    ],
)
def test_what_a_card_gets(device_gb: float, host_gb: float, name: str | None) -> None:
    free = {"device_bytes": int(device_gb * GB), "host_bytes": int(host_gb * GB)}
    if name is None:
        with pytest.raises(InvalidValue, match="GB on the device") as caught:
            choose_profile(footprint(), **free)
        assert caught.value.remedy
    else:
        assert choose_profile(footprint(), **free).name == name


def test_each_profile_takes_less_of_the_device_than_the_one_before() -> None:
    peaks = [profile.peak_bytes(footprint()) for profile in PROFILES]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] <= 60 * GB
    assert profile_named("offloaded").peak_bytes(footprint()) <= 24 * GB


@pytest.mark.parametrize("name", [profile.name for profile in PROFILES if not profile.float8])
def test_where_weights_lie_changes_no_byte(micro: LongVie2Pipeline, micro_clip: ClipInput, name: str) -> None:
    laid_out = copy.deepcopy(micro)
    profile_named(name).apply(laid_out, CPU)
    np.testing.assert_array_equal(clip_of(laid_out, micro_clip), clip_of(micro, micro_clip))


@pytest.mark.parametrize("name", [profile.name for profile in PROFILES if profile.float8])
def test_eight_bits_are_near(micro: LongVie2Pipeline, micro_clip: ClipInput, name: str) -> None:
    laid_out = copy.deepcopy(micro)
    profile_named(name).apply(laid_out, CPU)
    stored = laid_out.transformer.blocks[0].ffn.net[2].weight
    assert stored.dtype == torch.float8_e4m3fn
    whole, near = (clip_of(pipeline, micro_clip).astype(int) for pipeline in (micro, laid_out))
    apart = np.abs(whole - near).mean()
    assert 0 < apart < 0.25 * whole.std()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidValue, match="resident"):
        profile_named("huge")
