"""Sizes of LongVie 2 as data, and `build`, which makes a pipeline of a size with fresh random weights.

In: a `LongVie2Config` and a seed. Out: a `LongVie2Pipeline`. Law: a size is nothing but numbers; no code asks its name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.resources import files

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from transformers import (
    ByT5Tokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerBase,
    UMT5Config,
    UMT5EncoderModel,
)

from .block_vae import BlockAutoencoder
from .pipeline import LongVie2Pipeline
from .transformer import LongVie2Transformer3DModel
from .vae import VideoVae

__all__ = [
    "LONGVIE2_14B",
    "TINY",
    "ImageEncoderSize",
    "LongVie2Config",
    "TextEncoderSize",
    "TransformerSize",
    "VaeSize",
    "build",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSize:
    """Sizes of the denoiser; the defaults are the real ones. See `LongVie2Transformer3DModel`."""

    patch_size: tuple[int, int, int] = (1, 2, 2)
    num_attention_heads: int = 40
    attention_head_dim: int = 128
    in_channels: int = 36
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    ffn_dim: int = 13824
    num_layers: int = 40
    image_dim: int = 1280
    rope_max_seq_len: int = 1024
    control_num_layers: int = 12
    control_num_attention_heads: int = 20
    control_ffn_dim: int = 6912
    prediction_type: str = "flow_prediction"


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeSize:
    """Sizes of the video VAE; the defaults are Wan 2.1's. See diffusers' `AutoencoderKLWan`.

    With `patch_size` p, blocks of p x p pixels become channels first: in_channels and out_channels are 3 * p * p, and
    scale_factor_spatial, the pixels per latent in each direction, counts them.
    """

    base_dim: int = 96
    decoder_base_dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    in_channels: int = 3
    out_channels: int = 3
    patch_size: int | None = None
    scale_factor_spatial: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockVaeSize:
    """Sizes of a `BlockAutoencoder`, for small models; see there."""

    z_dim: int = 96
    width: int = 192
    layers: int = 2
    detail: int = 24
    place_width: int = 64
    scale_factor_spatial: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoderSize:
    """Sizes of the text encoder; the defaults are UMT5-XXL's."""

    vocab_size: int = 256384
    d_model: int = 4096
    d_kv: int = 64
    d_ff: int = 10240
    num_layers: int = 24
    num_heads: int = 64
    dropout_rate: float = 0.1
    feed_forward_proj: str = "gated-gelu"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoderSize:
    """Sizes of the image encoder; the defaults are CLIP ViT-H/14's."""

    hidden_size: int = 1280
    intermediate_size: int = 5120
    num_hidden_layers: int = 32
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 14
    hidden_act: str = "gelu"


@dataclass(frozen=True, slots=True, kw_only=True)
class LongVie2Config:
    """A size of LongVie 2 and its sampler's defaults.

    Args:
        height, width: of the frames, pixels.
        carries_first_frame: see `LongVie2Pipeline`.
        num_inference_steps, guidance_scale, shift: of the sampler.
        negative_prompt: read at guidance other than 1.
        transformer, vae, text_encoder, image_encoder: sizes of the parts.
    """

    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float
    shift: float
    negative_prompt: str
    carries_first_frame: bool = False
    transformer: TransformerSize = field(default_factory=TransformerSize)
    vae: VaeSize | BlockVaeSize = field(default_factory=VaeSize)
    text_encoder: TextEncoderSize = field(default_factory=TextEncoderSize)
    image_encoder: ImageEncoderSize = field(default_factory=ImageEncoderSize)


LONGVIE2_14B = LongVie2Config(
    height=352,
    width=640,
    num_inference_steps=50,
    guidance_scale=5.0,
    shift=5.0,
    # Wan 2.1's own, in its original language: the weights know it word by word.
    negative_prompt=files(__package__).joinpath("negative_prompt.txt").read_text(encoding="utf-8").strip(),
)
"""The released model: 16.4 B + 2.6 B parameters."""

TINY = LongVie2Config(
    height=80,
    width=144,
    num_inference_steps=1,
    guidance_scale=1.0,
    shift=5.0,
    negative_prompt="",
    carries_first_frame=True,
    transformer=TransformerSize(
        patch_size=(1, 1, 1),
        num_attention_heads=6,
        attention_head_dim=48,
        in_channels=196,
        out_channels=96,
        text_dim=128,
        freq_dim=256,
        ffn_dim=448,
        num_layers=8,
        image_dim=128,
        rope_max_seq_len=128,
        control_num_layers=4,
        control_num_attention_heads=3,
        control_ffn_dim=256,
        # Where a token is a third as wide as the network, a flow's noise would fill a third of all that it can say.
        prediction_type="sample",
    ),
    vae=BlockVaeSize(),
    text_encoder=TextEncoderSize(vocab_size=384, d_model=128, d_kv=32, d_ff=256, num_layers=1, num_heads=4),
    image_encoder=ImageEncoderSize(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=64,
        patch_size=16,
    ),
)
"""The same model for a laptop: 945 tokens a clip, about 19 M parameters in all."""


def build_vae(size: VaeSize | BlockVaeSize) -> VideoVae:
    """Return a VAE with fresh weights; what its latents' mean and deviation are is measured once it is trained."""
    if isinstance(size, BlockVaeSize):
        return BlockAutoencoder(**asdict(size))
    # diffusers adds lists to these: they cannot stay tuples.
    vae = AutoencoderKLWan(**{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(size).items()})
    if len(vae.config.latents_mean) != size.z_dim:
        # diffusers' defaults are Wan 2.1's 16 channels.
        vae.register_to_config(latents_mean=[0.0] * size.z_dim, latents_std=[1.0] * size.z_dim)
    return vae


def build(config: LongVie2Config, *, seed: int, tokenizer: PreTrainedTokenizerBase | None = None) -> LongVie2Pipeline:
    """Return a pipeline with fresh float32 weights, in evaluation mode; the caller's random state is left alone.

    Args:
        config: the size.
        seed: of the weights.
        tokenizer: with the text encoder's vocabulary; None is the byte-level one, which needs no vocabulary file.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = UMT5EncoderModel(UMT5Config(**asdict(config.text_encoder)))
        image_encoder = CLIPVisionModel(CLIPVisionConfig(**asdict(config.image_encoder)))
        vae = build_vae(config.vae)
        transformer = LongVie2Transformer3DModel(**asdict(config.transformer))
    for part in (text_encoder, image_encoder, vae, transformer):
        part.eval()
    return LongVie2Pipeline(
        tokenizer=ByT5Tokenizer() if tokenizer is None else tokenizer,
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=config.shift),
        height=config.height,
        width=config.width,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        negative_prompt=config.negative_prompt,
        carries_first_frame=config.carries_first_frame,
    )
