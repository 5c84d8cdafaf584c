"""How published files are named and split."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

__all__ = ["longvie_file", "write_shards"]


def longvie_file(folder: Path, name: str) -> Path:
    return folder / "longvie" / f"{name}.safetensors"


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Two shards and their index, named as diffusers and the original release name them."""
    folder.mkdir(exist_ok=True)
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name].contiguous() for name in part}, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
