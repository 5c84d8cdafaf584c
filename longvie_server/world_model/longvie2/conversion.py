"""Released checkpoints into this package's layout: key names only, strictly, no tensor is changed.

In: state dicts as published (the original Wan layout; keys may carry `pipe.dual_controller.` or `pipe.dit.`).
Out: state dicts of `LongVie2Transformer3DModel` and diffusers' `AutoencoderKLWan`.
Law: every key is known and every weight arrives; a key that fits nowhere, or one that is missing, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from diffusers import AutoencoderKLWan
from torch import Tensor

from bridge.errors import InvalidValue

from .transformer import LongVie2Transformer3DModel

__all__ = [
    "control_key",
    "convert_control",
    "convert_transformer",
    "convert_vae",
    "load_longvie2",
    "load_vae",
    "transformer_key",
    "vae_key",
]

_PREFIX = re.compile(r"pipe\.(dual_controller|dit)\.")

_TRANSFORMER_NAMES = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
    "head": "",  # head.modulation is the model's own scale_shift_table
    "patch_embedding": "patch_embedding",
}
# The original counts its norms by place of creation, diffusers by place of use: norm3 there is norm2 here.
_BLOCK_NAMES = {
    "self_attn.q": "attn1.to_q",
    "self_attn.k": "attn1.to_k",
    "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0",
    "self_attn.norm_q": "attn1.norm_q",
    "self_attn.norm_k": "attn1.norm_k",
    "cross_attn.q": "attn2.to_q",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.v": "attn2.to_v",
    "cross_attn.o": "attn2.to_out.0",
    "cross_attn.norm_q": "attn2.norm_q",
    "cross_attn.norm_k": "attn2.norm_k",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
_BLOCK = re.compile(r"(blocks|control_blocks_dense|control_blocks_sparse)\.(\d+)\.(.+)")
_CONTROL_LINEAR = re.compile(
    r"control_(initial_combine_linear_(dense|sparse)|text_linear|t_mod|combine_linears\.\d+)\.(weight|bias)"
)

_RESIDUAL_NAMES = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_VAE_NAMES = {
    "conv1": "quant_conv",
    "conv2": "post_quant_conv",
    **{
        f"{side}.{old}": f"{side}.{new}"
        for side in ("encoder", "decoder")
        for old, new in {
            "conv1": "conv_in",
            "head.0": "norm_out",
            "head.2": "conv_out",
            "middle.1.norm": "mid_block.attentions.0.norm",
            "middle.1.to_qkv": "mid_block.attentions.0.to_qkv",
            "middle.1.proj": "mid_block.attentions.0.proj",
        }.items()
    },
}


def convert_transformer(original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a base checkpoint, or a part of one (`dit.safetensors`), from the original Wan layout.

    Raises:
        InvalidValue: a key that the layout does not know.
    """
    return {transformer_key(key): tensor for key, tensor in original.items()}


def convert_control(original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a `control.safetensors`, with or without its prefix.

    Raises:
        InvalidValue: a key that the layout does not know.
    """
    return {control_key(key): tensor for key, tensor in original.items()}


def convert_vae(original: Mapping[str, Tensor], *, num_res_blocks: int = 2) -> dict[str, Tensor]:
    """Rename a Wan 2.1 VAE from the original layout.

    Args:
        original: state dict with `encoder.`, `decoder.`, `conv1.`, `conv2.`.
        num_res_blocks: residual blocks per level, as in the VAE's config.

    Raises:
        InvalidValue: a key that the layout does not know.
    """
    return {vae_key(key, num_res_blocks): tensor for key, tensor in original.items()}


def load_longvie2(
    model: LongVie2Transformer3DModel,
    *,
    base: Mapping[str, Tensor],
    dit: Mapping[str, Tensor],
    control: Mapping[str, Tensor],
) -> None:
    """Load the three released parts into a model: base, its replacement weights over it, control branches.

    Args:
        model: of the checkpoint's sizes.
        base: the whole base transformer, original layout.
        dit: replacements for some of its weights; {} for none.
        control: the two control branches.

    Raises:
        InvalidValue: a key that is unknown, missing, or replaces nothing.
    """
    weights = convert_transformer(base)
    replacements = convert_transformer(dit)
    _refuse("dit", sorted(set(replacements) - set(weights)), "replace nothing in the base")
    _load_strictly(model, {**weights, **replacements, **convert_control(control)}, "base + dit + control")


def load_vae(vae: AutoencoderKLWan, original: Mapping[str, Tensor]) -> None:
    """Load a Wan VAE in the original layout.

    Raises:
        InvalidValue: a key that is unknown or missing.
    """
    _load_strictly(vae, convert_vae(original, num_res_blocks=vae.config.num_res_blocks), "vae")


def _load_strictly(
    model: LongVie2Transformer3DModel | AutoencoderKLWan, weights: dict[str, Tensor], field: str
) -> None:
    expected = model.state_dict().keys()
    _refuse(field, sorted(weights.keys() - expected), "fit nowhere in the model")
    _refuse(field, sorted(expected - weights.keys()), "are missing")
    model.load_state_dict(weights, strict=True)


def _refuse(field: str, keys: list[str], problem: str) -> None:
    if keys:
        raise InvalidValue(
            f"{len(keys)} keys {problem}",
            field=field,
            value=", ".join(keys[:3]) + (", ..." if len(keys) > 3 else ""),
            remedy="Check that the files belong together and to the model's sizes.",
        )


def transformer_key(key: str) -> str:
    """Return this package's name of a base weight; a training run's prefix may be in front of the original one.

    Raises:
        InvalidValue: the layout does not know it.
    """
    key = _PREFIX.sub("", key, count=1)
    block = _BLOCK.fullmatch(key)
    if block and block[1] == "blocks":
        return f"blocks.{block[2]}.{_block_key(block[3], key)}"
    module, _, leaf = key.rpartition(".")
    if module not in _TRANSFORMER_NAMES or (module == "head") != (leaf == "modulation"):
        _refuse("checkpoint", [key], "are not of the Wan transformer")
    return "scale_shift_table" if module == "head" else f"{_TRANSFORMER_NAMES[module]}.{leaf}"


def control_key(key: str) -> str:
    """Return this package's name of a weight of the control file; see `transformer_key`."""
    key = _PREFIX.sub("", key, count=1)
    block = _BLOCK.fullmatch(key)
    if block and block[1] != "blocks":
        return f"{block[1]}.{block[2]}.{_block_key(block[3], key)}"
    if not _CONTROL_LINEAR.fullmatch(key):
        _refuse("checkpoint", [key], "are not of the control branches")
    return key


def _block_key(name: str, key: str) -> str:
    if name == "modulation":
        return "scale_shift_table"
    module, _, leaf = name.rpartition(".")
    if module not in _BLOCK_NAMES:
        _refuse("checkpoint", [key], "are not of a Wan block")
    return f"{_BLOCK_NAMES[module]}.{leaf}"


def vae_key(key: str, num_res_blocks: int = 2) -> str:
    """Return diffusers' name of a weight of the original VAE; see `transformer_key`."""
    module, _, leaf = key.rpartition(".")
    if module in _VAE_NAMES:
        return f"{_VAE_NAMES[module]}.{leaf}"
    side, part, number, rest = (*module.split(".", 3), "", "", "")[:4]
    if part == "middle" and rest in _RESIDUAL_NAMES:
        return f"{side}.mid_block.resnets.{int(number) // 2}.{_RESIDUAL_NAMES[rest]}.{leaf}"
    if part == "downsamples":
        return f"{side}.down_blocks.{number}.{_RESIDUAL_NAMES.get(rest, rest)}.{leaf}"
    if part == "upsamples":
        # The original numbers all layers in one row; each level has num_res_blocks + 1 residual blocks and a resampler.
        level, place = divmod(int(number), num_res_blocks + 2)
        inner = f"resnets.{place}.{_RESIDUAL_NAMES[rest]}" if rest in _RESIDUAL_NAMES else f"upsamplers.0.{rest}"
        return f"{side}.up_blocks.{level}.{inner}.{leaf}"
    _refuse("checkpoint", [key], "are not of the Wan VAE")
    return key
