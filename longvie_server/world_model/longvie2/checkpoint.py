"""A pipeline on disk: a folder in diffusers' layout, stored in 16 bits, loaded strictly in the wanted type.

In: a `LongVie2Pipeline` or a folder. Out: the other. Law: what is saved from one pipeline loads to the same weights,
rounded once to the stored type; the pipeline that is saved is not changed.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from diffusers.utils import deprecation_utils

from bridge.errors import InvalidValue

from ..options import RunOptions
from .attention import choose_kernel, fault_on, use_kernel
from .compilation import compile_blocks, worth_compiling
from .float8 import use_float8
from .memory import MemoryProfile, own_memory, profile_for
from .pipeline import LongVie2Pipeline
from .quality import quality_named
from .tiny_decoder import tiny_decoder_for

__all__ = ["load_checkpoint", "make_ready", "save_checkpoint"]

# diffusers renamed the keyword, and warns of the old one since.
_DTYPE_KEYWORD = "dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype"
_ORIGIN = "_name_or_path"
_PARTS = ("text_encoder", "image_encoder", "vae", "transformer")
_COMPILE = ("auto", "on", "off")
_AS_PUBLISHED = RunOptions(memory="resident")


def save_checkpoint(pipeline: LongVie2Pipeline, folder: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a pipeline's configs and weights.

    Args:
        pipeline: stays as it is.
        folder: made where it does not exist.
        dtype: of the stored weights; float16 keeps three more bits than bfloat16, and weights stay far below its limit.

    Raises:
        InvalidValue: a weight is not finite, or is not in `dtype`.
    """
    stored = {}
    for name in _PARTS:
        # `Module.to` and not diffusers': that one warns of parts which are float32 again after loading anyway.
        part = torch.nn.Module.to(copy.deepcopy(getattr(pipeline, name)), dtype)
        for key, weight in part.state_dict().items():
            if not torch.isfinite(weight).all():
                raise InvalidValue(
                    f"is not finite in {dtype}", field=f"{name}.{key}", remedy="Check the training run for divergence."
                )
        stored[name] = part
    LongVie2Pipeline(**{**pipeline.components, **stored}, **asdict(pipeline.defaults)).save_pretrained(folder)
    for config in folder.glob("*/config.json"):
        _forget_origin(config)


def _forget_origin(config: Path) -> None:
    """diffusers notes the folder that a part was once loaded from, a path of the machine that it happened on."""
    kept = {name: value for name, value in json.loads(config.read_text(encoding="utf-8")).items() if name != _ORIGIN}
    config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_checkpoint(
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    options: RunOptions = _AS_PUBLISHED,
) -> LongVie2Pipeline:
    """Read a pipeline from a folder, or from a repository on the Hub, in evaluation mode.

    Args:
        folder: local path, or `owner/name`.
        device: where the weights go.
        dtype: of the weights there; modulation, norms and positions stay float32.
        options: how it is to be run.

    Raises:
        InvalidValue: there is no checkpoint of a pipeline, or a part of it is missing or cut off; an option's name is
            not known, or what it asks for cannot be had here; the weights are not of this version's shapes.
    """
    try:
        pipeline: LongVie2Pipeline = LongVie2Pipeline.from_pretrained(str(folder), **{_DTYPE_KEYWORD: dtype})
    except (OSError, KeyError) as error:
        raise _no_checkpoint(folder, error) from error
    except ValueError as error:
        if isinstance(error, InvalidValue):
            raise
        # What diffusers says of a weight of another shape, without its advice for programmers.
        what, _, shapes = str(error).partition(". If you want")[0].rpartition(" because ")
        if not what.startswith("Cannot load"):
            raise _no_checkpoint(folder, error) from error
        raise InvalidValue(
            f"its weights are of another layout: {shapes}",
            field="model",
            value=str(folder),
            remedy="It was made by another version: train or convert it again with this one.",
        ) from error
    make_ready(pipeline, torch.device(device), options)
    return pipeline


def _no_checkpoint(folder: str | Path, error: Exception) -> InvalidValue:
    """What to say of a folder that diffusers cannot read: an index, a part or its weights are not as they should be."""
    what = str(error).strip().partition("\n")[0].rstrip(". ")
    if not Path(folder).exists():
        what = "there is no such folder"
    elif isinstance(error, KeyError):
        what = f"its model_index.json does not say {what}"
    return InvalidValue(
        f"cannot be read as a checkpoint: {what}",
        field="model",
        value=str(folder),
        remedy="Give a folder with model_index.json and all parts it names, as longvie train tiny and "
        "longvie weights fetch make them.",
    )


def make_ready(
    pipeline: LongVie2Pipeline, device: torch.device, options: RunOptions, *, random_weights: bool = False
) -> None:
    """Change a pipeline that was just read, or built, to what the options say, and lay it out on a device.

    Args:
        pipeline: on the CPU, or on that device already.
        device: where it will run.
        options: how.
        random_weights: True where its weights are random, and published ones would add nothing to them.

    Raises:
        InvalidValue: an option's name is not known, or what it asks for cannot be had here.
    """
    trade = quality_named(options.quality)
    trade.apply(pipeline, add_lora=not random_weights)
    pipeline.quality = trade.name
    if options.decoder == "tiny":
        pipeline.tiny_decoder = tiny_decoder_for(pipeline.vae, random_weights=random_weights).to(device)
    elif options.decoder != "full":
        raise InvalidValue("is not known", field="decoder", value=options.decoder, remedy="Use full or tiny.")
    for name in _PARTS:
        part = getattr(pipeline, name).eval().requires_grad_(False)
        if device.type == "cpu":
            own_memory(part)
    transformer = pipeline.transformer
    kernel = choose_kernel(
        options.attention,
        capability=torch.cuda.get_device_capability(device) if device.type == "cuda" else None,
        gpus=options.gpus,
        fault=fault_on(device, transformer),
    )
    use_kernel(transformer, kernel)
    pipeline.attention = kernel.name
    profile = profile_for(options.memory, pipeline, device)
    pipeline.memory, pipeline.products = profile.name, options.products
    if options.products == "float8":
        use_float8(transformer, device)
        # What the profile would have stored in 8 bits is in 8 bits.
        profile = replace(profile, float8=False)
    elif options.products != "full":
        raise InvalidValue("is not known", field="products", value=options.products, remedy="Use full or float8.")
    profile.apply(pipeline, device)
    pipeline.compiled = _compile(pipeline, device, options, profile)


def _compile(pipeline: LongVie2Pipeline, device: torch.device, options: RunOptions, profile: MemoryProfile) -> bool:
    if options.compile not in _COMPILE:
        raise InvalidValue("is not known", field="compile", value=options.compile, remedy=f"Use {_COMPILE}.")
    if options.compile == "off" or (
        options.compile == "auto" and not worth_compiling(device, profile, gpus=options.gpus)
    ):
        return False
    if options.gpus > 1:
        raise InvalidValue(
            f"is not done for {options.gpus} GPUs together",
            field="compile",
            value=options.compile,
            remedy="Choose auto or off, or leave --gpus out.",
        )
    works = compile_blocks(pipeline, device)
    if options.compile == "on" and not works:
        raise InvalidValue(
            "its blocks cannot be compiled here",
            field="compile",
            value=options.compile,
            remedy="The log says why: often a C compiler or triton is missing. Or choose auto or off.",
        )
    return works
