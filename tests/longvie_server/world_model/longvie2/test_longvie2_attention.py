"""The attention kernel: which one a device gets, that it is the one that runs, and what is said of one that cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from test_longvie2_quality import latents_of

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import LongVie2Pipeline
from longvie_server.world_model.longvie2.attention import (
    KERNELS,
    AttentionKernel,
    choose_kernel,
    fault_on,
    use_kernel,
)

CPU = torch.device("cpu")
HOPPER, AMPERE = (9, 0), (8, 0)


def broken(*names: str) -> Callable[[AttentionKernel], str]:
    return lambda kernel: "it is not installed" if kernel.name in names else ""


@pytest.mark.parametrize(
    ("capability", "gpus", "faulty", "name"),
    [
        (HOPPER, 1, (), "flash3"),
        (HOPPER, 1, ("flash3",), "cudnn"),
        (HOPPER, 1, ("flash3", "cudnn"), "native"),
        # diffusers cannot share FlashAttention 3's heads out.
        (HOPPER, 4, (), "cudnn"),
        (AMPERE, 1, (), "native"),
        (None, 1, (), "native"),
    ],
)
def test_what_a_device_gets(capability: tuple[int, int] | None, gpus: int, faulty: tuple[str, ...], name: str) -> None:
    chosen = choose_kernel("auto", capability=capability, gpus=gpus, fault=broken(*faulty))
    assert chosen.name == name
    assert chosen.exact


def test_a_named_kernel_is_used_or_refused() -> None:
    assert not choose_kernel("sage", capability=AMPERE, gpus=1, fault=broken()).exact
    with pytest.raises(InvalidValue, match="it is not installed") as caught:
        choose_kernel("cudnn", capability=HOPPER, gpus=1, fault=broken("cudnn"))
    assert "auto" in caught.value.remedy
    with pytest.raises(InvalidValue, match="shared out among 2 devices"):
        choose_kernel("flash3", capability=HOPPER, gpus=2, fault=broken())
    with pytest.raises(InvalidValue, match="no attention kernel has this name") as caught:
        choose_kernel("fast", capability=HOPPER, gpus=1, fault=broken())
    assert "flash3, cudnn, native" in caught.value.remedy


def test_a_kernel_is_tried_where_the_model_runs(micro: LongVie2Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = fault_on(CPU, micro.transformer)
    kernels = {kernel.name: kernel for kernel in KERNELS}
    assert fault(kernels["native"]) == ""
    assert "flash-attn" in fault(kernels["flash"])

    backend = AttentionBackendName.NATIVE
    right = _AttentionBackendRegistry._backends[backend]
    monkeypatch.setitem(_AttentionBackendRegistry._backends, backend, lambda **given: 1.1 * right(**given))
    assert fault(kernels["native"]) == "it is off by 0.1 of the result"
    assert fault(AttentionKernel("rounded", "", "native", exact=False)) == ""


def test_all_attention_runs_on_the_kernel_and_nothing_global_changes(
    micro: LongVie2Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _AttentionBackendRegistry.get_active_backend()
    pipeline = copy.deepcopy(micro)
    use_kernel(pipeline.transformer, AttentionKernel("plain", "", "_native_math"))
    native = _AttentionBackendRegistry._backends[AttentionBackendName.NATIVE]
    plain = _AttentionBackendRegistry._backends[AttentionBackendName._NATIVE_MATH]
    calls = []

    def counted(**given: object) -> torch.Tensor:
        calls.append(given)
        return plain(**given)

    def never(**_: object) -> torch.Tensor:
        raise AssertionError("another kernel ran")

    want = latents_of(micro)
    monkeypatch.setitem(_AttentionBackendRegistry._backends, AttentionBackendName._NATIVE_MATH, counted)
    monkeypatch.setitem(_AttentionBackendRegistry._backends, AttentionBackendName.NATIVE, never)
    torch.testing.assert_close(latents_of(pipeline), want, rtol=1e-5, atol=1e-5)
    # Two steps; two base blocks and two of the branches; self-attention, that to the text, that to the image.
    assert len(calls) == 2 * 4 * 3
    monkeypatch.setitem(_AttentionBackendRegistry._backends, AttentionBackendName.NATIVE, native)
    assert _AttentionBackendRegistry.get_active_backend() == before
