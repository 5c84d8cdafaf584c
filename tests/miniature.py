"""The smallest LongVie 2 in which every part still does its work: what tests build, train and serve."""

from __future__ import annotations

from dataclasses import replace

from longvie_server.world_model.longvie2 import TINY
from longvie_server.world_model.longvie2.configs import BlockVaeSize

__all__ = ["HEIGHT", "MINIATURE", "WIDTH"]

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
