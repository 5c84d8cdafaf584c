"""Tensors on disk, known by their headers before a byte of them is read.

In: a file or a folder. Out: names, shapes and types at once; each tensor when it is asked for, mapped and not copied.
Law: what the header promises is there: a file that ends early is refused when it is opened, not when it is used.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from torch import Tensor

from bridge.errors import InvalidValue

__all__ = ["TensorFiles", "TensorInfo"]

_AGAIN: Final = "Fetch it again: longvie weights fetch goes on where it stopped."
_LONGEST_HEADER: Final = 100_000_000
_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor, unread.

    Args:
        file: that holds it.
        dtype, shape: of it.
    """

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its size on disk."""
        return self.dtype.itemsize * torch.Size(self.shape).numel()


class TensorFiles(Mapping[str, Tensor]):
    """All tensors of one file, or of a folder's shards, by name.

    Args:
        infos: what is there.
        loaded: tensors that are mapped already, of files that are no safetensors.
    """

    def __init__(self, infos: Mapping[str, TensorInfo], loaded: Mapping[str, Tensor] | None = None) -> None:
        self.infos = dict(infos)
        self._loaded = dict(loaded or {})
        self._open: dict[Path, Any] = {}

    @classmethod
    def open(cls, path: Path) -> TensorFiles:
        """Read the headers of a `.safetensors` or `.pth` file, or of a folder's safetensors.

        Raises:
            InvalidValue: a file is missing, cut off or something else; two files hold a tensor of one name.
        """
        if path.is_dir():
            return cls(_folder_infos(path))
        if not path.exists():
            raise InvalidValue("there is no such file", field="weights", value=path, remedy=_AGAIN)
        if path.suffix in (".pth", ".pt", ".bin"):
            tensors = _load_pickle(path)
            return cls({name: TensorInfo(path, t.dtype, tuple(t.shape)) for name, t in tensors.items()}, tensors)
        return cls(_file_infos(path))

    def __getitem__(self, name: str) -> Tensor:
        if name in self._loaded:
            return self._loaded[name]
        file = self.infos[name].file
        if file not in self._open:
            self._open[file] = safe_open(file, framework="pt")
        tensor: Tensor = self._open[file].get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __len__(self) -> int:
        return len(self.infos)

    @property
    def nbytes(self) -> int:
        """Of all tensors, on disk."""
        return sum(info.nbytes for info in self.infos.values())


def _folder_infos(folder: Path) -> dict[str, TensorInfo]:
    files = sorted(folder.glob("*.safetensors"))
    _check_index(folder)
    if not files:
        raise InvalidValue("holds no safetensors file", field="weights", value=folder, remedy=_AGAIN)
    infos: dict[str, TensorInfo] = {}
    for file in files:
        for name, info in _file_infos(file).items():
            if name in infos:
                raise InvalidValue(
                    f"holds {name} twice: in {infos[name].file.name} and {file.name}",
                    field="weights",
                    value=folder,
                    remedy="Remove the file that does not belong here.",
                )
            infos[name] = info
    return infos


def _check_index(folder: Path) -> None:
    """A folder of shards has an index that names them all."""
    for index in folder.glob("*.safetensors.index.json"):
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise InvalidValue("is not an index of shards", field="weights", value=index, remedy=_AGAIN) from error
        missing = sorted(name for name in named if not (folder / name).exists())
        if missing:
            raise InvalidValue(
                f"{len(missing)} of {len(named)} shards are missing: {', '.join(missing[:3])}",
                field="weights",
                value=folder,
                remedy=_AGAIN,
            )


def _file_infos(path: Path) -> dict[str, TensorInfo]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if start.startswith(b"version "):
            raise InvalidValue(
                "is a pointer to a file that was never fetched",
                field="weights",
                value=path,
                remedy="Run git lfs pull, or longvie weights fetch.",
            )
        if not 2 <= length <= _LONGEST_HEADER:
            raise InvalidValue("is not a safetensors file", field="weights", value=path, remedy=_AGAIN)
        raw = file.read(length)
    if len(raw) < length:
        raise _truncated(path, size, 8 + length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        infos = {name: TensorInfo(path, _DTYPES[e["dtype"]], tuple(e["shape"])) for name, e in header.items()}
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidValue("has no readable header", field="weights", value=path, remedy=_AGAIN) from error
    if size < 8 + length + end:
        raise _truncated(path, size, 8 + length + end)
    return infos


def _truncated(path: Path, size: int, whole: int) -> InvalidValue:
    return InvalidValue(
        f"is cut off: {size:,} of {whole:,} bytes or more are there", field="weights", value=path, remedy=_AGAIN
    )


def _load_pickle(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        raise InvalidValue(
            f"cannot be read as PyTorch weights ({type(error).__name__})", field="weights", value=path, remedy=_AGAIN
        ) from error
    if not (isinstance(tensors, dict) and all(isinstance(t, Tensor) for t in tensors.values())):
        raise InvalidValue("holds more than tensors", field="weights", value=path, remedy="Use the published file.")
    return tensors
