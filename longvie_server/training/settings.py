"""What a `longvie train tiny` was begun with, kept beside it: a folder goes on with its first call's settings alone.

In: settings by name. Out: `settings.json` in the run's folder, or an error that names what differs. Law: whatever moves
a weight is in the file; where a run is trained, and where its checkpoint goes, is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from bridge.errors import InvalidValue

from ..world_model.longvie2 import LongVie2Pipeline

__all__ = ["SETTINGS_FILE", "keep_settings", "weights_digest"]

SETTINGS_FILE: Final = "settings.json"
_MADE: Final = ("vae", "latents", "world", "decoder", "rollouts_*")
"""What a run makes that depends on more than the scenes' seeds."""
_NOT_THERE: Final = "not recorded"
_FLAGS: Final = {"world_batch": "--batch"}
_NO_FLAG: Final = ("model", "rollouts_at", "inference_steps")


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a folder's first call; hold a later call to them.

    A folder of an older version has no such file, and nothing in it tells all of what its run was begun with: its log
    knows the rates, but neither the first weights nor the shares, and a run without history looks like one with it. To
    take this call's settings for the run's would hide just the mix-up that the file is to show, so a folder that holds
    more than scenes is refused. Scenes depend on their seeds alone; those of another folder may be used.

    Args:
        folder: of the run; made when missing.
        settings: by name, what JSON can say.

    Raises:
        InvalidValue: the folder's run was begun with other settings, or with settings that no one knows.
    """
    path = folder / SETTINGS_FILE
    now = json.loads(json.dumps(dict(settings)))
    if not path.exists():
        _refuse_unknown(folder)
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{SETTINGS_FILE}.partial"
        partial.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
        return
    first = _read(path)
    names = [name for name in {**now, **first} if first.get(name, _NOT_THERE) != now.get(name, _NOT_THERE)]
    if names:
        told = "; ".join(_difference(name, first.get(name, _NOT_THERE), now.get(name, _NOT_THERE)) for name in names)
        raise InvalidValue(
            f"holds a run that was begun with other settings: {told}",
            field="--folder",
            value=folder,
            remedy="Give another --folder, or the first settings again.",
        )


def weights_digest(pipeline: LongVie2Pipeline) -> str:
    """Return what tells a pipeline's weights from all others, whatever folder they were read from."""
    digest = hashlib.sha256()
    for part in ("transformer", "vae", "text_encoder", "image_encoder"):
        for name, tensor in sorted(getattr(pipeline, part).state_dict().items()):
            digest.update(f"{part}.{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:32]}"


def _refuse_unknown(folder: Path) -> None:
    made = sorted(path.name for pattern in _MADE for path in folder.glob(pattern))
    if made:
        raise InvalidValue(
            f"holds {', '.join(made)}, and no {SETTINGS_FILE} that says what settings they were begun with",
            field="--folder",
            value=folder,
            remedy="Give another --folder; its scenes/ may be moved there. If you are sure that it was begun with just "
            f"these settings, copy the {SETTINGS_FILE} here that this command writes into a new folder.",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise InvalidValue(
            "cannot be read, so that no one knows what its run was begun with",
            field="--folder",
            value=path,
            remedy="Give another --folder.",
        )
    return told


def _difference(name: str, first: object, now: object) -> str:
    """A setting as its user spells it, and both of its values; of a setting of many parts, those that differ."""
    if isinstance(first, dict) and isinstance(now, dict):
        names = [key for key in {**now, **first} if first.get(key, _NOT_THERE) != now.get(key, _NOT_THERE)]
        pairs = ((key, first.get(key, _NOT_THERE), now.get(key, _NOT_THERE)) for key in names)
        return "; ".join(_difference(f"{name}.{key}", old, new) for key, old, new in pairs)
    bare = name.partition(".")[0] in _NO_FLAG
    flag = name if bare else _FLAGS.get(name, f"--{name.replace('_', '-')}")
    return f"{flag} was {json.dumps(first)}, is {json.dumps(now)}"
