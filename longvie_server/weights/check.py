"""Is a model folder whole? Every weight of every part is accounted for, by the headers alone.

In: a folder in diffusers' layout. Out: one `Check` per part, and one for how they fit together. Nothing is loaded:
40 GB take a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridge.errors import InvalidValue

from ..doctor import Check
from .parts import PARTS, expected_of, faults, read_json
from .tensors import TensorFiles

__all__ = ["check_model"]

_SHOWN: Final = 5
_PIPELINE: Final = "LongVie2Pipeline"


def check_model(folder: Path) -> Iterator[Check]:
    """Yield what was found of each part; an error's remedy says how to mend it."""
    try:
        kind = read_json(folder / "model_index.json").get("_class_name", "nothing")
    except InvalidValue as error:
        yield Check("model", "error", f"{error.value} {error.problem}", error.remedy)
        return
    if kind != _PIPELINE:
        yield Check(
            "model",
            "error",
            f"{folder} holds a {kind}, not a {_PIPELINE}",
            "Convert it together with LongVie's own weights: longvie weights convert.",
        )
        return
    checks = [_check_part(folder / part) for part in PARTS]
    yield from checks
    if all(check.status == "ok" for check in checks):
        yield _check_fit(folder)
    for name, file in (("tokenizer", "tokenizer_config.json"), ("scheduler", "scheduler_config.json")):
        there = (folder / name / file).is_file()
        yield Check(
            name,
            "ok" if there else "error",
            file if there else f"{folder / name / file} is missing",
            "" if there else "Copy the folder from where the model was published.",
        )


def _check_fit(folder: Path) -> Check:
    """The parts speak to each other in vectors: whose widths differ, are of different models."""
    config = {part: read_json(folder / part / "config.json") for part in PARTS}
    transformer, latents = config["transformer"], config["vae"]["z_dim"]
    widths = {
        "text_encoder's d_model and transformer's text_dim": (
            config["text_encoder"]["d_model"],
            transformer["text_dim"],
        ),
        "image_encoder's hidden_size and transformer's image_dim": (
            config["image_encoder"]["hidden_size"],
            transformer["image_dim"],
        ),
        "vae's z_dim and transformer's out_channels": (latents, transformer["out_channels"]),
        "2 z_dim + 4 and transformer's in_channels": (2 * latents + 4, transformer["in_channels"]),
    }
    apart = [f"{names} are {a} and {b}" for names, (a, b) in widths.items() if a != b]
    if apart:
        return Check("fit", "error", "; ".join(apart), "Take all parts from one model.")
    return Check("fit", "ok", "the parts' widths agree")


def _check_part(folder: Path) -> Check:
    part = folder.name
    try:
        files = TensorFiles.open(folder)
        wrong = list(faults(expected_of(part, read_json(folder / "config.json")), files.infos))
    except InvalidValue as error:
        return Check(part, "error", f"{error.value} {error.problem}", error.remedy)
    if wrong:
        more = f" (and {len(wrong) - _SHOWN} more)" if len(wrong) > _SHOWN else ""
        return Check(
            part, "error", "; ".join(wrong[:_SHOWN]) + more, "Fetch or convert this part again, of the same model."
        )
    types = Counter(str(info.dtype).removeprefix("torch.") for info in files.infos.values())
    spelled = ", ".join(f"{count:,} {name}" for name, count in types.most_common())
    return Check(part, "ok", f"{len(files):,} tensors ({spelled}), {files.nbytes / 1e9:.2f} GB")
