"""The parts of a model folder, and the weights that each of them has to hold.

In: a part's `config.json`. Out: an `Expected`: every name with its shape, worked out without any memory for weights.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from bridge.errors import InvalidValue

from ..world_model.longvie2.block_vae import BlockAutoencoder
from ..world_model.longvie2.transformer import LongVie2Transformer3DModel
from .tensors import TensorInfo

__all__ = ["PARTS", "Expected", "expected_of", "faults", "read_json"]

Shape = tuple[int, ...]


def _text_encoder(config: dict[str, Any]) -> nn.Module:
    module: nn.Module = UMT5EncoderModel(UMT5Config.from_dict(config))
    return module


def _image_encoder(config: dict[str, Any]) -> nn.Module:
    # The published file is the whole vision half of CLIP with its projection; its config may hold it one level down.
    module: nn.Module = CLIPVisionModel(CLIPVisionConfig.from_dict(config.get("vision_config", config)))
    return module


def _transformer(config: dict[str, Any]) -> nn.Module:
    module: nn.Module = LongVie2Transformer3DModel.from_config(config)
    return module


def _vae(config: dict[str, Any]) -> nn.Module:
    kind = BlockAutoencoder if config.get("_class_name") == BlockAutoencoder.__name__ else AutoencoderKLWan
    module: nn.Module = kind.from_config(config)
    return module


PARTS: Final[Mapping[str, Callable[[dict[str, Any]], nn.Module]]] = {
    "text_encoder": _text_encoder,
    "image_encoder": _image_encoder,
    "vae": _vae,
    "transformer": _transformer,
}
# Of the image encoder: older files carry a prefix, and a projection that nobody here reads.
_PREFIX: Final = {"image_encoder": "vision_model."}
_UNREAD: Final = {"image_encoder": {"visual_projection.weight", "embeddings.position_ids"}}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a part has to hold.

    Args:
        part: its name.
        shapes: of every weight, by the names of today's class.
        tied: weights of several names: one of each group is enough.
        prefix: that names in files may carry.
        unread: names that may be there and are not read.
    """

    part: str
    shapes: Mapping[str, Shape]
    tied: tuple[frozenset[str], ...] = ()
    prefix: str = ""
    unread: frozenset[str] = frozenset()

    def name(self, stored: str) -> str:
        """Return the class's name of a stored name."""
        return stored.removeprefix(self.prefix) if self.prefix else stored


def expected_of(part: str, config: dict[str, Any]) -> Expected:
    """Work out what a part of this config holds.

    Raises:
        InvalidValue: the config is not one of this part's.
    """
    try:
        with torch.device("meta"):
            module = PARTS[part](config)
    except Exception as error:
        raise InvalidValue(
            f"is no config of the {part.replace('_', ' ')} ({type(error).__name__}: {error})",
            field="weights",
            value=f"{part}/config.json",
            remedy="Take the config that was published with these weights.",
        ) from error
    names: dict[int, set[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return Expected(
        part=part,
        shapes={name: tuple(tensor.shape) for name, tensor in module.state_dict().items()},
        tied=tuple(frozenset(group) for group in names.values() if len(group) > 1),
        prefix=_PREFIX.get(part, ""),
        unread=frozenset(_UNREAD.get(part, ())),
    )


def faults(expected: Expected, found: Mapping[str, TensorInfo]) -> Iterator[str]:
    """Yield what is wrong with the tensors found, one sentence each; nothing where all is well."""
    by_name = {expected.name(stored): info for stored, info in found.items()}
    excused = {name for group in expected.tied if group & by_name.keys() for name in group}
    missing = sorted(expected.shapes.keys() - by_name.keys() - excused)
    extra = sorted(by_name.keys() - expected.shapes.keys() - expected.unread)
    for name in extra:
        close = difflib.get_close_matches(name, missing, n=1, cutoff=0.6)
        yield f"{name} is not a weight of this part" + (f"; is it {close[0]}?" if close else "")
    for name in missing:
        yield f"{name} is missing"
    for name, info in by_name.items():
        want = expected.shapes.get(name)
        if want is not None and info.shape != want:
            yield f"{name} is {info.shape}, and has to be {want}"
        elif want is not None and not info.dtype.is_floating_point:
            yield f"{name} is stored as {info.dtype}, which is no floating point type"


def read_json(path: Path) -> dict[str, Any]:
    """Read a folder's description.

    Raises:
        InvalidValue: it is missing, or no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidValue(
            "is missing", field="weights", value=path, remedy="Check the folder, or run longvie weights fetch."
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidValue(
            "cannot be read as JSON", field="weights", value=path, remedy="Take the published file again."
        ) from error
    if not isinstance(value, dict):
        raise InvalidValue("is no JSON object", field="weights", value=path, remedy="Take the published file again.")
    return value
