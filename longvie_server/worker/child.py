"""The worker's process: jobs in through one pipe, events out through another, planes through shared memory.

The main thread makes clips, one at a time. A second thread reads the pipe, so that a cancel is seen between two events
of a clip, and ends the process at once when the pipe ends: a worker never outlives its parent.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from bridge.errors import BridgeError, WorldModelFailed
from bridge.tick import WorldState

from ..world_model.interface import StepFrames, WorldModel
from ..world_model.registry import load_model
from .clip import make_clip
from .events import Cancelled, Done, Failed, LoadFailed, Ready
from .job import ClipJob
from .messages import (
    CancelClip,
    Close,
    FramesWritten,
    Message,
    PlanesAt,
    PlanesAttached,
    RawStream,
    RunClip,
    read_message,
    write_message,
)
from .planes import SharedPlanes

__all__ = ["LoadModel", "main", "parse_arguments", "run_worker"]

LoadModel = Callable[[str, str, int | None, str], WorldModel]
"""(name, device, threads) to a world model."""

_log = logging.getLogger(__name__)


class _Inbox:
    """What the parent says, read by a thread of its own."""

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream
        # Unbounded in type only: the parent sends the next job when the one before has ended.
        self._queue: queue.SimpleQueue[PlanesAt | RunClip | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._job_id: int | None = None
        threading.Thread(target=self._read, name="worker-inbox", daemon=True).start()

    def next(self) -> PlanesAt | RunClip | None:
        """Wait for the next thing to do; None when the parent wants the end."""
        return self._queue.get()

    @property
    def stop_asked(self) -> bool:
        """The running clip is cancelled."""
        return self._stop.is_set()

    def _read(self) -> None:
        try:
            while (message := read_message(self._stream)) is not None:
                if isinstance(message, RunClip):
                    self._job_id = message.job_id
                    self._stop.clear()
                    self._queue.put(message)
                elif isinstance(message, PlanesAt):
                    self._queue.put(message)
                elif isinstance(message, Close) or (isinstance(message, CancelClip) and message.job_id == self._job_id):
                    self._stop.set()
                    if isinstance(message, Close):
                        self._queue.put(None)
        except (BridgeError, OSError):
            _log.exception("the parent's pipe broke")
        # The parent is gone. Whatever the main thread is in the middle of, nobody waits for it.
        os._exit(0)


def run_worker(inbox: RawStream, outbox: RawStream, load: Callable[[], WorldModel]) -> int:
    """Load a model and serve its parent to the end.

    Args:
        inbox, outbox: the two pipes.
        load: makes the model.

    Returns:
        the process's exit code.
    """
    orders = _Inbox(inbox)
    try:
        model = load()
    except BridgeError as error:
        write_message(outbox, LoadFailed(error))
        return 1
    except Exception as error:
        _log.exception("the model cannot be loaded")
        write_message(outbox, LoadFailed(_as_bridge_error(error, field="model", value="")))
        return 1
    write_message(outbox, Ready(model.spec))
    planes: SharedPlanes | None = None
    while (order := orders.next()) is not None:
        if isinstance(order, PlanesAt):
            planes = SharedPlanes.attach(order.name, order.height, order.width)
            write_message(outbox, PlanesAttached())
        elif planes is not None:
            write_message(outbox, _run(model, order, planes, orders, outbox))
    if planes is not None:
        planes.close()
    return 0


def _run(model: WorldModel, order: RunClip, planes: SharedPlanes, orders: _Inbox, outbox: RawStream) -> Message:
    """Make one clip and return how it ended."""
    try:
        clip = make_clip(model, _job(order, planes))
        first = 0
        while not orders.stop_asked:
            try:
                event = next(clip)
            except StopIteration as end:
                return Done(order.job_id, end.value)
            if isinstance(event, StepFrames):
                count = len(event.frames)
                planes.frames[first : first + count] = event.frames
                write_message(outbox, FramesWritten(order.job_id, first, count))
                first += count
            else:
                write_message(outbox, event)
        clip.close()
        return Cancelled(order.job_id)
    except BridgeError as error:
        _log.exception("clip %d failed", order.clip)
        return Failed(order.job_id, error)
    except BrokenPipeError:
        raise
    except Exception as error:
        if _is_fatal(error):
            raise
        _log.exception("clip %d failed", order.clip)
        return Failed(order.job_id, _as_bridge_error(error, field="clip", value=str(order.clip)))


def _job(order: RunClip, planes: SharedPlanes) -> ClipJob:
    state = WorldState(
        model=order.model,
        clip=order.clip,
        next_tick=order.next_tick,
        shares_tick=order.shares_tick,
        seed=order.seed,
        prompt=order.prompt,
        negative_prompt=order.negative_prompt,
        depth_range=order.depth_range,
        # A copy, and small: a state may be kept, the block is written again for the next job.
        frames=planes.history[: order.history].copy(),
    )
    return ClipJob(order.job_id, state, planes.geometry, order.measure_ticks)


def _is_fatal(error: Exception) -> bool:
    """Whether this process can make no other clip: after a CUDA fault every later call in it fails too."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def _as_bridge_error(error: Exception, *, field: str, value: str) -> WorldModelFailed:
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return WorldModelFailed(
        f"the world model failed: {type(error).__name__}: {error}",
        field=field,
        value=value,
        remedy="Free memory, or choose a smaller model or offloading."
        if out_of_memory
        else "See the traceback in the worker's log.",
    )


def parse_arguments(arguments: Sequence[str]) -> tuple[str, str, int | None, str]:
    """Return (model, device, threads, memory) of a worker's command line."""
    parser = argparse.ArgumentParser(
        prog="python -m longvie_server.worker",
        description="The world model in a process of its own. The server starts it; it speaks over its pipes.",
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--memory", default="auto")
    parsed = parser.parse_args(arguments)
    return parsed.model, parsed.device, parsed.threads, parsed.memory


def _load(name: str, device: str, threads: int | None, memory: str) -> WorldModel:
    return load_model(name, device=device, threads=threads, memory=memory)


def main(arguments: Sequence[str] | None = None, *, load: LoadModel = _load) -> int:
    """Run the worker of this process's command line on its standard input and output.

    Args:
        arguments: instead of the command line's.
        load: makes the model, instead of the registry.
    """
    model, device, threads, memory = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    # Ctrl-C reaches the whole terminal; when to end is the parent's choice.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    inbox = io.FileIO(os.dup(0), "r")
    outbox = io.FileIO(os.dup(1), "w")
    # Whatever a library prints goes to the log, not between the messages.
    os.dup2(2, 1)
    try:
        with outbox:
            return run_worker(inbox, outbox, lambda: load(model, device, threads, memory))
    except BrokenPipeError:
        # The parent went between two messages.
        return 0
    except Exception:
        _log.exception("the worker cannot go on")
        # Not an orderly end: after a CUDA fault the destructors of what is on the device may never return.
        os._exit(1)
