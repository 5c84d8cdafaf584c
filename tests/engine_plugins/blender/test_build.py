"""The zips: what is in them, that Blender's own tool accepts them, and that a bare Blender can work with them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from inside_blender import RunInside, blender_program, bpy_environment, bpy_python

from bridge.errors import InvalidValue
from engine_plugins.blender import build as builder
from engine_plugins.blender.longvie.libraries import fitting
from longvie_server.drive.server_process import ServerProcess

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> builder.BuiltZips:
    folder = tmp_path_factory.mktemp("build")
    try:
        return builder.build(folder / "dist", platforms=("linux-x64",), wheels_from=folder / "wheels")
    except InvalidValue as error:
        pytest.skip(f"no package index: {error}")


def test_sources_import_nothing_from_outside() -> None:
    files = builder.sources()
    assert "from ..bridge.geometry.camera import" in files["capture/camera.py"].decode()
    assert "from . import bridge" in files["network.py"].decode()
    assert "from ... import" not in files["ui/state.py"].decode()
    assert "from .. import bridge" in files["ui/state.py"].decode()
    for name, data in files.items():
        compile(data, name, "exec")
    assert not [name for name in files if "pb2" in name or "grpc" in name or "recording" in name]


def test_every_wheel_named_is_there_and_no_other(zips: builder.BuiltZips) -> None:
    with zipfile.ZipFile(zips.extension) as archive:
        manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
        bundled = {name for name in archive.namelist() if name.endswith(".whl")}
        assert {name.removeprefix("./") for name in manifest["wheels"]} == bundled
        for wheel in bundled:
            assert archive.read(wheel)[:2] == b"PK"
    assert sorted(Path(name).name.partition("-")[0] for name in bundled) == ["msgpack", "pillow", "pyzmq"]
    with zipfile.ZipFile(zips.addon) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"longvie"}
    assert len([name for name in names if name.endswith(".whl")]) == 6, "for Python 3.10 and 3.11"
    assert "longvie/blender_manifest.toml" not in names


def test_the_same_sources_give_the_same_bytes(zips: builder.BuiltZips, tmp_path: Path) -> None:
    again = builder.build(tmp_path, platforms=("linux-x64",), wheels_from=zips.addon.parents[1] / "wheels")
    assert again.extension.read_bytes() == zips.extension.read_bytes()
    assert again.addon.read_bytes() == zips.addon.read_bytes()


def test_an_unknown_platform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"platform: unknown \(got amiga\)\. Use one of linux-x64"):
        builder.build(tmp_path, platforms=("amiga",))


@pytest.mark.parametrize(
    ("version", "machine", "expected"),
    [
        ((3, 10), ("manylinux", ("x86_64",)), ["a-1-cp310-cp310-manylinux_2_28_x86_64.whl", "c-1-py3-none-any.whl"]),
        ((3, 11), ("macosx", ("arm64", "universal2")), ["b-1-cp311-cp311-macosx_10_15_universal2.whl"]),
        ((3, 12), ("win", ("amd64",)), ["d-1-cp38-abi3-win_amd64.whl"]),
        ((3, 10), ("manylinux", ("aarch64",)), []),
    ],
)
def test_wheels_are_chosen_by_their_names(version, machine, expected: list[str]) -> None:
    wheels = [
        "a-1-cp310-cp310-manylinux_2_28_x86_64.whl",
        "a-1-cp311-cp311-win_amd64.whl",
        "b-1-cp311-cp311-macosx_10_15_universal2.whl",
        "c-1-py3-none-any.whl",
        "d-1-cp38-abi3-win_amd64.whl",
    ]
    chosen = [path.name for path in fitting(map(Path, wheels), version=version, machine=machine)]
    assert [name for name in chosen if not name.startswith("c")] == [n for n in expected if not n.startswith("c")]
    assert "c-1-py3-none-any.whl" in chosen


@pytest.mark.blender
def test_blenders_own_tool_accepts_the_extension(zips: builder.BuiltZips) -> None:
    if blender_program():
        pytest.skip("only Blenders with extensions have the tool")
    where = "import bpy; print(bpy.utils.system_resource('SCRIPTS'))"
    found = subprocess.run([bpy_python(), "-c", where], capture_output=True, text=True, check=True)
    tool = Path(found.stdout.strip().splitlines()[-1]) / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    if not tool.exists():
        pytest.skip("this Blender is older than extensions")
    result = subprocess.run([bpy_python(), str(tool), "validate", str(zips.extension)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.blender
def test_install_generate_uninstall(zips: builder.BuiltZips, run_inside: RunInside, tmp_path: Path) -> None:
    if blender_program():
        pytest.skip("the extension is for Blender 4.2 and newer; test_window.py installs the add-on")
    with ServerProcess("fake:48x80", log=tmp_path / "log") as server:
        result = run_inside(
            "install_extension",
            str(zips.extension),
            server.endpoint,
            str(tmp_path),
            environment=bpy_environment(BLENDER_USER_RESOURCES=str(tmp_path / "user"), PYTHONPATH=""),
        )
    assert result["enabled"]
    assert result["panel"]
    assert (result["exit_code"], result["frames"]) == (0, 17)
    assert result["zmq"]
    assert result["msgpack"]
    assert result["PIL"]
    assert result["bridge"] == "bl_ext.user_default.longvie.bridge"
    assert not result["top_level_bridge"]
    assert result["disabled"]
    assert result["uninstalled"]
