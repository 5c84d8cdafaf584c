"""The two encoders as Wan published them, `.pth` files without a config, under the names that transformers gives them.

In: the files of a base in the original layout. Out: a config, worked out from the weights, and the weights by
transformers' names. Law: every tensor of the encoder is used, as it is or cut into three; of the image encoder's file,
the half that reads text and the heads that compare it with pictures are left out, since nobody here asks them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor
from transformers import CLIPVisionConfig, UMT5Config

from bridge.errors import InvalidValue

from .tensors import TensorFiles, TensorInfo

__all__ = ["ORIGINAL_ENCODERS", "ORIGINAL_TOKENIZER", "read_image_encoder", "read_text_encoder"]

ORIGINAL_ENCODERS: Final[Mapping[str, str]] = {
    "text_encoder": "models_t5_umt5-xxl-enc-bf16.pth",
    "image_encoder": "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
}
ORIGINAL_TOKENIZER: Final = "google/umt5-xxl"

_VIT_HEAD: Final = 80
"""Width of a head of ViT-H: a file does not say how many heads share its width."""

_TEXT: Final = {
    "token_embedding": "shared",
    "norm": "encoder.final_layer_norm",
}
_TEXT_BLOCK: Final = {
    "norm1": "layer.0.layer_norm",
    "attn.q": "layer.0.SelfAttention.q",
    "attn.k": "layer.0.SelfAttention.k",
    "attn.v": "layer.0.SelfAttention.v",
    "attn.o": "layer.0.SelfAttention.o",
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    # The gate goes through the activation, its neighbour does not.
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}
_IMAGE: Final = {
    "cls_embedding": "embeddings.class_embedding",
    "patch_embedding.weight": "embeddings.patch_embedding.weight",
    "pos_embedding": "embeddings.position_embedding.weight",
    # Spelled so by transformers.
    "pre_norm.weight": "pre_layrnorm.weight",
    "pre_norm.bias": "pre_layrnorm.bias",
    "post_norm.weight": "post_layernorm.weight",
    "post_norm.bias": "post_layernorm.bias",
}
_IMAGE_BLOCK: Final = {
    "norm1": "layer_norm1",
    "attn.proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_UNREAD: Final = re.compile(r"textual\..+|log_scale|visual\.head")
_BLOCK: Final = re.compile(r"(?:blocks|visual\.transformer)\.(\d+)\.(.+)\.(weight|bias)")


def read_text_encoder(path: Path) -> tuple[dict[str, Any], TensorFiles]:
    """Return the config and the weights of UMT5's encoder, of any size.

    Raises:
        InvalidValue: the file is missing, cut off, or of something else.
    """
    files = TensorFiles.open(path)
    weights: dict[str, Tensor] = {}
    for key in files:
        block = _BLOCK.fullmatch(key)
        module, _, leaf = key.rpartition(".")
        if block and block[2] in _TEXT_BLOCK:
            weights[f"encoder.block.{block[1]}.{_TEXT_BLOCK[block[2]]}.{block[3]}"] = files[key]
        elif module in _TEXT:
            weights[f"{_TEXT[module]}.{leaf}"] = files[key]
        else:
            raise _strange(path, key, "UMT5 encoder")
    shape = _shapes(weights, path, "UMT5 encoder")
    vocabulary, width = shape("shared.weight")
    buckets, heads = shape("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    config = UMT5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=shape("encoder.block.0.layer.0.SelfAttention.q.weight")[0] // heads,
        d_ff=shape("encoder.block.0.layer.1.DenseReluDense.wi_0.weight")[0],
        num_layers=_blocks(weights, "encoder.block."),
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        feed_forward_proj="gated-gelu",
        architectures=["UMT5EncoderModel"],
    )
    return config.to_dict(), _files(weights, path)


def read_image_encoder(path: Path) -> tuple[dict[str, Any], TensorFiles]:
    """Return the config and the weights of the vision half of CLIP ViT-H, of any size with heads of 80.

    Raises:
        InvalidValue: the file is missing, cut off, or of something else.
    """
    files = TensorFiles.open(path)
    weights: dict[str, Tensor] = {}
    for key in files:
        name = key.removeprefix("visual.")
        block = _BLOCK.fullmatch(key)
        if _UNREAD.fullmatch(key):
            continue
        if block and block[2] == "attn.to_qkv":
            for part, tensor in zip("qkv", files[key].chunk(3), strict=True):
                weights[f"encoder.layers.{block[1]}.self_attn.{part}_proj.{block[3]}"] = tensor
        elif block and block[2] in _IMAGE_BLOCK:
            weights[f"encoder.layers.{block[1]}.{_IMAGE_BLOCK[block[2]]}.{block[3]}"] = files[key]
        elif name in _IMAGE and name != key:
            weights[_IMAGE[name]] = _without_batch(name, files[key])
        else:
            raise _strange(path, key, "CLIP image encoder")
    shape = _shapes(weights, path, "CLIP image encoder")
    width, _, side, _ = shape("embeddings.patch_embedding.weight")
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=shape("encoder.layers.0.mlp.fc1.weight")[0],
        num_hidden_layers=_blocks(weights, "encoder.layers."),
        num_attention_heads=max(1, width // _VIT_HEAD),
        image_size=side * math.isqrt(shape("embeddings.position_embedding.weight")[0] - 1),
        patch_size=side,
        hidden_act="gelu",
        architectures=["CLIPVisionModel"],
    )
    return config.to_dict(), _files(weights, path)


def _without_batch(name: str, tensor: Tensor) -> Tensor:
    if name == "cls_embedding":
        return tensor.flatten()
    return tensor.squeeze(0) if name == "pos_embedding" else tensor


def _files(weights: Mapping[str, Tensor], path: Path) -> TensorFiles:
    infos = {name: TensorInfo(path, tensor.dtype, tuple(tensor.shape)) for name, tensor in weights.items()}
    return TensorFiles(infos, weights)


def _blocks(weights: Mapping[str, Tensor], start: str) -> int:
    return 1 + max(int(name.removeprefix(start).partition(".")[0]) for name in weights if name.startswith(start))


def _shapes(weights: Mapping[str, Tensor], path: Path, what: str) -> Callable[[str], tuple[int, ...]]:
    def shape(name: str) -> tuple[int, ...]:
        if name not in weights:
            raise InvalidValue(
                f"holds no {what}", field="weights", value=path, remedy="Use the file that Wan published."
            )
        return tuple(weights[name].shape)

    return shape


def _strange(path: Path, key: str, what: str) -> InvalidValue:
    return InvalidValue(
        f"holds {key}, which is not of a {what}",
        field="weights",
        value=path,
        remedy="Use the file that Wan published under this name.",
    )
