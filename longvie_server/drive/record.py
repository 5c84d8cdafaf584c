"""Record a .blend file's shot: Blender captures in the background, this process writes the recording.

No server and no model take part: the ticks are kept as Blender sent them, and `longvie render` makes videos of them.
The add-on's own sources are put beside Blender for the time of the recording, so nothing has to be installed in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from bridge.errors import InvalidValue
from bridge.geometry.fit import Fit
from bridge.planes import load_image
from bridge.recording import PromptEvent, RecordingWriter, SessionHeader
from bridge.tick import DepthRange, TrackMode
from engine_plugins.blender.build import sources
from engine_plugins.blender.longvie.tick_files import SAID, read_tick, tick_path

__all__ = ["RecordRequest", "record_blend"]

_PACKAGE: Final = "longvie_recording"  # not `longvie`: this Blender may have the add-on installed under that name
_LAST_LINES: Final = 6


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """What to record.

    Args:
        blend: the file.
        prompt: what a video of it shows.
        seed: of that video.
        model: that renders it where `longvie render` is not told another one.
        width, height: of depth, pixels: that model's.
        fit: how the render's aspect becomes that of width and height.
        depth_range: near and far that map to black and white; None where the first clip measures it.
        shot_arguments: further ones, as Blender's side spells them (`--start 1`, `--still CYCLES`, ...).
    """

    blend: Path
    prompt: str
    seed: int = 0
    model: str = "longvie2"
    width: int = 640
    height: int = 352
    fit: Fit = Fit.CROP
    depth_range: DepthRange | None = None
    shot_arguments: Sequence[str] = ()


def record_blend(
    request: RecordRequest,
    out: Path,
    *,
    blender: str = "",
    force: bool = False,
    on_shot: Callable[[str, Sequence[str]], None] = lambda rate, hidden: None,
    on_tick: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Record a shot into an MCAP file and return its number of ticks.

    Args:
        request: what to record.
        out: the file; it takes its name when it is whole.
        blender: the program, or a Python that has bpy; empty: `blender` on the PATH.
        force: replace a file that is there.
        on_shot: is told what the frame rate means, and the names of objects that are hidden in the viewport.
        on_tick: is told how many ticks are recorded, and how many there are.

    Raises:
        InvalidValue: the file, the program or the shot cannot be used; the message says why.
    """
    if not request.blend.is_file():
        raise InvalidValue("is not there", field="--blend", value=request.blend, remedy="Give a .blend file.")
    if out.exists() and not force:
        raise InvalidValue("is there already", field="--out", value=out, remedy="Choose another name, or add --force.")
    program = _find(blender)
    partial = out.with_name(f".{out.name}.partial")
    with tempfile.TemporaryDirectory(prefix="longvie-record-") as scratch:
        try:
            with _running(program, request, Path(scratch)) as events:
                count = _write(events, request, partial, Path(scratch), on_shot=on_shot, on_tick=on_tick)
            os.replace(partial, out)
        finally:
            partial.unlink(missing_ok=True)
    return count


def _write(
    events: Iterator[dict[str, Any]],
    request: RecordRequest,
    path: Path,
    folder: Path,
    *,
    on_shot: Callable[[str, Sequence[str]], None],
    on_tick: Callable[[int, int], None],
) -> int:
    shot = next(events)["shot"]
    on_shot(shot["rate"], shot["hidden"])
    header = SessionHeader(
        prompt=shot["prompt"],
        seed=request.seed,
        model=request.model,
        track_mode=TrackMode.ENGINE,
        first_frame=load_image(shot["first_frame"], name="--first-frame"),
        depth_range=request.depth_range,
        fit=request.fit,
    )
    count = 0
    with RecordingWriter(path, header=header, overwrite=True) as recording:
        for from_tick, text in shot["prompts"]:
            recording.write_prompt(PromptEvent(from_tick, text))
        for event in events:
            recording.write_tick(read_tick(folder, event["tick"]))
            tick_path(folder, event["tick"]).unlink()
            count += 1
            on_tick(count, shot["ticks"])
        recording.write_finish()
    return count


@contextmanager
def _running(program: str, request: RecordRequest, scratch: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """Run Blender and yield what it tells; it is ended where the recording fails first."""
    _unpack(scratch)
    process = subprocess.Popen(
        _command(program, request, scratch),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    try:
        yield _events(program, process, process.stdout)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _events(program: str, process: subprocess.Popen[str], lines: IO[str]) -> Iterator[dict[str, Any]]:
    """Yield what Blender tells, until it has ended well.

    Raises:
        InvalidValue: the shot cannot be captured, or Blender failed.
    """
    last: deque[str] = deque(maxlen=_LAST_LINES)
    told = False
    for line in lines:
        if not line.startswith(SAID):
            last.append(line.rstrip())
            continue
        event: dict[str, Any] = json.loads(line.removeprefix(SAID))
        if "error" in event:
            raise InvalidValue(**event["error"])
        told = True
        yield event
    code = process.wait()
    if code != 0 or not told:
        raise InvalidValue(
            f"Blender ended with exit code {code}, and said: {' | '.join(last)}",
            field="--blender",
            value=program,
            remedy="Is it Blender 3.4 or newer? Without a display, some engines render no still: give --first-frame.",
        )


def _unpack(scratch: Path) -> None:
    for name, data in sources().items():
        path = scratch / _PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _command(program: str, request: RecordRequest, scratch: Path) -> list[str]:
    code = f"import sys; sys.path.insert(0, {str(scratch)!r}); import {_PACKAGE}.recorder as recorder; "
    code += "sys.exit(recorder.run(sys.argv[sys.argv.index('--') + 1:]))"
    arguments = ["--", f"--prompt={request.prompt}", "--ticks", str(scratch), "--fit", request.fit.value]
    arguments += ["--width", str(request.width), "--height", str(request.height), *request.shot_arguments]
    if Path(program).name.startswith("python"):
        return [program, "-c", code, *arguments, "--blend", str(request.blend)]
    return [program, "-b", str(request.blend), "--python-exit-code", "3", "--python-expr", code, *arguments]


def _find(blender: str) -> str:
    found = shutil.which(blender or "blender")
    if found is None:
        raise InvalidValue(
            "there is no such program" if blender else "is not on the PATH",
            field="--blender",
            value=blender or "blender",
            remedy="Name the program (--blender /path/to/blender), or a Python that has bpy.",
        )
    return found
