"""The libraries that the add-on brings along, for Blenders that do not install wheels themselves (before 4.2).

Wheels are unpacked, unchanged, into a folder beside the user's scripts, once per set of wheels; the ones that fit
this Python and this machine are chosen by the names that wheels have.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["fitting", "provide"]

_NEEDED: Final = ("zmq", "msgpack", "PIL")
_WHEELS: Final = Path(__file__).parent / "wheels"


def provide() -> None:
    """Make the libraries importable. Does nothing where they are already."""
    if all(importlib.util.find_spec(name) for name in _NEEDED) or not _WHEELS.is_dir():
        return
    wheels = fitting(sorted(_WHEELS.glob("*.whl")), version=sys.version_info[:2], machine=_machine())
    target = _folder(wheels)
    if not target.is_dir():
        _unpack(wheels, target)
    if str(target) not in sys.path:
        # At the end: what Blender or another add-on has already is not replaced.
        sys.path.append(str(target))
        importlib.invalidate_caches()


def fitting(wheels: Iterable[Path], *, version: tuple[int, int], machine: tuple[str, tuple[str, ...]]) -> list[Path]:
    """Return the wheels that fit.

    Args:
        wheels: files called name-version-python-abi-platform.whl.
        version: of Python.
        machine: how the platform's name begins, and the architectures that it may end with.
    """
    return [path for path in wheels if _fits(path, version, machine)]


def _fits(path: Path, version: tuple[int, int], machine: tuple[str, tuple[str, ...]]) -> bool:
    python, abi, platforms = path.stem.split("-")[-3:]
    this = f"cp{version[0]}{version[1]}"
    stable = abi == "abi3" and python.startswith("cp3") and int(python[3:]) <= version[1]
    if not (python == abi == this or stable or (abi == "none" and "py3" in python.split("."))):
        return False
    begin, architectures = machine
    return any(
        name == "any" or (name.startswith(begin) and name.endswith(architectures)) for name in platforms.split(".")
    )


def _machine() -> tuple[str, tuple[str, ...]]:
    name = platform.machine().lower()
    if sys.platform == "win32":
        return "win", ("amd64",) if name in ("amd64", "x86_64") else (name,)
    if sys.platform == "darwin":
        return "macosx", (name, "universal2")
    return "manylinux", (name,)


def _folder(wheels: list[Path]) -> Path:
    import bpy

    names = hashlib.sha256("\n".join(path.name for path in wheels).encode()).hexdigest()[:12]
    return Path(bpy.utils.user_resource("SCRIPTS", path="longvie_libraries", create=True)) / names


def _unpack(wheels: list[Path], target: Path) -> None:
    # Under another name until it is whole: a Blender that is closed in between leaves nothing half done in use.
    partial = target.with_name(f"{target.name}.partial")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial)
    partial.replace(target)
