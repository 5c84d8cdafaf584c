"""What no step changes is computed once: the same bytes, and fewer operations, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from longvie_server.world_model.longvie2 import LongVie2Pipeline
from longvie_server.world_model.longvie2.pipeline import ClipInput
from longvie_server.world_model.longvie2.sampler import Conditions, denoise, mix_first_latent, set_steps, unified_noise

STEPS = 3
# Called once per clip or prompt: all that sees neither the latents nor the time.
ONCE_A_CLIP = ("control_initial_combine_linear_dense", "control_initial_combine_linear_sparse", "rope", "control_rope")
ONCE_A_PROMPT = (
    "condition_embedder.text_embedder",
    "condition_embedder.image_embedder",
    "control_text_linear",
    "blocks.0.attn2.to_k",
    "blocks.1.attn2.to_v",
    "blocks.1.attn2.norm_k",
    "blocks.0.attn2.add_k_proj",
    "control_blocks_dense.0.attn2.to_v",
    "control_blocks_sparse.0.attn2.add_v_proj",
)


@pytest.fixture
def conditions(micro: LongVie2Pipeline, micro_clip: ClipInput) -> Conditions:
    text, negative = (micro.encode_prompt(prompt) for prompt in ("a street", "blurry"))
    return micro.prepare(micro_clip, text=text, negative_text=negative)


def run(
    pipeline: LongVie2Pipeline, conditions: Conditions, *, guidance_scale: float, remember: bool, batched: bool = False
) -> Iterator[Tensor]:
    _, _, frames, rows, columns = conditions.image_latents.shape
    noise = mix_first_latent(unified_noise((1, 16, frames, rows, columns), 3), conditions.history)
    scheduler = set_steps(pipeline.scheduler, STEPS, torch.device("cpu"))
    return denoise(
        pipeline.transformer,
        scheduler,
        noise=noise,
        conditions=conditions,
        guidance_scale=guidance_scale,
        remember=remember,
        batched=batched,
    )


@contextmanager
def counted(module: nn.Module) -> Iterator[Counter[str]]:
    """How often each submodule is called."""
    calls: Counter[str] = Counter()
    hooks = [
        part.register_forward_hook(lambda *_, name=name: calls.update([name])) for name, part in module.named_modules()
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_the_same_bytes_as_without(micro: LongVie2Pipeline, conditions: Conditions, guidance_scale: float) -> None:
    kept, made_again = (
        list(run(micro, conditions, guidance_scale=guidance_scale, remember=remember)) for remember in (True, False)
    )
    assert all(torch.equal(a, b) for a, b in zip(kept, made_again, strict=True))


def test_one_pass_for_both_prompts_makes_the_same_latents(micro: LongVie2Pipeline, conditions: Conditions) -> None:
    together, apart = (
        list(run(micro, conditions, guidance_scale=5.0, remember=True, batched=batched)) for batched in (True, False)
    )
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_nothing_constant_is_computed_twice(micro: LongVie2Pipeline, conditions: Conditions) -> None:
    with counted(micro.transformer) as calls:
        list(run(micro, conditions, guidance_scale=5.0, remember=True))
    assert {name: calls[name] for name in ONCE_A_CLIP} == dict.fromkeys(ONCE_A_CLIP, 1)
    assert {name: calls[name] for name in ONCE_A_PROMPT} == dict.fromkeys(ONCE_A_PROMPT, 2)
    passes = 2 * STEPS
    assert calls["blocks.0.attn2.to_q"] == passes
    # The latents in every pass; dense, sparse and history once.
    assert calls["patch_embedding"] == passes + 3

    with counted(micro.transformer) as calls:
        list(run(micro, conditions, guidance_scale=5.0, remember=True, batched=True))
    assert {calls[name] for name in (*ONCE_A_CLIP, *ONCE_A_PROMPT)} == {1}
    assert calls["patch_embedding"] == STEPS + 3


def test_later_steps_cost_less_by_what_is_kept(micro: LongVie2Pipeline, conditions: Conditions) -> None:
    costs: dict[bool, list[int]] = {True: [], False: []}
    for remember in costs:
        steps = run(micro, conditions, guidance_scale=1.0, remember=remember)
        for _ in range(STEPS):
            with FlopCounterMode(display=False) as counter:
                next(steps)
            costs[remember].append(counter.get_total_flops())
    first, *later = costs[True]
    assert costs[False] == [first] * STEPS
    assert later == [later[0]] * (STEPS - 1)

    # By hand: widths 24 and 12 (control), 5 image and 512 text tokens of 16, 2 tokens per latent frame of 36 x 2 x 2.
    embedded = 512 * (16 * 24 + 24 * 24) + 5 * (16 * 16 + 16 * 24)
    keys_and_values = 2 * 517 * (2 * 24 * 24 + 2 * 12 * 12)
    patches = 2 * (5 + 5 + 2) * (36 * 4) * 24
    entrances = 2 * (5 + 5) * 24 * 12 + 517 * 24 * 12
    assert first - later[0] == 2 * (embedded + keys_and_values + patches + entrances)


def test_one_pass_for_both_prompts_costs_less_by_what_they_share(
    micro: LongVie2Pipeline, conditions: Conditions
) -> None:
    costs = {}
    for batched in (True, False):
        steps = run(micro, conditions, guidance_scale=5.0, remember=True, batched=batched)
        next(steps)
        with FlopCounterMode(display=False) as counter:
            next(steps)
        costs[batched] = counter.get_total_flops()
    # By hand, as above: the latents' patches, and all that is made of the time.
    patches = 2 * 5 * (36 * 4) * 24
    time = 16 * 24 + 24 * 24 + 24 * (6 * 24) + 6 * 24 * 12
    assert costs[False] - costs[True] == 2 * (patches + time)


def test_a_memo_is_of_one_clip(micro: LongVie2Pipeline, conditions: Conditions) -> None:
    first = list(run(micro, conditions, guidance_scale=1.0, remember=True))[-1]
    other = Conditions(
        text=micro.encode_prompt("a forest"),
        negative_text=None,
        image=conditions.image,
        image_latents=conditions.image_latents,
        dense=conditions.sparse,
        sparse=conditions.dense,
        history=None,
    )
    list(run(micro, other, guidance_scale=1.0, remember=True))
    assert torch.equal(list(run(micro, conditions, guidance_scale=1.0, remember=True))[-1], first)
