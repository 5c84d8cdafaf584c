"""8-bit products: rounded row by row, in the blocks alone, and said in the numerics."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from miniature import MICRO
from test_longvie2_quality import latents_of
from torch import nn

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import LongVie2WorldModel, build
from longvie_server.world_model.longvie2.checkpoint import make_ready
from longvie_server.world_model.longvie2.float8 import Float8Linear, use_float8
from longvie_server.world_model.options import RunOptions

CPU = torch.device("cpu")


def test_a_product_by_hand() -> None:
    linear = nn.Linear(16, 16)
    linear.weight.data = torch.eye(16) * torch.arange(1.0, 17.0)[:, None]
    linear.bias.data = torch.full((16,), 0.5)
    # Each row's largest value is 448 steps of its own scale, and 300 of 448 is rounded to 288 (e4m3: 32 apart there).
    x = torch.zeros(2, 16)
    x[0, 0], x[0, 1] = 448.0, 300.0
    x[1, 2] = 1000.0
    got = Float8Linear(linear, CPU)(x[None])
    assert got.shape == (1, 2, 16)
    torch.testing.assert_close(got[0, 0, :3], torch.tensor([448.5, 2 * 288 + 0.5, 0.5]))
    torch.testing.assert_close(got[0, 1, :3], torch.tensor([0.5, 0.5, 3000.5]))


def test_a_large_token_spoils_no_other() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(32, 16)
    x = torch.randn(4, 32)
    x[3] *= 1e4
    got, want = Float8Linear(linear, CPU)(x), linear(x)
    apart = (got - want).norm(dim=1) / want.norm(dim=1)
    assert 0 < apart.max() < 0.1
    assert torch.isfinite(Float8Linear(linear, CPU)(torch.zeros(1, 32))).all()


def test_blocks_are_changed_and_nothing_else() -> None:
    plain, rounded = build(MICRO, seed=0), build(MICRO, seed=0)
    make_ready(rounded, CPU, RunOptions(products="float8"))
    changed = {name for name, part in rounded.transformer.named_modules() if isinstance(part, Float8Linear)}
    linear = {name for name, part in plain.transformer.named_modules() if isinstance(part, nn.Linear)}
    stacks = ("blocks.", "control_blocks_")
    assert changed == {name for name in linear if name.startswith(stacks)}
    assert {"blocks.0.ffn.net.2", "control_blocks_sparse.0.attn1.to_out.0"} < changed

    want = latents_of(plain)
    apart = float((latents_of(rounded) - want).norm() / want.norm())
    assert 0 < apart < 0.1
    assert LongVie2WorldModel(rounded, name="rounded").spec.numerics["products"] == "float8"
    assert LongVie2WorldModel(plain, name="plain").spec.numerics["products"] == "full"


def test_it_goes_with_weights_that_are_streamed() -> None:
    resident, streamed = build(MICRO, seed=0), build(MICRO, seed=0)
    make_ready(resident, CPU, RunOptions(products="float8"))
    make_ready(streamed, CPU, RunOptions(products="float8", memory="float8-offloaded"))
    assert torch.equal(latents_of(streamed), latents_of(resident))


def test_a_device_that_cannot_is_told_so() -> None:
    with (
        patch("torch._scaled_mm", side_effect=RuntimeError("only supported on such devices\nand so on")),
        pytest.raises(InvalidValue, match="only supported on such devices") as caught,
    ):
        use_float8(build(MICRO, seed=0).transformer, CPU)
    assert "8.9" in caught.value.remedy
    with pytest.raises(InvalidValue, match="is not known"):
        make_ready(build(MICRO, seed=0), CPU, RunOptions(products="float4"))
