"""Named trades of quality for speed: what each changes, and that `final` changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from miniature import MICRO
from safetensors.torch import save_file
from torch import Tensor

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import LongVie2Pipeline, build
from longvie_server.world_model.longvie2.quality import FEW_STEPS_ENVIRONMENT, QUALITIES, quality_named
from longvie_server.world_model.longvie2.sampler import Conditions, denoise, set_steps

MANY_STEPS = replace(MICRO, num_inference_steps=10, guidance_scale=5.0)
RANK = 3
# Original name of a layer, and diffusers' name.
LAYERS = {
    "self_attn.q": "attn1.to_q",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}


def few_steps_lora(pipeline: LongVie2Pipeline, file: Path, *, width: int | None = None) -> dict[str, Tensor]:
    """Write a LoRA as those for Wan are published; return what it adds, by diffusers' names."""
    generator = torch.Generator().manual_seed(3)
    published: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    for number, block in enumerate(pipeline.transformer.blocks):
        for original, name in LAYERS.items():
            rows, columns = block.get_submodule(name).weight.shape
            down = 0.1 * torch.randn(RANK, width or columns, generator=generator)
            up = 0.1 * torch.randn(rows, RANK, generator=generator)
            published[f"diffusion_model.blocks.{number}.{original}.lora_down.weight"] = down
            published[f"diffusion_model.blocks.{number}.{original}.lora_up.weight"] = up
            if width is None:
                added[f"blocks.{number}.{name}.weight"] = up @ down
    save_file(published, file)
    return added


def latents_of(pipeline: LongVie2Pipeline, *, rows: int = 4) -> Tensor:
    """A clip's latents, 3 x rows x (2 rows), by the pipeline's own steps and guidance."""
    generator = torch.Generator().manual_seed(5)
    config = pipeline.transformer.config
    places = (3, rows, 2 * rows)

    def random(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator)

    conditions = Conditions(
        text=random(1, 512, config.text_dim),
        negative_text=random(1, 512, config.text_dim),
        image=random(1, 5, config.image_dim),
        image_latents=random(1, 20, *places),
        dense=random(1, 36, *places),
        sparse=random(1, 36, *places),
        history=random(1, 16, 2, *places[1:]),
    )
    defaults = pipeline.defaults
    steps = denoise(
        pipeline.transformer,
        set_steps(pipeline.scheduler, defaults.num_inference_steps, torch.device("cpu")),
        noise=random(1, 16, *places),
        conditions=conditions,
        guidance_scale=defaults.guidance_scale,
    )
    return list(steps)[-1]


def weights(pipeline: LongVie2Pipeline) -> Mapping[str, Tensor]:
    return {name: weight.clone() for name, weight in pipeline.transformer.state_dict().items()}


def test_preview_adds_the_published_lora_and_takes_four_steps_without_guidance(tmp_path: Path) -> None:
    pipeline = build(MANY_STEPS, seed=0)
    before = weights(pipeline)
    added = few_steps_lora(pipeline, tmp_path / "lora.safetensors")
    quality_named("preview").apply(pipeline, environ={FEW_STEPS_ENVIRONMENT: str(tmp_path / "lora.safetensors")})
    after = weights(pipeline)
    assert after.keys() == before.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight + added.get(name, torch.zeros(())), rtol=1e-5, atol=1e-6)
    assert sum(not torch.equal(after[name], before[name]) for name in before) == len(added) == 2 * len(LAYERS)
    assert (pipeline.defaults.num_inference_steps, pipeline.defaults.guidance_scale) == (4, 1.0)
    assert torch.isfinite(latents_of(pipeline)).all()


def test_a_lora_of_another_model_is_refused(tmp_path: Path) -> None:
    pipeline = build(MANY_STEPS, seed=0)
    few_steps_lora(pipeline, tmp_path / "wide.safetensors", width=40)
    with pytest.raises(InvalidValue, match="no LoRA of this model's size") as caught:
        quality_named("preview").apply(pipeline, environ={FEW_STEPS_ENVIRONMENT: str(tmp_path / "wide.safetensors")})
    assert "--quality balanced" in caught.value.remedy
    with pytest.raises(InvalidValue, match="no such file"):
        quality_named("preview").apply(pipeline, environ={FEW_STEPS_ENVIRONMENT: str(tmp_path / "nothing")})


def test_balanced_computes_six_of_ten_steps_and_forgets_the_clip_before() -> None:
    final, balanced = build(MANY_STEPS, seed=0), build(MANY_STEPS, seed=0)
    quality_named("balanced").apply(balanced)
    computed = 0

    def count(*_: object) -> None:
        nonlocal computed
        computed += 1

    balanced.transformer.blocks[0].attn1.register_forward_hook(count)
    first = latents_of(balanced)
    # At this size both prompts go through in one pass; steps 1 and 2, then every second one.
    assert computed == 6
    assert torch.equal(latents_of(balanced), first)
    assert computed == 2 * 6
    exact = latents_of(final)
    change = float((first - exact).norm() / exact.norm())
    assert 0 < change < 0.1


@pytest.mark.parametrize(
    ("name", "steps", "guidance_scale", "passes"),
    [
        ("final", 50, 5.0, 100),
        ("balanced", 50, 5.0, 2 * (10 + 20)),
        ("balanced", 10, 1.0, 6),
        ("preview", 50, 5.0, 4),
        # A checkpoint of few steps is left alone.
        ("preview", 4, 5.0, 8),
        ("balanced", 1, 1.0, 1),
    ],
)
def test_passes_are_known_beforehand(name: str, steps: int, guidance_scale: float, passes: int) -> None:
    assert quality_named(name).passes(steps, guidance_scale) == passes


def test_final_changes_nothing() -> None:
    plain, final = build(MANY_STEPS, seed=0), build(MANY_STEPS, seed=0)
    quality_named("final").apply(final)
    assert final.defaults == plain.defaults
    assert torch.equal(latents_of(final), latents_of(plain))


def test_a_checkpoint_of_few_steps_is_the_same_in_every_quality() -> None:
    plain = build(MICRO, seed=0)
    for quality in QUALITIES:
        pipeline = build(MICRO, seed=0)
        quality.apply(pipeline, environ={FEW_STEPS_ENVIRONMENT: "nowhere"})
        assert pipeline.defaults == plain.defaults
        assert not pipeline.transformer.is_cache_enabled


def test_an_unknown_quality_is_named() -> None:
    with pytest.raises(InvalidValue, match="no quality has this name") as caught:
        quality_named("best")
    assert "final, balanced, preview" in caught.value.remedy
