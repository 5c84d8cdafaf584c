"""The smallest LongVies 2 in which every part still does its work: what tests build, train and serve."""

from __future__ import annotations

from dataclasses import replace

from longvie_server.world_model.longvie2 import TINY, LongVie2Config
from longvie_server.world_model.longvie2.configs import (
    BlockVaeSize,
    ImageEncoderSize,
    TextEncoderSize,
    TransformerSize,
    VaeSize,
)

__all__ = ["HEIGHT", "MICRO", "MINIATURE", "WIDTH"]

HEIGHT, WIDTH = 32, 48
MINIATURE = replace(
    TINY,
    height=HEIGHT,
    width=WIDTH,
    transformer=replace(
        TINY.transformer,
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=20,
        out_channels=8,
        ffn_dim=32,
        num_layers=2,
        control_num_layers=1,
        control_num_attention_heads=2,
        control_ffn_dim=16,
    ),
    vae=BlockVaeSize(z_dim=8, width=8, layers=1, detail=2, place_width=8),
)
"""As `tiny` is made: blocks for a VAE, one step."""

MICRO = LongVie2Config(
    height=16,
    width=32,
    num_inference_steps=2,
    guidance_scale=1.0,
    shift=5.0,
    negative_prompt="blurry",
    transformer=TransformerSize(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        image_dim=16,
        rope_max_seq_len=64,
        control_num_layers=1,
        control_num_attention_heads=1,
        control_ffn_dim=16,
    ),
    vae=VaeSize(
        base_dim=4,
        decoder_base_dim=4,
        dim_mult=(1, 2, 2),
        num_res_blocks=1,
        temperal_downsample=(True, True),
        in_channels=12,
        out_channels=12,
        patch_size=2,
    ),
    text_encoder=TextEncoderSize(vocab_size=384, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2),
    image_encoder=ImageEncoderSize(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    ),
)
"""As the released model is made: Wan's VAE and patches."""
