"""Which parts of the model lie where: memory profiles, chosen by what is free or by name.

In: a pipeline on the CPU and a device. Out: the same pipeline, ready to run there. The offloading and the casting are
diffusers'; this file decides what goes where, and says beforehand what it will take.
Law: every profile but the float8 ones computes the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

import psutil
import torch
from diffusers.hooks import apply_group_offloading
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from bridge.errors import InvalidValue

from .configs import LONGVIE2_14B, LongVie2Config, build_vae
from .pipeline import LongVie2Pipeline
from .transformer import LongVie2Transformer3DModel

__all__ = [
    "PROFILES",
    "RESIDENT",
    "Footprint",
    "MemoryProfile",
    "choose_profile",
    "footprint",
    "footprint_of",
    "free_bytes",
    "own_memory",
    "profile_for",
    "profile_named",
]

_GB: Final = 1e9
_BLOCKS_ON_DEVICE: Final = 2
"""One that runs, and one that is fetched meanwhile."""


@dataclass(frozen=True, slots=True)
class MemoryProfile:
    """A way to lay the model out.

    Args:
        name: as `--memory` spells it.
        summary: what lies where, in words.
        encoders_stay, transformer_stays: on the device between uses.
        float8: the transformer's matrices are stored in 8 bits and widened layer by layer.
    """

    name: str
    summary: str
    encoders_stay: bool
    transformer_stays: bool
    float8: bool

    def apply(self, pipeline: LongVie2Pipeline, device: torch.device) -> None:
        """Move the pipeline's parts; once per pipeline.

        Args:
            pipeline: on the CPU.
            device: where it will run.
        """
        transformer, dtype = pipeline.transformer, pipeline.transformer.dtype
        for part in () if self.transformer_stays else (transformer,):
            own_memory(part)
        for part in () if self.encoders_stay else (pipeline.text_encoder, pipeline.image_encoder):
            own_memory(part)
        if self.float8:
            transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
        flow = {
            "onload_device": device,
            "offload_device": torch.device("cpu"),
            # Prefetching needs a stream, and streams are CUDA's.
            "use_stream": device.type == "cuda",
        }
        if self.transformer_stays:
            transformer.to(device)
        else:
            apply_group_offloading(transformer, offload_type="block_level", num_blocks_per_group=1, **flow)
        for encoder in (pipeline.text_encoder, pipeline.image_encoder):
            if self.encoders_stay:
                encoder.to(device)
            else:
                apply_group_offloading(encoder, offload_type="leaf_level", **flow)
        pipeline.vae.to(device)

    def peak_bytes(self, size: Footprint) -> int:
        """The most that lies on the device at once: an estimate, of weights exactly and of activations roughly."""
        bytes_each = 1 if self.float8 else 2
        share = 1.0 if self.transformer_stays else min(1.0, _BLOCKS_ON_DEVICE / size.blocks)
        transformer = size.transformer * bytes_each * share
        encoders = 2 * (size.text_encoder + size.image_encoder) if self.encoders_stay else 0
        return int(transformer + encoders + 2 * size.vae + size.activation_bytes)

    def host_bytes(self, size: Footprint) -> int:
        """What has to stay in the machine's own memory."""
        transformer = 0 if self.transformer_stays else size.transformer * (1 if self.float8 else 2)
        return int(transformer + (0 if self.encoders_stay else 2 * (size.text_encoder + size.image_encoder)))


PROFILES: Final = (
    MemoryProfile("resident", "everything stays on the device", True, True, False),
    MemoryProfile(
        "encoders-offloaded", "text and image encoder are streamed in when a prompt is new", False, True, False
    ),
    MemoryProfile("float8", "the transformer's matrices lie in 8 bits; encoders are streamed in", False, True, True),
    MemoryProfile("offloaded", "the transformer is streamed in block by block, one ahead", False, False, False),
    MemoryProfile(
        "float8-offloaded", "the same with matrices in 8 bits: half the memory of the machine", False, False, True
    ),
)
"""From the fastest to the smallest."""
RESIDENT: Final = PROFILES[0]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a size of the model takes: parameters by part, blocks of the transformer, bytes of activations."""

    transformer: int
    text_encoder: int
    image_encoder: int
    vae: int
    blocks: int
    activation_bytes: int


def profile_for(name: str, pipeline: LongVie2Pipeline, device: torch.device) -> MemoryProfile:
    """Return the named profile, or for "auto" the fastest that fits what is free now; a CPU has but one.

    Raises:
        InvalidValue: none has this name, or none fits.
    """
    if name != "auto":
        return profile_named(name)
    if device.type != "cuda":
        return RESIDENT
    on_device, host = free_bytes(device)
    return choose_profile(footprint_of(pipeline), device_bytes=on_device, host_bytes=host)


def profile_named(name: str) -> MemoryProfile:
    """Return a profile.

    Raises:
        InvalidValue: none has this name.
    """
    for profile in PROFILES:
        if profile.name == name:
            return profile
    names = ", ".join(profile.name for profile in PROFILES)
    raise InvalidValue("no memory profile has this name", field="memory", value=name, remedy=f"Use auto, {names}.")


def choose_profile(size: Footprint, *, device_bytes: int, host_bytes: int) -> MemoryProfile:
    """Return the fastest profile that fits.

    Args:
        size: of the model.
        device_bytes, host_bytes: that are free.

    Raises:
        InvalidValue: none fits; the message says what is lacking.
    """
    for profile in PROFILES:
        if profile.peak_bytes(size) <= device_bytes and profile.host_bytes(size) <= host_bytes:
            return profile
    last = PROFILES[-1]
    raise InvalidValue(
        f"the model needs {last.peak_bytes(size) / _GB:.0f} GB on the device and {last.host_bytes(size) / _GB:.0f} GB "
        "in the machine's memory at least",
        field="memory",
        value=f"{device_bytes / _GB:.0f} GB and {host_bytes / _GB:.0f} GB free",
        remedy="Close other programs, use a larger machine, or --model tiny.",
    )


def own_memory(part: nn.Module) -> None:
    """Take a part's weights off the mapped file, onto aligned memory of their own.

    Rounding depends on a weight's alignment, and a file that is replaced must not change a running model.
    """
    for parameter in part.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def free_bytes(device: torch.device) -> tuple[int, int]:
    """Return what is free on a device and in the machine's own memory; on a CPU the two are one."""
    host = psutil.virtual_memory().available
    return (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host), host


def footprint_of(pipeline: LongVie2Pipeline) -> Footprint:
    """Count a pipeline's own parameters."""
    counts = {
        part: sum(parameter.numel() for parameter in getattr(pipeline, part).parameters())
        for part in ("transformer", "text_encoder", "image_encoder", "vae")
    }
    config = pipeline.config
    activations = _activations(pipeline.transformer.config, pipeline.vae.config, config.height, config.width)
    return Footprint(**counts, blocks=len(pipeline.transformer.blocks), activation_bytes=activations)


@cache
def footprint(config: LongVie2Config = LONGVIE2_14B) -> Footprint:
    """Count a size's parameters, without memory for them."""
    parts: dict[str, Callable[[], nn.Module]] = {
        "transformer": lambda: LongVie2Transformer3DModel(**asdict(config.transformer)),
        "text_encoder": lambda: UMT5EncoderModel(UMT5Config(**asdict(config.text_encoder))),
        "image_encoder": lambda: CLIPVisionModel(CLIPVisionConfig(**asdict(config.image_encoder))),
        "vae": lambda: build_vae(config.vae),
    }
    counts = {}
    for name, make in parts.items():
        with torch.device("meta"):
            counts[name] = sum(parameter.numel() for parameter in make().parameters())
    activations = _activations(config.transformer, config.vae, config.height, config.width)
    return Footprint(**counts, blocks=config.transformer.num_layers, activation_bytes=activations)


def _activations(sizes: Any, vae: Any, height: int, width_px: int) -> int:
    """Roughly, in bytes: a block's float32 and 16-bit copies of the tokens, the branches' own tokens, what is kept."""
    latents = (height // vae.scale_factor_spatial) * (width_px // vae.scale_factor_spatial)
    per_frame = latents // math.prod(sizes.patch_size)
    tokens, context = 23 * per_frame, 769
    width = sizes.num_attention_heads * sizes.attention_head_dim
    control = sizes.control_num_attention_heads * sizes.attention_head_dim
    block = tokens * (4 * 4 * width + 6 * 2 * width + 2 * 2 * sizes.ffn_dim)
    branches = 3 * tokens * control * 2
    kept = 2 * context * 2 * 2 * (sizes.num_layers * width + 2 * sizes.control_num_layers * control)
    # A `BlockAutoencoder` has no width at full resolution, but few channels at a quarter of it.
    channels = getattr(vae, "decoder_base_dim", None) or getattr(vae, "base_dim", None) or vae.place_width
    decoding = 16 * height * width_px * channels * 2
    return int(block + branches + kept + decoding)
