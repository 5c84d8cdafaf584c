"""The block autoencoder: its geometry, its streaming, and what depends on what."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longvie_server.world_model.longvie2.block_vae import BlockAutoencoder, from_blocks, to_blocks
from longvie_server.world_model.longvie2.vae import decode_stream, decode_video, encode_condition, encode_video


@pytest.fixture(scope="module")
def vae() -> BlockAutoencoder:
    """Eight channels, with a network that draws: one that says nothing would hide what depends on what."""
    torch.manual_seed(3)
    made = BlockAutoencoder(z_dim=8, width=8, layers=1, detail=2, place_width=8).eval()
    made.register_to_config(latents_mean=[0.5] * 8, latents_std=[2.0] * 8)
    for parameter in made.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def video(frames: int, *, seed: int = 0) -> Tensor:
    return torch.rand(2, 3, frames, 32, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@given(time=st.sampled_from([1, 2, 4]), block=st.sampled_from([4, 8, 16]), groups=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_blocks_are_put_back_where_they_were(time: int, block: int, groups: int) -> None:
    given_video = video(time * groups)
    assert torch.equal(from_blocks(to_blocks(given_video, block, time), block, time), given_video)


def test_a_block_holds_the_pixels_of_its_place() -> None:
    numbered = torch.arange(3 * 4 * 8 * 8, dtype=torch.float32).view(1, 3, 4, 8, 8)
    second = to_blocks(numbered, 4, 4)[0, 0, 0, 1].view(4, 4, 4, 3)
    assert torch.equal(second, numbered[0, :, :, :4, 4:].permute(1, 2, 3, 0))


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_any_chunks_make_the_same_video(vae: BlockAutoencoder, chunk: int) -> None:
    latents = torch.randn(2, 8, 6, 2, 3, generator=torch.Generator().manual_seed(1))
    pieces = list(decode_stream(vae, latents, chunk=chunk))
    assert pieces[0].shape[2] == 4 * min(chunk, 6) - 3
    torch.testing.assert_close(torch.cat(pieces, dim=2), decode_video(vae, latents), atol=1e-5, rtol=0)
    assert sum(piece.shape[2] for piece in pieces) == 21


@torch.no_grad()
def test_a_latent_sees_its_own_block_and_four_frames_alone(vae: BlockAutoencoder) -> None:
    before, changed = video(13), video(13)
    changed[:, :, 5:9, 16:32, 32:48] *= -1  # the second group of four, the last block
    moved = (encode_video(vae, before) != encode_video(vae, changed)).any(dim=1)
    assert moved.shape == (2, 4, 2, 3)
    assert moved.nonzero()[:, 1:].unique(dim=0).tolist() == [[2, 1, 2]]


@torch.no_grad()
def test_a_frame_is_drawn_from_its_latent_and_the_one_before(vae: BlockAutoencoder) -> None:
    latents = torch.randn(1, 8, 5, 2, 3, generator=torch.Generator().manual_seed(1))
    changed = latents.clone()
    changed[:, :, 2] += 1
    moved = (decode_video(vae, latents) != decode_video(vae, changed)).flatten(3).any(dim=3)[0].any(dim=0)
    assert moved.nonzero().flatten().tolist() == list(range(5, 13))


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 3])
def test_what_is_known_is_shown_as_it_is_and_the_rest_is_drawn(vae: BlockAutoencoder, chunk: int) -> None:
    shown, known = video(9), torch.ones(2, 1, 9, 32, 48)
    known[:, :, 1:, :, 16:] = 0
    latents = torch.randn(2, 8, 3, 2, 3, generator=torch.Generator().manual_seed(1))
    made = torch.cat(list(vae.decode_chunks(latents, chunk, hint=vae.hint(shown, known))), dim=2)
    hint = vae.hint(torch.where(known == 1, -shown, shown), known)
    other = torch.cat(list(vae.decode_chunks(latents, chunk, hint=hint)), dim=2)
    # Whole frames, and whatever lies more than three pixels within, to the last bits.
    torch.testing.assert_close(made[:, :, 0], shown[:, :, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(made[..., :13], shown[..., :13], atol=1e-5, rtol=0)
    # Of the last known pixel 0.70 is its own: the middle of a Gaussian, and half of the rest.
    weight = vae.hint(shown, known)[0, -1, 4, 16]
    assert weight[15] == pytest.approx(0.70, abs=0.01)
    assert weight[16:].eq(0).all()
    # Beside it the network draws what goes with it; farther than it sees, something that does not depend on it.
    assert not torch.equal(made[..., 16:20], other[..., 16:20])
    assert torch.equal(made[:, :, 1:, :, 36:], other[:, :, 1:, :, 36:])


@torch.no_grad()
def test_a_video_that_is_likely_beforehand_is_whole_again_known_or_not() -> None:
    fresh = BlockAutoencoder(z_dim=8, width=8, layers=1, detail=2, place_width=8)  # its network draws nothing yet
    shown = video(9)
    known = torch.zeros(2, 1, 9, 32, 48)
    known[:, :, :, 4:20] = 1
    hint = fresh.hint(shown, known)
    assert torch.equal(hint[:, :3], shown)
    assert torch.equal(hint[:, 6:] > 0, known > 0)
    without = torch.cat(list(fresh.decode_chunks(fresh.encode_mean(shown), 3)), dim=2)
    assert (without - shown).abs().max() > 0.5
    for chunk in (1, 2, 3):
        pieces = list(fresh.decode_chunks(fresh.encode_mean(shown), chunk, hint=hint))
        torch.testing.assert_close(torch.cat(pieces, dim=2), shown, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("channel", [0, 4, 6])
def test_the_network_sees_every_part_of_a_hint_and_none_is_zeros(vae: BlockAutoencoder, channel: int) -> None:
    latents = torch.randn(1, 8, 3, 2, 3, generator=torch.Generator().manual_seed(1))
    hint = torch.zeros(1, 7, 9, 32, 48)
    assert torch.equal(decode_video(vae, latents, hint=hint), decode_video(vae, latents))
    hint[:, channel, 5, 20, 20] = 0.25
    moved = (decode_video(vae, latents, hint=hint) != decode_video(vae, latents)).any(dim=1)[0]
    assert moved.any(dim=(1, 2)).nonzero().flatten().tolist() == [5]
    assert moved[5, 20, 21]


@torch.no_grad()
def test_the_condition_is_the_first_frame_followed_by_grey(vae: BlockAutoencoder) -> None:
    image = video(1)
    condition = encode_condition(vae, image, 9)
    whole = encode_video(vae, torch.cat([image, torch.zeros(2, 3, 8, 32, 48)], dim=2))
    assert condition.shape == (2, 4 + 8, 3, 2, 3)
    assert torch.equal(condition[:, 4:], whole)
    assert condition[:, :4, 0].eq(1).all()
    assert condition[:, :4, 1:].eq(0).all()


@torch.no_grad()
def test_it_is_the_same_after_a_round_trip_through_a_folder(vae: BlockAutoencoder, tmp_path: Path) -> None:
    vae.save_pretrained(tmp_path)
    again = BlockAutoencoder.from_pretrained(tmp_path)
    assert list(again.config.latents_mean) == [0.5] * 8
    assert torch.equal(again(video(5)), vae(video(5)))


def test_blocks_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4 pixels"):
        BlockAutoencoder(scale_factor_spatial=10)
