"""The one place that imports Open3D.

Open3D's Linux wheel is linked against libusb (for depth cameras that nothing here uses) but does not bring it. Where
the system has none, the one in the wheel `libusb-package` is loaded first: the dynamic linker then finds it by its
name, and no system package has to be installed.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from bridge.errors import UsageError

__all__ = ["load_open3d"]

_LIBUSB: Final = "libusb-1.0.so.0"


@lru_cache(maxsize=1)
def load_open3d() -> Any:
    """Return the module `open3d`.

    Raises:
        UsageError: it is not installed, or a system library that it needs is missing.
    """
    if sys.platform == "linux":
        _provide_libusb()
    try:
        return importlib.import_module("open3d")
    except ModuleNotFoundError as error:
        raise UsageError(
            "the built-in engine needs Open3D", field="open3d", value=error, remedy="pip install 'longvie-bridge[demo]'"
        ) from error
    except (ImportError, OSError) as error:
        raise UsageError(
            "Open3D is installed but cannot be loaded",
            field="open3d",
            value=error,
            remedy="Install the library that is named (Debian: apt install libusb-1.0-0 libgl1 libx11-6 libgomp1).",
        ) from error


def _provide_libusb() -> None:
    try:
        ctypes.CDLL(_LIBUSB)
    except OSError:
        package = importlib.util.find_spec("libusb_package")
        for folder in (package.submodule_search_locations or ()) if package else ():
            library = Path(folder) / "libusb-1.0.so"
            if library.is_file():
                ctypes.CDLL(str(library))
