"""Published files become a model folder: LongVie's own weights over a Wan image-to-video base, in diffusers' layout.

In: a base (diffusers' layout or the original one) and a folder with `control.safetensors` and `dit.safetensors`. Out: a
folder that `from_pretrained` loads. Laws: everything is checked by the headers before a byte is written; tensors stream
from file to file, one shard in memory; the folder appears under its name when it is whole, and not before.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from diffusers import __version__ as diffusers_version
from safetensors.torch import save_file
from torch import Tensor

from bridge.errors import InvalidValue

from ..world_model.longvie2 import LONGVIE2_14B
from ..world_model.longvie2.conversion import control_key, transformer_key, vae_key
from ..world_model.longvie2.transformer import LongVie2Transformer3DModel
from .encoders import ORIGINAL_ENCODERS, ORIGINAL_TOKENIZER, read_image_encoder, read_text_encoder
from .parts import Expected, expected_of, faults, read_json
from .tensors import TensorFiles, TensorInfo

__all__ = ["OnBytes", "convert"]

OnBytes: TypeAlias = Callable[[int, int], None]
"""Told bytes done and bytes in all."""

_SHARD_BYTES: Final = 5_000_000_000
_SHOWN: Final = 5
_ORIGINAL_VAE: Final = ("Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors")
_CONTROL_BLOCK: Final = re.compile(r"control_blocks_dense\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class _Weight:
    """Where a weight comes from and how it is stored."""

    files: TensorFiles
    key: str
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.files.infos[self.key].shape).numel()

    def read(self) -> Tensor:
        return self.files[self.key].to(self.dtype).contiguous()


@dataclass(frozen=True, slots=True)
class _Part:
    """One part, ready to be written."""

    name: str
    config: dict[str, Any]
    weights: Mapping[str, _Weight]
    stem: str = "diffusion_pytorch_model"

    @property
    def nbytes(self) -> int:
        return sum(weight.nbytes for weight in self.weights.values())


def convert(
    base: Path,
    longvie: Path,
    out: Path,
    *,
    encoders: Path | None = None,
    dtype: torch.dtype = torch.bfloat16,
    shard_bytes: int = _SHARD_BYTES,
    on_bytes: OnBytes = lambda done, total: None,
) -> Path:
    """Write a model folder; return it.

    Args:
        base: Wan 2.1 image-to-video, in either layout.
        longvie: the folder of `control.safetensors` and `dit.safetensors`; keys may carry their training's prefix.
        out: the folder to make.
        encoders: the folder of text encoder, image encoder and tokenizer, in either layout; None: the base.
        dtype: of matrices; norms and modulations keep the type that they were published in, and so does the VAE.
        shard_bytes: largest file.
        on_bytes: progress.

    Raises:
        InvalidValue: a file is missing, cut off or of another model, keys do not fit, or the disk is too full. `out` is
            as it was then.
    """
    if out.exists():
        raise InvalidValue("exists", field="--out", value=out, remedy="Name another folder, or remove this one.")
    encoders = base if encoders is None else encoders
    parts = [
        _transformer(base, longvie, dtype),
        _vae(base),
        _encoder(encoders, "text_encoder", read_text_encoder, dtype),
        _encoder(encoders, "image_encoder", read_image_encoder, dtype),
    ]
    tokenizer = _first_of(encoders, "tokenizer", ORIGINAL_TOKENIZER)
    total = sum(part.nbytes for part in parts)
    _check_disk(out, total)

    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    done = 0
    try:
        for part in parts:
            for size in _write(part, partial / part.name, shard_bytes):
                done += size
                on_bytes(done, total)
        shutil.copytree(tokenizer, partial / "tokenizer")
        FlowMatchEulerDiscreteScheduler(shift=LONGVIE2_14B.shift).save_pretrained(partial / "scheduler")
        _write_json(partial / "model_index.json", _model_index(partial))
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return out


def _first_of(folder: Path, *names: str) -> Path:
    """The first of these that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise InvalidValue(
        f"is missing, and so is {' or '.join(names[1:])}",
        field="encoders",
        value=folder / names[0],
        remedy="Name a folder with text encoder, image encoder and tokenizer (--encoders): "
        "Wan-AI/Wan2.1-I2V-14B-480P has them, in either layout.",
    )


def _transformer(base: Path, longvie: Path, dtype: torch.dtype) -> _Part:
    folder = base / "transformer" if (base / "transformer").is_dir() else base
    files, control, dit = (
        TensorFiles.open(path) for path in (folder, longvie / "control.safetensors", longvie / "dit.safetensors")
    )
    original = folder == base
    weights = _renamed(files, transformer_key if original else str, "base")
    replacements = _renamed(dit, transformer_key, "dit.safetensors")
    homeless = sorted(replacements.keys() - weights.keys())
    if homeless:
        raise _mismatch("dit.safetensors", [f"{name} replaces nothing in the base" for name in homeless])
    branches = _renamed(control, control_key, "control.safetensors")
    config = _transformer_config(read_json(folder / "config.json"), {**weights, **branches}, folder)
    sources = {**weights, **replacements, **branches}
    _check(expected_of("transformer", config), sources, "base + dit.safetensors + control.safetensors")
    exact = LongVie2Transformer3DModel._keep_in_fp32_modules
    typed = {
        name: _Weight(of, key, of.infos[key].dtype if any(word in name for word in exact) else dtype)
        for name, (of, key) in sources.items()
    }
    return _Part("transformer", {"_class_name": LongVie2Transformer3DModel.__name__, **config}, typed)


_Source: TypeAlias = tuple[TensorFiles, str]


def _renamed(files: TensorFiles, rename: Callable[[str], str], field: str) -> dict[str, _Source]:
    """Where each weight is found, by the name that it has here."""
    found: dict[str, _Source] = {}
    unknown = []
    for key in files:
        try:
            found[rename(key)] = (files, key)
        except InvalidValue:
            unknown.append(f"{key} is not a key of this file's layout")
    if unknown:
        raise _mismatch(field, unknown)
    return found


def _transformer_config(base: dict[str, Any], sources: Mapping[str, _Source], folder: Path) -> dict[str, Any]:
    """The sizes: heads as the base's config says, everything else as the weights are."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in sources:
            raise InvalidValue(
                f"has no {name}: it is no Wan image-to-video base with LongVie's control branches",
                field="weights",
                value=folder,
                remedy="Use Wan 2.1 I2V 14B 480P and LongVie 2's own two files.",
            )
        files, key = sources[name]
        return files.infos[key].shape

    width, channels, *patch = shape("patch_embedding.weight")
    heads = int(base.get("num_attention_heads", base.get("num_heads", 0)))
    if heads < 1 or width % heads:
        raise InvalidValue(
            "says no number of heads that divides the width", field="num_heads", value=heads, remedy="Use its own file."
        )
    control_width = shape("control_blocks_dense.0.attn1.to_q.weight")[0]
    return {
        "patch_size": patch,
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "in_channels": channels,
        "out_channels": shape("proj_out.weight")[0] // (patch[0] * patch[1] * patch[2]),
        "text_dim": shape("condition_embedder.text_embedder.linear_1.weight")[1],
        "freq_dim": shape("condition_embedder.time_embedder.linear_1.weight")[1],
        "ffn_dim": shape("blocks.0.ffn.net.0.proj.weight")[0],
        "num_layers": 1 + max(int(n.split(".")[1]) for n in sources if n.startswith("blocks.")),
        "image_dim": shape("condition_embedder.image_embedder.norm1.weight")[0],
        "eps": float(base.get("eps", 1e-6)),
        "control_num_layers": 1 + max(int(m[1]) for m in map(_CONTROL_BLOCK.match, sources) if m),
        "control_num_attention_heads": max(1, control_width * heads // width),
        "control_ffn_dim": shape("control_blocks_dense.0.ffn.net.0.proj.weight")[0],
    }


def _vae(base: Path) -> _Part:
    if (base / "vae").is_dir():
        files = TensorFiles.open(base / "vae")
        config = read_json(base / "vae" / "config.json")
        sources = _renamed(files, str, "vae")
    else:
        path = next((base / name for name in _ORIGINAL_VAE if (base / name).exists()), base / _ORIGINAL_VAE[0])
        files = TensorFiles.open(path)
        config, blocks = _vae_config(files, path)
        sources = _renamed(files, lambda key: vae_key(key, blocks), path.name)
    _check(expected_of("vae", config), sources, "vae")
    weights = {name: _Weight(of, key, of.infos[key].dtype) for name, (of, key) in sources.items()}
    return _Part("vae", config, weights)


def _vae_config(files: TensorFiles, path: Path) -> tuple[dict[str, Any], int]:
    """The sizes of a VAE in the original layout, which has no config, and its residual blocks per level."""
    numbers = [int(key.split(".")[2]) for key in files if key.startswith("decoder.upsamples.")]
    convolution = files.infos.get("decoder.conv1.weight")
    if convolution is None or not numbers or "encoder.conv1.weight" not in files:
        raise InvalidValue(
            "holds no Wan 2.1 VAE", field="weights", value=path, remedy="Use Wan2.1_VAE.pth as it was published."
        )
    # Four levels of num_res_blocks + 1 residual blocks; all but the last level end in a resampler.
    blocks = (max(numbers) + 2) // 4 - 2
    sizes = {
        "base_dim": files.infos["encoder.conv1.weight"].shape[0],
        "z_dim": convolution.shape[1],
        "num_res_blocks": blocks,
    }
    with torch.device("meta"):
        return dict(AutoencoderKLWan(**sizes).config), blocks


def _encoder(
    folder: Path, name: str, read_original: Callable[[Path], tuple[dict[str, Any], TensorFiles]], dtype: torch.dtype
) -> _Part:
    path = _first_of(folder, name, ORIGINAL_ENCODERS[name])
    if path.is_dir():
        config, files = read_json(path / "config.json"), TensorFiles.open(path)
    else:
        config, files = read_original(path)
    expected = expected_of(name, config)
    sources = _renamed(files, str, name)
    _check(expected, sources, name)
    read = {weight: source for weight, source in sources.items() if expected.name(weight) not in expected.unread}
    weights = {weight: _Weight(of, key, dtype) for weight, (of, key) in read.items()}
    config = {**config, "dtype": str(dtype).removeprefix("torch.")}
    config.pop("torch_dtype", None)
    return _Part(name, config, weights, stem="model")


def _check(expected: Expected, sources: Mapping[str, _Source], field: str) -> None:
    infos: dict[str, TensorInfo] = {name: files.infos[key] for name, (files, key) in sources.items()}
    wrong = list(faults(expected, infos))
    if wrong:
        raise _mismatch(field, wrong)


def _mismatch(field: str, wrong: list[str]) -> InvalidValue:
    more = f" (and {len(wrong) - _SHOWN} more)" if len(wrong) > _SHOWN else ""
    return InvalidValue(
        "; ".join(wrong[:_SHOWN]) + more,
        field=field,
        remedy="Check that all files are of the same model, and as they were published.",
    )


def _check_disk(out: Path, total: int) -> None:
    there = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(there).free
    if free < total:
        raise InvalidValue(
            f"the disk has {free / 1e9:.1f} GB free, and {total / 1e9:.1f} GB are needed",
            field="--out",
            value=out,
            remedy="Make room, or name a folder on another disk.",
        )


def _write(part: _Part, folder: Path, shard_bytes: int) -> Iterator[int]:
    """Write a part's config and shards, yielding the size of each shard."""
    folder.mkdir()
    _write_json(folder / "config.json", part.config)
    shards: list[list[str]] = [[]]
    filled = 0
    for name in sorted(part.weights):
        size = part.weights[name].nbytes
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        suffix = "" if len(shards) == 1 else f"-{number:05}-of-{len(shards):05}"
        file = f"{part.stem}{suffix}.safetensors"
        tensors = {name: part.weights[name].read() for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(names, file))
        yield sum(tensor.nbytes for tensor in tensors.values())
    if len(shards) > 1:
        index = {"metadata": {"total_size": part.nbytes}, "weight_map": weight_map}
        _write_json(folder / f"{part.stem}.safetensors.index.json", index)


def _model_index(folder: Path) -> dict[str, Any]:
    tokenizer = read_json(folder / "tokenizer" / "tokenizer_config.json").get("tokenizer_class", "AutoTokenizer")
    module = LongVie2Transformer3DModel.__module__
    return {
        "_class_name": "LongVie2Pipeline",
        "_diffusers_version": diffusers_version,
        "height": LONGVIE2_14B.height,
        "width": LONGVIE2_14B.width,
        "num_inference_steps": LONGVIE2_14B.num_inference_steps,
        "guidance_scale": LONGVIE2_14B.guidance_scale,
        "negative_prompt": LONGVIE2_14B.negative_prompt,
        "image_encoder": ["transformers", "CLIPVisionModel"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", tokenizer],
        "transformer": [module, LongVie2Transformer3DModel.__name__],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
