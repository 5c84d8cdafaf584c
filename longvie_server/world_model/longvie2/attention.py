"""Which kernel computes attention: chosen by name or by the device, tried there first, and told in the numerics.

In: a transformer and a name, or "auto". Out: the same transformer, all of whose attention runs on that kernel.
Laws: "auto" chooses only kernels that compute attention exactly, so that results differ in their last bits alone; all
but torch's own are tried on the device first, with the model's own head size and type. Nothing global is changed:
diffusers' own `set_attention_backend` would speak for every model of the process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from diffusers.models import attention_dispatch as dispatch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor

from bridge.errors import InvalidValue

from .transformer import LongVie2Transformer3DModel

__all__ = ["KERNELS", "AttentionKernel", "Fault", "attend", "choose_kernel", "fault_on", "use_kernel"]

_TRIED_TOKENS: Final = 257
"""Odd on purpose: the image's tokens are as many, and a kernel may want its own multiples."""
_TRIED_TOLERANCE: Final = 0.02
"""Relative root mean square beside plain attention; 16 bits of one input alone are 0.004."""


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """A way to compute attention.

    Args:
        name: as `--attention` spells it.
        summary: what it is, in words.
        backend: diffusers' name.
        since: least CUDA compute capability where "auto" prefers it to "native"; None for nowhere.
        exact: False where products are rounded to 8 bits on purpose.
    """

    name: str
    summary: str
    backend: str
    since: tuple[int, int] | None = None
    exact: bool = True

    @property
    def shared(self) -> bool:
        """Whether its heads can be shared out among several devices."""
        return self.backend in dispatch._AttentionBackendRegistry._supports_context_parallel


KERNELS: Final = (
    AttentionKernel("flash3", "FlashAttention 3, where it was built and installed", "_flash_3", since=(9, 0)),
    AttentionKernel("cudnn", "cuDNN's, which comes with torch", "_native_cudnn", since=(9, 0)),
    AttentionKernel("native", "torch's own choice, everywhere", "native"),
    # Of the older cards' kernels torch has its own; a package of the same name is not asked to be faster.
    AttentionKernel("flash", "the package flash-attn, version 2", "flash"),
    AttentionKernel("sage", "SageAttention: products in 8 bits, another picture", "sage", exact=False),
)
"""From the fastest; "auto" takes the first that the device runs."""

Fault: TypeAlias = Callable[[AttentionKernel], str]
"""Why a kernel cannot be used here; "" where it can."""


def choose_kernel(name: str, *, capability: tuple[int, int] | None, gpus: int, fault: Fault) -> AttentionKernel:
    """Return the named kernel, or for "auto" the fastest exact one that works.

    Args:
        name: "auto", or of one of `KERNELS`.
        capability: of the CUDA device; None for a device of another kind, where torch chooses.
        gpus: that make each clip together.
        fault: tries a kernel.

    Raises:
        InvalidValue: none has this name, or the named one does not work here.
    """
    kernels = {kernel.name: kernel for kernel in KERNELS}
    if name == "auto":
        fit = (k for k in KERNELS if k.since and capability and capability >= k.since and (gpus == 1 or k.shared))
        return next((kernel for kernel in fit if not fault(kernel)), kernels["native"])
    if name not in kernels:
        raise InvalidValue(
            "no attention kernel has this name",
            field="attention",
            value=name,
            remedy=f"Use auto, {', '.join(kernels)}.",
        )
    why = fault(kernels[name])
    if not why and gpus > 1 and not kernels[name].shared:
        why = f"its heads cannot be shared out among {gpus} devices"
    if why:
        raise InvalidValue(
            f"does not run here: {why}", field="attention", value=name, remedy="Install it, or choose auto."
        )
    return kernels[name]


def use_kernel(transformer: LongVie2Transformer3DModel, kernel: AttentionKernel) -> None:
    """Have all of a transformer's attention computed by a kernel."""
    backend = dispatch.AttentionBackendName(kernel.backend)
    for module in transformer.modules():
        if isinstance(module, WanAttention):
            module.processor._attention_backend = backend


def fault_on(device: torch.device, transformer: LongVie2Transformer3DModel) -> Fault:
    """Return a trial of kernels on a device, with a transformer's head size and type, beside plain attention."""
    config, dtype = transformer.config, transformer.dtype

    def fault(kernel: AttentionKernel) -> str:
        generator = torch.Generator().manual_seed(0)
        shape = (1, _TRIED_TOKENS, config.num_attention_heads, config.attention_head_dim)
        q, k, v = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))
        try:
            with torch.no_grad():
                out = attend(q, k, v, kernel.backend).float()
        except Exception as error:
            # What a kernel raises where it is missing or does not like the device is different for each.
            return f"{type(error).__name__}: {error}".splitlines()[0]
        want = attend(q.float(), k.float(), v.float(), "_native_math")
        apart = float((out - want).square().mean().sqrt() / want.square().mean().sqrt())
        return f"it is off by {apart:.2g} of the result" if kernel.exact and not apart < _TRIED_TOLERANCE else ""

    return fault


def attend(q: Tensor, k: Tensor, v: Tensor, backend: str) -> Tensor:
    """Return the attention of (batch, tokens, heads, size), by a backend that diffusers knows by this name.

    Raises:
        RuntimeError: it is not installed; a kernel that does not like the device raises what it likes.
    """
    name = dispatch.AttentionBackendName(backend)
    dispatch._check_attention_backend_requirements(name)
    out: Tensor = dispatch.dispatch_attention_fn(q, k, v, backend=name)
    return out
