"""How published files are named and split."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["longvie_file", "original_image_encoder", "original_text_encoder", "write_shards"]


def longvie_file(folder: Path, name: str) -> Path:
    return folder / "longvie" / f"{name}.safetensors"


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Two shards and their index, named as diffusers and the original release name them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name].contiguous() for name in part}, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def original_text_encoder(*, width: int, heads: int, layers: int, vocabulary: int = 384) -> dict[str, Tensor]:
    """Random weights named and shaped as `models_t5_umt5-xxl-enc-bf16.pth` has them; heads are 8 wide."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return 0.3 * torch.randn(shape, generator=generator)

    weights = {"token_embedding.weight": random(vocabulary, width), "norm.weight": 1 + random(width)}
    for number in range(layers):
        block = {
            "norm1": 1 + random(width),
            **{f"attn.{name}": random(8 * heads, width) for name in "qkv"},
            "attn.o": random(width, 8 * heads),
            "norm2": 1 + random(width),
            "ffn.gate.0": random(24, width),
            "ffn.fc1": random(24, width),
            "ffn.fc2": random(width, 24),
            "pos_embedding.embedding": random(32, heads),
        }
        weights |= {f"blocks.{number}.{name}.weight": weight for name, weight in block.items()}
    return weights


def original_image_encoder(*, width: int, layers: int, side: int = 16, patches: int = 4) -> dict[str, Tensor]:
    """Random weights as `models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth` has them, unread ones too."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    weights = {
        "log_scale": torch.tensor(2.66),
        "textual.token_embedding.weight": random(8, 4),
        "visual.head": random(width, 8),
        "visual.cls_embedding": random(1, 1, width),
        "visual.pos_embedding": random(1, 1 + patches, width),
        "visual.patch_embedding.weight": random(width, 3, side, side),
    }
    layer = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.to_qkv.weight": (3 * width, width),
        "attn.to_qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.0.weight": (24, width),
        "mlp.0.bias": (24,),
        "mlp.2.weight": (width, 24),
        "mlp.2.bias": (width,),
    }
    for name in ("pre_norm", "post_norm"):
        weights |= {f"visual.{name}.weight": 1 + random(width), f"visual.{name}.bias": random(width)}
    for number in range(layers):
        weights |= {f"visual.transformer.{number}.{name}": random(*shape) for name, shape in layer.items()}
    return weights
