"""Make the add-on's zips: `python -m engine_plugins.blender.build --out dist/`.

Two from one source: an extension for Blender 4.2 and newer, which lists its wheels in a manifest, and an add-on for 3.4
to 4.1, which unpacks its wheels itself. `bridge` goes in as it is, with its imports made relative by a rule: Blender's
interpreter is shared by all add-ons, where a top-level package of that name could be somebody else's.
Laws: wheels are bundled unchanged, as the index serves them; the same sources and wheels give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge import __version__
from bridge.errors import InvalidValue

__all__ = ["ADDON_ZIP", "EXTENSION_ZIP", "build", "main", "manifest", "sources"]

EXTENSION_ZIP: Final = f"longvie-{__version__}.zip"
ADDON_ZIP: Final = f"longvie-{__version__}-blender-3.4-to-4.1.zip"

_ROOT: Final = Path(__file__).parents[2]
_PACKAGE: Final = Path(__file__).parent / "longvie"
_WHEELS: Final = ("pyzmq==27.1.0", "msgpack==1.1.2", "pillow==11.3.0")

PLATFORMS: Final[Mapping[str, Sequence[str]]] = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64",),
    "macos-x64": ("macosx_12_0_x86_64",),
}
"""Blender's names of platforms, and the names that wheels have for them."""
_EXTENSION_PYTHON: Final = ("3.11",)
_ADDON_PYTHON: Final = ("3.10", "3.11")

# Not for Blender: gRPC and protobuf (their generated files import absolutely), asyncio, files and checks of recordings.
_LEFT_OUT: Final = (
    "aio.py",
    "codecs/bridge_pb2.py",
    "codecs/protobuf_codec.py",
    "codecs/wire.py",
    "transports/grpc.py",
)
_LEFT_OUT_FOLDERS: Final = ("recording", "soundness")

_FROM_BRIDGE: Final = re.compile(r"^(?P<indent>\s*)from bridge(?P<module>[\w.]*) import ", re.MULTILINE)
_IMPORT_BRIDGE: Final = re.compile(r"^(?P<indent>\s*)import bridge$", re.MULTILINE)
_ABSOLUTE: Final = re.compile(r"^\s*(from|import) (bridge|engine_plugins|longvie_server)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BuiltZips:
    """The zips that were made."""

    extension: Path
    addon: Path


def build(out: Path, *, platforms: Iterable[str] = tuple(PLATFORMS), wheels_from: Path | None = None) -> BuiltZips:
    """Make both zips.

    Args:
        out: folder for them; it is made.
        platforms: whose wheels are bundled.
        wheels_from: folder in which to look for wheels before the index is asked; it keeps what is downloaded.

    Raises:
        InvalidValue: a platform is unknown, or a wheel cannot be had.
    """
    chosen = tuple(platforms)
    out.mkdir(parents=True, exist_ok=True)
    files = sources()
    with tempfile.TemporaryDirectory(prefix="longvie-wheels-") as scratch:
        store = wheels_from or Path(scratch)
        extension_wheels = _wheels(store, chosen, _EXTENSION_PYTHON)
        addon_wheels = _wheels(store, chosen, _ADDON_PYTHON)
        names = [wheel.name for wheel in extension_wheels]
        extension, addon = out / EXTENSION_ZIP, out / ADDON_ZIP
        text = manifest(names, chosen).encode()
        _write(extension, {"blender_manifest.toml": text, **files, **_as_files(extension_wheels)})
        _write(addon, {f"longvie/{name}": data for name, data in {**files, **_as_files(addon_wheels)}.items()})
    return BuiltZips(extension, addon)


def sources() -> dict[str, bytes]:
    """Return the add-on's files with `bridge` inside, by their place in it.

    Raises:
        InvalidValue: a module would still import from outside.
    """
    files = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE).as_posix()
        files[name] = _relative(path.read_text(encoding="utf-8"), depth=name.count("/") + 1)
    bridge = _ROOT / "bridge"
    for path in sorted(bridge.rglob("*.py")):
        name = path.relative_to(bridge).as_posix()
        if name not in _LEFT_OUT and name.partition("/")[0] not in _LEFT_OUT_FOLDERS:
            files[f"bridge/{name}"] = path.read_text(encoding="utf-8")
    for name, text in files.items():
        if _ABSOLUTE.search(text):
            raise InvalidValue(
                "imports from outside the add-on", field="source", value=name, remedy="Write: from bridge.x import y"
            )
    return {name: text.encode() for name, text in files.items()}


def manifest(wheels: Iterable[str], platforms: Iterable[str]) -> str:
    """Return the extension's manifest, in TOML."""
    lines = [
        'schema_version = "1.0.0"',
        'id = "longvie"',
        f'version = "{__version__}"',
        'name = "LongVie Bridge"',
        'tagline = "Generate photoreal footage from a blocked-out shot"',
        'maintainer = "The LongVie Bridge authors"',
        'type = "add-on"',
        'tags = ["Render", "Animation"]',
        'blender_version_min = "4.2.0"',
        'license = ["SPDX:GPL-3.0-or-later"]',
        "platforms = [" + ", ".join(f'"{name}"' for name in platforms) + "]",
        "wheels = [",
        *(f'  "./wheels/{name}",' for name in wheels),
        "]",
        "",
        "[permissions]",
        'network = "Send the shot to the LongVie server that you name"',
        'files = "Write the generated frames to the folder you choose"',
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m engine_plugins.blender.build", description="Make the add-on's zips."
    )
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the zips")
    parser.add_argument("--platform", action="append", choices=tuple(PLATFORMS), help="whose wheels; default: all")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, kept between builds")
    options = parser.parse_args(arguments)
    try:
        zips = build(options.out, platforms=options.platform or tuple(PLATFORMS), wheels_from=options.wheels)
    except InvalidValue as error:
        sys.exit(str(error))
    for path, what in ((zips.extension, "Blender 4.2 and newer"), (zips.addon, "Blender 3.4 to 4.1")):
        sys.stdout.write(f"{path}  {path.stat().st_size / 2**20:.1f} MiB, {what}\n")


def _relative(text: str, *, depth: int) -> str:
    """Return a module's text with its imports of `bridge` made relative; `depth` 1 is the add-on's own folder."""
    dots = "." * depth
    text = _FROM_BRIDGE.sub(rf"\g<indent>from {dots}bridge\g<module> import ", text)
    return _IMPORT_BRIDGE.sub(rf"\g<indent>from {dots} import bridge", text)


def _wheels(store: Path, platforms: Sequence[str], pythons: Sequence[str]) -> list[Path]:
    """Return the wheels for platforms and Pythons, each once, by name."""
    found: dict[str, Path] = {}
    for platform in platforms:
        if platform not in PLATFORMS:
            raise InvalidValue(
                "unknown", field="platform", value=platform, remedy=f"Use one of {', '.join(PLATFORMS)}."
            )
        for python in pythons:
            folder = store / f"{platform}-{python}"
            if len(list(folder.glob("*.whl"))) != len(_WHEELS):
                _download(folder, PLATFORMS[platform], python)
            found.update((path.name, path) for path in folder.glob("*.whl"))
    return [found[name] for name in sorted(found)]


def _download(folder: Path, tags: Sequence[str], python: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    for tag in tags:
        command += ["--platform", tag]
    result = subprocess.run([*command, *_WHEELS], capture_output=True, text=True)
    if result.returncode != 0:
        raise InvalidValue(
            f"wheels for Python {python} cannot be had: {result.stderr.strip().splitlines()[-1]}",
            field="platform",
            value=tags[0],
            remedy="Check the connection to the package index, or leave this platform out (--platform).",
        )


def _as_files(wheels: Iterable[Path]) -> dict[str, bytes]:
    return {f"wheels/{path.name}": path.read_bytes() for path in wheels}


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            # A fixed time: the same files give the same zip. Wheels are zips already.
            info = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, files[name])


if __name__ == "__main__":
    main()
