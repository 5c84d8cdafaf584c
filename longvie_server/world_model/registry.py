"""Names of world models, as `longvie serve --model` spells them, and how each one is loaded.

fake                      paints what it was told, 352 x 640
fake:HEIGHTxWIDTH         the same at another size
fake...,delay=SECONDS     either of them, taking so long over a clip
tiny                      the small LongVie 2 in this package
longvie2                  the real one, where LONGVIE_LONGVIE2 says: a folder or a Hub id (owner/name); else
                          where `longvie weights fetch longvie2` put it
longvie2:FOLDER_OR_ID     the real one from there
FOLDER                    any checkpoint folder
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.errors import InvalidValue

from .fake import FakeWorldModel
from .interface import WorldModel
from .options import RunOptions

if TYPE_CHECKING:
    import torch

__all__ = [
    "KNOWN_MODELS",
    "LONGVIE2_ENVIRONMENT",
    "TINY_FOLDER",
    "default_folder",
    "load_model",
    "model_folder",
    "torch_device",
]

KNOWN_MODELS: Final = (
    "fake",
    "fake:HEIGHTxWIDTH",
    "tiny",
    "longvie2",
    "longvie2:FOLDER_OR_HUB_ID",
    "a checkpoint folder",
)
LONGVIE2_ENVIRONMENT: Final = "LONGVIE_LONGVIE2"
TINY_FOLDER: Final = Path(__file__).parent / "checkpoints" / "tiny"

_DEFAULTS: Final = RunOptions()
_FAKE: Final = re.compile(r"fake(?::(?P<height>\d{1,5})x(?P<width>\d{1,5}))?(?:,delay=(?P<delay>\d+(?:\.\d+)?))?")
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")


def load_model(
    name: str,
    *,
    device: str = "auto",
    threads: int | None = None,
    options: RunOptions = _DEFAULTS,
    environ: Mapping[str, str] = os.environ,
) -> WorldModel:
    """Load a world model by its name.

    Args:
        name: one of the names above.
        device: "auto", "cpu", "cuda", "cuda:1", "mps": where its weights go.
        threads: of the CPU's work; None for the library's own choice.
        options: how it is to be run; the fake has but one way.
        environ: where `LONGVIE_LONGVIE2` is looked up.

    Raises:
        InvalidValue: no model has this name, or its checkpoint is not there.
    """
    folder = model_folder(name, environ=environ)
    if folder is None:
        return _load_fake(name)
    return _load_longvie2(folder, name=name, device=device, threads=threads, options=options)


def model_folder(name: str, *, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return where the weights of a model are, fetched from the Hub if need be; None for a fake, which has none.

    Args:
        name: one of the names above.
        environ: where `LONGVIE_LONGVIE2` is looked up.

    Raises:
        InvalidValue: no model has this name, or its checkpoint is not there.
    """
    if name == "fake" or name.startswith(("fake:", "fake,")):
        return None
    if name == "tiny":
        return _bundled(TINY_FOLDER)
    if name == "longvie2" or name.startswith("longvie2:"):
        return _longvie2_folder(name.partition(":")[2] or environ.get(LONGVIE2_ENVIRONMENT, ""))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.name != name:
        raise InvalidValue(
            "there is no such checkpoint folder", field="model", value=name, remedy="Check the path for typing errors."
        )
    raise InvalidValue(
        "no world model has this name", field="model", value=name, remedy=f"Choose one of: {', '.join(KNOWN_MODELS)}."
    )


def default_folder() -> Path:
    """Return where fetched weights of LongVie 2 go, and are looked for."""
    return Path.home() / ".cache" / "longvie" / "longvie2"


def _load_fake(name: str) -> WorldModel:
    match = _FAKE.fullmatch(name)
    if match is None:
        raise InvalidValue(
            "is not a size and delay of the fake model",
            field="model",
            value=name,
            remedy="Write it like fake, fake:96x160 (height x width) or fake:96x160,delay=2.5 (seconds per clip).",
        )
    delay_s = float(match["delay"] or 0)
    if match["height"] is None:
        return FakeWorldModel(delay_s=delay_s)
    return FakeWorldModel(int(match["height"]), int(match["width"]), delay_s=delay_s)


def _bundled(folder: Path) -> Path:
    if not folder.is_dir():
        raise InvalidValue(
            "the bundled checkpoint is missing",
            field="model",
            value=folder,
            remedy="Install the package again (pip install --force-reinstall longvie-bridge), or run longvie train.",
        )
    return folder


def _longvie2_folder(source: str) -> Path:
    if not source and (default_folder() / "model_index.json").exists():
        return default_folder()
    if not source:
        raise InvalidValue(
            "it is not said where the weights of LongVie 2 are",
            field="model",
            value="longvie2",
            remedy="Fetch them with longvie weights fetch longvie2, or set "
            f"{LONGVIE2_ENVIRONMENT} to their folder or Hub id, or choose longvie2:FOLDER_OR_HUB_ID.",
        )
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if _HUB_ID.fullmatch(source):
        return _download(source)
    raise InvalidValue(
        "is neither a folder nor a Hub id (owner/name)",
        field="model",
        value=source,
        remedy=f"Correct {LONGVIE2_ENVIRONMENT} or what follows longvie2: in the name.",
    )


def _download(hub_id: str) -> Path:
    # Imported here: everything but this one model works without the Hub's client.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InvalidValue(
            f"its weights cannot be fetched from the Hub ({type(error).__name__})",
            field="model",
            value=hub_id,
            remedy="Check the id, the network and HF_TOKEN, or give a folder that holds them.",
        ) from error


def _load_longvie2(folder: Path, *, name: str, device: str, threads: int | None, options: RunOptions) -> WorldModel:
    # Imported here: the fake has to start without torch.
    import torch

    from .longvie2.world_model import LongVie2WorldModel

    if threads is not None:
        torch.set_num_threads(threads)
    where = torch_device(device)
    # On a CPU without matrix units 16 bits are slower than 32, and where they are faster, bytes would differ.
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    return LongVie2WorldModel.load(folder, name=name, device=where, dtype=dtype, options=options)


def torch_device(device: str) -> torch.device:
    """Return the device of a name, once a tensor lies on it.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", "mps".

    Raises:
        InvalidValue: there is no such device here.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        # Only a tensor on it shows that the device is there.
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InvalidValue(
            "this machine, or this build of torch, has no such device",
            field="device",
            value=device,
            remedy="Choose auto or cpu, or install torch for your device.",
        ) from error
