from __future__ import annotations

import copy
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from bridge.errors import ShapeMismatch
from longvie_server.world_model.longvie2 import LongVie2Pipeline, framewise_vae, vae
from longvie_server.world_model.longvie2.vae import (
    decode_stream,
    decode_video,
    denormalise,
    encode_condition,
    encode_video,
    latent_frames,
    normalise,
    to_pixels,
    to_video,
)

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def near(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", ["micro", "golden"])
@pytest.mark.parametrize("frames", [1, 5, 13])
@torch.no_grad()
def test_encoding_is_diffusers(request: pytest.FixtureRequest, size: str, frames: int) -> None:
    model = request.getfixturevalue(size).vae
    video = noise(2, 3, frames, 16, 32)
    got = encode_video(model, video)
    assert got.shape == (2, 16, latent_frames(frames), 2, 4)
    near(got, normalise(model, model.encode(video).latent_dist.mode()))


@pytest.mark.parametrize("size", ["micro", "golden"])
@pytest.mark.parametrize("chunk", [1, 2, 4])
@torch.no_grad()
def test_decoding_is_diffusers_in_pieces_of_any_size(request: pytest.FixtureRequest, size: str, chunk: int) -> None:
    model = request.getfixturevalue(size).vae
    latents = noise(2, 16, 4, 2, 4)
    pieces = list(decode_stream(model, latents, chunk=chunk))
    assert pieces[0].shape[2] == 4 * chunk - 3
    assert sum(piece.shape[2] for piece in pieces) == 13
    want = model.decode(denormalise(model, latents)).sample
    near(torch.cat(pieces, dim=2), want)
    near(decode_video(model, latents), want)


@torch.no_grad()
def test_the_path_of_other_devices_gives_the_same(micro: LongVie2Pipeline) -> None:
    video, latents = noise(1, 3, 9, 16, 32), noise(1, 16, 3, 2, 4)
    with patch.object(vae, "_framewise", return_value=False):
        moments, condition = encode_video(micro.vae, video), encode_condition(micro.vae, video[:, :, :1], 9)
        pieces = list(decode_stream(micro.vae, latents))
    assert [piece.shape[2] for piece in pieces] == [1, 4, 4]
    near(moments, encode_video(micro.vae, video))
    near(condition, encode_condition(micro.vae, video[:, :, :1], 9))
    near(torch.cat(pieces, dim=2), decode_video(micro.vae, latents))


@pytest.mark.parametrize("frames", [1, 5, 81])
@torch.no_grad()
def test_a_condition_is_its_image_and_zeros_encoded_whole(micro: LongVie2Pipeline, frames: int) -> None:
    image = noise(2, 3, 1, 16, 32)
    got = encode_condition(micro.vae, image, frames)
    whole = torch.cat([image, torch.zeros(2, 3, frames - 1, 16, 32)], dim=2)
    near(got[:, 4:], encode_video(micro.vae, whole))
    with patch.object(vae, "_framewise", return_value=False):
        near(encode_condition(micro.vae, image, frames)[:, 4:], encode_video(micro.vae, whole))
    assert got[:, :4, 0].eq(1).all()
    assert got[:, :4, 1:].eq(0).all()


def test_gradients_are_diffusers(micro: LongVie2Pipeline) -> None:
    video = noise(1, 3, 5, 16, 32)
    gradients = []
    for framewise in (True, False):
        model = copy.deepcopy(micro.vae).requires_grad_(True)
        with patch.object(vae, "_framewise", return_value=framewise):
            decode_video(model, encode_video(model, video)).sin().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        want = gradients[1][name]
        assert gradient is not None, name
        assert want is not None, name
        torch.testing.assert_close(gradient, want, rtol=1e-3, atol=1e-3, msg=name)


@torch.no_grad()
def test_two_streams_take_turns(micro: LongVie2Pipeline) -> None:
    first, second = noise(1, 16, 3, 2, 4), noise(1, 16, 3, 2, 4, seed=1)
    pairs = list(zip(decode_stream(micro.vae, first), decode_stream(micro.vae, second), strict=True))
    assert torch.equal(torch.cat([a for a, _ in pairs], dim=2), torch.cat(list(decode_stream(micro.vae, first)), dim=2))
    assert torch.equal(
        torch.cat([b for _, b in pairs], dim=2), torch.cat(list(decode_stream(micro.vae, second)), dim=2)
    )


@torch.no_grad()
def test_golden_codes(golden: LongVie2Pipeline, golden_run: dict[str, Tensor]) -> None:
    dense = to_video(golden_run["clip1.dense_video"].numpy(), device=CPU, dtype=torch.float32)
    want = golden_run["clip1.in.dense"]
    near(encode_video(golden.vae, dense), want[:, :16])
    near(encode_condition(golden.vae, dense[:, :, :1], 17), want[:, 16:])
    decoded = decode_video(golden.vae, golden_run["clip1.latents_after.3"])
    near(decoded, golden_run["clip1.decoded"])


def test_golden_pixels_are_truncated(golden_run: dict[str, Tensor]) -> None:
    assert np.array_equal(to_pixels(golden_run["clip1.decoded"]), golden_run["clip1.frames_uint8"].numpy())
    # (0.999 + 1) * 127.5 = 254.87, which rounding would make 255; out of range saturates.
    assert to_pixels(torch.tensor([0.999, -2.0, 2.0]).view(1, 3, 1, 1, 1)).tolist() == [[[[254, 0, 255]]]]


def test_frames_become_video() -> None:
    grey = to_video(np.array([[[0, 255]]], np.uint8), device=CPU, dtype=torch.float32)
    assert grey.tolist() == [[[[[-1, 1]]]] * 3]
    colour = to_video(np.array([[[[0, 255, 51]]]], np.uint8), device=CPU, dtype=torch.float32)
    torch.testing.assert_close(colour.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


@pytest.mark.parametrize("shape", [(1, 3, 5, 16, 36), (1, 3, 5, 12, 32), (3, 5, 16, 32)])
def test_sides_that_do_not_divide_are_refused(micro: LongVie2Pipeline, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="video"):
        encode_video(micro.vae, torch.zeros(shape))


def test_the_other_kind_of_vae_is_left_to_diffusers(micro: LongVie2Pipeline) -> None:
    assert framewise_vae.supports(micro.vae)
    residual = copy.deepcopy(micro.vae)
    residual.register_to_config(is_residual=True)
    assert not framewise_vae.supports(residual)
