"""LPIPS (Zhang et al. 2018) over AlexNet, from weights that are on this machine already.

The trunk is torchvision's `alexnet-owt-7be5be79.pth`, the linear heads are the ones that torchmetrics and lpips carry
in their packages. Neither torchvision nor a download is needed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Lpips", "find_heads", "find_trunk"]

TRUNK: Final = "alexnet-owt-7be5be79.pth"
HEADS: Final = "alex.pth"
_HEADS_IN: Final = (("torchmetrics", "functional/image/lpips_models"), ("lpips", "weights/v0.1"))
_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)
_WIDTHS: Final = (64, 192, 384, 256, 256)


def find_trunk(folder: Path | None) -> Path | None:
    """Return the file of AlexNet's weights, in the folder or where torch keeps what it fetched; None without one."""
    places = [Path(torch.hub.get_dir()) / "checkpoints", *([] if folder is None else [folder])]
    return next((place / TRUNK for place in reversed(places) if (place / TRUNK).is_file()), None)


def find_heads(folder: Path | None) -> Path | None:
    """Return the file of the linear heads, in the folder or in an installed package; None without one."""
    if folder is not None and (folder / HEADS).is_file():
        return folder / HEADS
    for package, inside in _HEADS_IN:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / inside / HEADS
            if path.is_file():
                return path
    return None


class Lpips(nn.Module):
    """The distance of two pictures as people see it: 0 for equal ones, about 0.7 for unrelated ones."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = _WIDTHS
        self.features = nn.Sequential(
            *(nn.Conv2d(3, a, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(b, c, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(c, d, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(d, e, 3, padding=1), nn.ReLU()),
        )
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(1, width, 1, 1)) for width in _WIDTHS)

    @classmethod
    def load(cls, trunk: Path, heads: Path) -> Lpips:
        """Return the network with weights from two files, strictly."""
        network = cls()
        layers = torch.load(trunk, map_location="cpu", weights_only=True)
        own = {name.removeprefix("features."): t for name, t in layers.items() if name.startswith("features.")}
        network.features.load_state_dict(own)
        linear = torch.load(heads, map_location="cpu", weights_only=True)
        network.heads.load_state_dict({str(i): linear[f"lin{i}.model.1.weight"] for i in range(len(_WIDTHS))})
        return network.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances, (batch,), of pictures, (batch, 3, height, width) in -1 .. 1, from 64 pixels on."""
        pairs = zip(self._responses(a), self._responses(b), self.heads, strict=True)
        return torch.stack([((x - y).square() * head).sum(1).mean((1, 2)) for x, y, head in pairs]).sum(0)

    def _responses(self, image: Tensor) -> list[Tensor]:
        """What each rectifier says, its channels scaled to unit length at every place."""
        x = (image - image.new_tensor(_SHIFT).view(1, 3, 1, 1)) / image.new_tensor(_SCALE).view(1, 3, 1, 1)
        found = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(F.normalize(x, dim=1, eps=1e-10))
        return found
