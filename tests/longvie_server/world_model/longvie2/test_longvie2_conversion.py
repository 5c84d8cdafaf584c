from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import LongVie2Pipeline
from longvie_server.world_model.longvie2.conversion import (
    convert_control,
    convert_transformer,
    convert_vae,
    load_longvie2,
    load_vae,
)

GoldenFile = Callable[[str], dict[str, Tensor]]
EMPTY = torch.zeros(0)


def test_the_released_prefix_is_optional(golden_file: GoldenFile) -> None:
    control = golden_file("control")
    prefixed = {f"pipe.dual_controller.{name}": tensor for name, tensor in control.items()}
    assert convert_control(prefixed).keys() == convert_control(control).keys()


def test_replacements_win_over_the_base(golden: LongVie2Pipeline, golden_file: GoldenFile) -> None:
    name = "blocks.1.self_attn.q.weight"
    base, dit = golden_file("base")[name], golden_file("dit")[name]
    loaded = golden.transformer.blocks[1].attn1.to_q.weight
    assert torch.equal(loaded, dit)
    assert not torch.equal(loaded, base)


@pytest.mark.parametrize("part", ["base", "dit", "control"])
@pytest.mark.parametrize("fault", ["unknown", "missing"])
def test_loading_is_strict(golden: LongVie2Pipeline, golden_file: GoldenFile, part: str, fault: str) -> None:
    parts = {name: golden_file(name) for name in ("base", "dit", "control")}
    if fault == "unknown":
        parts[part]["blocks.0.self_attn.z.weight"] = EMPTY
    elif part == "dit":
        parts["base"] = {k: v for k, v in parts["base"].items() if k != "blocks.0.self_attn.q.weight"}
    else:
        parts[part].popitem()
    with pytest.raises(InvalidValue):
        load_longvie2(copy.deepcopy(golden.transformer), **parts)


@pytest.mark.parametrize(
    "key",
    ["head.weight", "head.head.gain.x", "blocks.0.norm1.weight", "modulation", "control_t_mod.weight", "vace.0.x"],
)
def test_keys_of_other_models_are_refused(key: str) -> None:
    with pytest.raises(InvalidValue, match=key):
        convert_transformer({key: EMPTY})


@pytest.mark.parametrize(
    "key", ["blocks.0.self_attn.q.weight", "control_combine_linears.x.weight", "control_t_mod.gain"]
)
def test_only_the_branches_are_in_a_control_file(key: str) -> None:
    with pytest.raises(InvalidValue, match=key):
        convert_control({key: EMPTY})


def test_norms_change_their_number() -> None:
    # The original's norm3 stands before cross-attention, which is diffusers' norm2.
    assert list(convert_transformer({"blocks.7.norm3.bias": EMPTY})) == ["blocks.7.norm2.bias"]
    assert list(convert_transformer({"head.modulation": EMPTY})) == ["scale_shift_table"]


@pytest.mark.parametrize(
    ("original", "ours"),
    [
        ("conv1.weight", "quant_conv.weight"),
        ("decoder.conv1.bias", "decoder.conv_in.bias"),
        ("encoder.middle.2.residual.6.weight", "encoder.mid_block.resnets.1.conv2.weight"),
        ("encoder.downsamples.2.resample.1.weight", "encoder.down_blocks.2.resample.1.weight"),
        ("encoder.downsamples.3.shortcut.weight", "encoder.down_blocks.3.conv_shortcut.weight"),
        ("decoder.upsamples.2.residual.0.gamma", "decoder.up_blocks.0.resnets.2.norm1.gamma"),
        ("decoder.upsamples.3.time_conv.weight", "decoder.up_blocks.0.upsamplers.0.time_conv.weight"),
        ("decoder.upsamples.4.residual.2.weight", "decoder.up_blocks.1.resnets.0.conv1.weight"),
        ("decoder.upsamples.14.residual.3.gamma", "decoder.up_blocks.3.resnets.2.norm2.gamma"),
    ],
)
def test_real_vae_keys(original: str, ours: str) -> None:
    assert list(convert_vae({original: EMPTY})) == [ours]
    with torch.device("meta"):
        assert ours in AutoencoderKLWan().state_dict()


@pytest.mark.parametrize("key", ["encoder.middle.0.residual.9.weight", "decoder.tail.weight", "conv3.weight"])
def test_keys_of_other_vaes_are_refused(key: str) -> None:
    with pytest.raises(InvalidValue, match=key):
        convert_vae({key: EMPTY})


def test_a_vae_of_another_size_is_refused(golden_file: GoldenFile) -> None:
    with pytest.raises(InvalidValue, match="vae"):
        load_vae(AutoencoderKLWan(base_dim=8, num_res_blocks=2), golden_file("vae"))
