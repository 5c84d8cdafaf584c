"""Install the built extension as a user does, generate with it, take it out: `install_extension.py ZIP SERVER FOLDER`.

The test's own libraries are hidden first, so everything but Blender and numpy must come out of the zip.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

ZIP, SERVER, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
ADDON = "bl_ext.user_default.longvie"


def hide_libraries() -> None:
    sys.path[:] = [path for path in sys.path if "site-packages" not in path and path]
    for name in ("zmq", "msgpack", "PIL", "bridge", "engine_plugins"):
        assert importlib.util.find_spec(name) is None, f"{name} is still to be found"


def make_shot() -> None:
    import scenes

    scene = scenes.empty_scene(fps=24, frame_end=25)
    scenes.clutter(scene)
    scenes.add_camera(scene, (-4.0, -9.0, 3.0), (0.0, 0.0, 0.3), lens=35.0)


def write_first_frame(path: Path) -> Path:
    image = bpy.data.images.new("first", 160, 90)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    return path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    hide_libraries()
    make_shot()  # before the installation: it begins with factory settings, which have no extensions
    bpy.ops.extensions.package_install_files(filepath=ZIP, repo="user_default", enable_on_install=True)
    result: dict[str, Any] = {"enabled": ADDON in bpy.context.preferences.addons}
    result["panel"] = hasattr(bpy.types, "LONGVIE_PT_sidebar") and hasattr(bpy.context.scene, "longvie")
    first = write_first_frame(FOLDER / "first.png")
    headless = importlib.import_module(f"{ADDON}.headless")
    out = FOLDER / "out"
    result["exit_code"] = headless.run(
        ["--server", SERVER, "--prompt", "a room", "--out", str(out), "--first-frame", str(first)]
    )
    result["frames"] = len(list(out.glob("*.png")))
    users = bpy.utils.resource_path("USER")
    for name in ("zmq", "msgpack", "PIL"):
        result[name] = str(importlib.import_module(name).__file__).startswith(users)
    result["bridge"] = sys.modules[f"{ADDON}.bridge"].__name__
    result["top_level_bridge"] = "bridge" in sys.modules
    result["numpy"] = np.__version__
    bpy.ops.preferences.addon_disable(module=ADDON)
    result["disabled"] = not hasattr(bpy.types.Scene, "longvie")
    bpy.ops.extensions.package_uninstall(repo_directory=_repository(), pkg_id="longvie")
    result["uninstalled"] = not (Path(_repository()) / "longvie").exists()
    sys.stdout.write("RESULT " + json.dumps(result) + "\n")


def _repository() -> str:
    return next(r.directory for r in bpy.context.preferences.extensions.repos if r.module == "user_default")


main()
