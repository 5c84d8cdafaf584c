from __future__ import annotations

import copy
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from bridge.errors import InvalidValue, ShapeMismatch
from longvie_server.world_model.longvie2 import LongVie2Pipeline, LongVie2Transformer3DModel
from longvie_server.world_model.longvie2.configs import LONGVIE2_14B


def passed(model: LongVie2Transformer3DModel, golden: dict[str, Tensor], case: str, dtype: torch.dtype) -> Tensor:
    given = {name.removeprefix("in."): t.to(dtype) for name, t in golden.items() if name.startswith("in.")}
    history = next((given[f"history{n}"] for n in (1, 2) if f"hist{n}" in case), None)
    with torch.no_grad():
        return model(
            torch.cat([given["latents"], given["y"]], dim=1),
            golden[f"{case}.timestep"],
            given["context"],
            given["clip_feature"],
            given["dense"],
            given["sparse"],
            history,
        ).sample


@pytest.mark.parametrize("case", ["nohist", "hist1", "hist2", "nohist_t3"])
def test_a_pass_equals_the_reference(golden: LongVie2Pipeline, golden_forward: dict[str, Tensor], case: str) -> None:
    out = passed(golden.transformer, golden_forward, case, torch.float32)
    torch.testing.assert_close(out, golden_forward[f"{case}.out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["nohist_nocontrol", "hist2_nocontrol"])
def test_zeroed_fusion_is_the_base_alone(
    golden: LongVie2Pipeline, golden_forward: dict[str, Tensor], case: str
) -> None:
    model = copy.deepcopy(golden.transformer)
    model.zero_control(initial=False)
    out = passed(model, golden_forward, case, torch.float32)
    torch.testing.assert_close(out, golden_forward[f"{case}.out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["nohist_bf16", "hist2_bf16"])
def test_bfloat16_stays_near_the_reference(
    golden: LongVie2Pipeline, golden_forward: dict[str, Tensor], case: str
) -> None:
    model = torch.nn.Module.to(copy.deepcopy(golden.transformer), torch.bfloat16)
    out = passed(model, golden_forward, case, torch.bfloat16).float()
    want = golden_forward[f"{case}.out"].float()
    assert (out - want).square().mean().sqrt() < 0.02 * want.square().mean().sqrt()


def inputs(frames: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "hidden_states": (1, 36, frames, 2, 4),
        "encoder_hidden_states": (1, 512, 16),
        "encoder_hidden_states_image": (1, 5, 16),
        "dense": (1, 36, frames, 2, 4),
        "sparse": (1, 36, frames, 2, 4),
    }
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**tensors, "timestep": torch.tensor([600.0])}


@torch.no_grad()
def test_the_branches_see_neither_latents_nor_history(micro: LongVie2Pipeline) -> None:
    features: list[Tensor] = []
    hook = micro.transformer.control_combine_linears[0].register_forward_pre_hook(lambda _, args: features.extend(args))
    try:
        given = inputs()
        micro.transformer(**given)
        given["hidden_states"] = given["hidden_states"] + 1
        micro.transformer(**given, history=torch.ones(1, 16, 2, 2, 4))
    finally:
        hook.remove()
    first, second = features
    assert first.shape == (1, 3 * 1 * 2, 12)
    assert torch.equal(first, second)


@torch.no_grad()
def test_one_pass_for_two_prompts_is_a_pass_for_each(micro: LongVie2Pipeline) -> None:
    given = {**inputs(), "history": torch.ones(1, 16, 2, 2, 4)}
    texts = [inputs(seed=seed)["encoder_hidden_states"] for seed in (0, 1)]
    both = micro.transformer(**{**given, "encoder_hidden_states": torch.cat(texts)}).sample
    apart = [micro.transformer(**{**given, "encoder_hidden_states": text}).sample for text in texts]
    torch.testing.assert_close(both, torch.cat(apart), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(*apart, atol=1e-3)


def test_dense_scale_zero_silences_the_dense_video(micro: LongVie2Pipeline) -> None:
    given = inputs()
    silent = torch.zeros(1)
    with torch.no_grad():
        first = micro.transformer(**given, dense_scale=silent).sample
        given["dense"] = given["dense"] + 1
        second = micro.transformer(**given, dense_scale=silent).sample
        heard = micro.transformer(**given, dense_scale=silent + 1).sample
        plain = micro.transformer(**given).sample
    assert torch.equal(first, second)
    assert not torch.equal(first, heard)
    assert torch.equal(heard, plain)


def test_checkpointed_gradients_are_the_same(micro: LongVie2Pipeline) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = copy.deepcopy(micro.transformer).train()
        if checkpointed:
            model.enable_gradient_checkpointing()
        model(**inputs(), history=torch.ones(1, 16, 2, 2, 4)).sample.square().mean().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradient, gradients[1][name])


def test_control_parameters_are_the_branches_alone(micro: LongVie2Pipeline) -> None:
    own = {id(p) for p in micro.transformer.control_parameters()}
    names = {name.split(".")[0] for name, p in micro.transformer.named_parameters() if id(p) in own}
    assert names == {
        "control_blocks_dense",
        "control_blocks_sparse",
        "control_combine_linears",
        "control_initial_combine_linear_dense",
        "control_initial_combine_linear_sparse",
        "control_t_mod",
        "control_text_linear",
    }


def test_the_real_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = LongVie2Transformer3DModel()
        same = LongVie2Transformer3DModel(**asdict(LONGVIE2_14B.transformer))
    assert {n: p.shape for n, p in model.named_parameters()} == {n: p.shape for n, p in same.named_parameters()}
    control = sum(p.numel() for name, p in model.named_parameters() if name.startswith("control_"))
    base = sum(p.numel() for p in model.parameters()) - control
    attention = sum(p.numel() for name, p in model.named_parameters() if name.startswith("blocks.") and "attn1" in name)
    assert (round(base / 1e9, 1), round(control / 1e9, 1), round(attention / 1e9, 1)) == (16.4, 2.6, 4.2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("encoder_hidden_states", (1, 511, 16)),
        ("dense", (1, 36, 3, 2, 2)),
        ("sparse", (1, 36, 2, 2, 4)),
        ("history", (1, 16, 2, 4, 4)),
        ("history", (1, 36, 2, 2, 4)),
    ],
)
def test_wrong_shapes_are_named(micro: LongVie2Pipeline, name: str, shape: tuple[int, ...]) -> None:
    given = {**inputs(), name: torch.zeros(shape)}
    with pytest.raises(ShapeMismatch, match=name):
        micro.transformer(**given)


@pytest.mark.parametrize(("keyword", "value"), [("in_channels", 35), ("control_num_layers", 41)])
def test_impossible_sizes_are_refused(keyword: str, value: int) -> None:
    with pytest.raises(InvalidValue, match=keyword), torch.device("meta"):
        LongVie2Transformer3DModel(**{keyword: value})
