"""The worker's process: jobs in through one pipe, events out through another, planes through shared memory.

The main thread makes clips, one at a time. A second thread reads the pipe, so that a cancel is seen between two events
of a clip, and what comes next is painted meanwhile; it ends the process at once when the pipe ends: a worker never
outlives its parent.
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
from dataclasses import dataclass, replace

import cv2

from bridge.errors import BridgeError, WorldModelFailed

from ..world_model.interface import StepFrames, WorldModel
from ..world_model.registry import load_model
from .choice import ModelChoice
from .clip import make_clip
from .events import Cancelled, Done, Failed, LoadFailed, Ready
from .messages import (
    CancelClip,
    Close,
    FramesWritten,
    Message,
    PaintAhead,
    PlanesAt,
    PlanesAttached,
    RawStream,
    RunClip,
    read_message,
    write_message,
)
from .paint import AheadPainter
from .planes import SharedPlanes
from .process import WORKER_COMMAND
from .ranks import Ranks, device_of_rank, follow

__all__ = ["Arguments", "LoadModel", "main", "parse_arguments", "run_worker"]

LoadModel = Callable[[ModelChoice], WorldModel]
"""(arguments, this process's device) to a world model."""

_log = logging.getLogger(__name__)


class _Inbox:
    """What the parent says, read by a thread of its own.

    Args:
        stream: the pipe.
        on_ahead: told, on that thread, what can be painted while a clip is made.
    """

    def __init__(self, stream: RawStream, on_ahead: Callable[[PaintAhead], None]) -> None:
        self._stream, self._on_ahead = stream, on_ahead
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
                elif isinstance(message, PaintAhead):
                    self._on_ahead(message)
                elif isinstance(message, Close) or (isinstance(message, CancelClip) and message.job_id == self._job_id):
                    self._stop.set()
                    if isinstance(message, Close):
                        self._queue.put(None)
        except (BridgeError, OSError):
            _log.exception("the parent's pipe broke")
        # The parent is gone. Whatever the main thread is in the middle of, nobody waits for it.
        os._exit(0)


def run_worker(
    inbox: RawStream, outbox: RawStream, load: Callable[[], WorldModel], start_ranks: Callable[[], Ranks] = Ranks
) -> int:
    """Load a model and serve its parent to the end.

    Args:
        inbox, outbox: the two pipes.
        load: makes the model.
        start_ranks: starts the other processes that make each clip with this one.

    Returns:
        the process's exit code.
    """
    painter = AheadPainter()
    ranks = Ranks()

    def paint_ahead(order: PaintAhead) -> None:
        painter.begin(order)
        ranks.send(order)

    orders = _Inbox(inbox, paint_ahead)
    try:
        ranks = start_ranks()
        model = load()
        ranks.meet(model)
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
            painter.use(planes, height=order.height, width=order.width)
            ranks.attach(order)
            write_message(outbox, PlanesAttached())
        elif planes is not None:
            write_message(outbox, _run(model, painter, order, planes, orders, outbox, ranks))
    ranks.close()
    painter.close()
    if planes is not None:
        planes.close()
    return 0


def _run(
    model: WorldModel,
    painter: AheadPainter,
    order: RunClip,
    planes: SharedPlanes,
    orders: _Inbox,
    outbox: RawStream,
    ranks: Ranks,
) -> Message:
    """Make one clip and return how it ended."""
    try:
        clip = ranks.lead(make_clip(model, planes.read_job(order), ahead=painter), order)
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
        # The others may be waiting for what this one can no longer send.
        if _is_fatal(error) or len(ranks):
            raise
        _log.exception("clip %d failed", order.clip)
        return Failed(order.job_id, _as_bridge_error(error, field="clip", value=str(order.clip)))


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


@dataclass(frozen=True, slots=True)
class Arguments:
    """A worker's command line.

    Args:
        choice: of the model.
        rank: which of them this is; the first one, 0, starts the others.
        meet: port where they find each other.
    """

    choice: ModelChoice
    rank: int
    meet: int

    @property
    def command(self) -> tuple[str, ...]:
        """What starts another process of the same worker, up to its rank."""
        return (*WORKER_COMMAND, *self.choice.flags)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Read a worker's command line."""
    parser = argparse.ArgumentParser(
        prog="python -m longvie_server.worker",
        description="The world model in a process of its own. The server starts it; it speaks over its pipes.",
    )
    ModelChoice.add_to(parser)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--meet", type=int, default=0)
    parsed = parser.parse_args(arguments)
    return Arguments(ModelChoice.of(parsed), parsed.rank, parsed.meet)


def _load(choice: ModelChoice) -> WorldModel:
    return load_model(choice.name, device=choice.device, threads=choice.threads, options=choice)


def _companions(given: Arguments, outbox: RawStream) -> Ranks:
    """Start the other processes of this worker; where one of them cannot load the model, the parent is told why."""
    return Ranks(
        given.command,
        given.choice.gpus,
        given.choice.threads,
        on_load_failed=lambda error: write_message(outbox, LoadFailed(error)),
    )


def main(arguments: Sequence[str] | None = None, *, load: LoadModel = _load) -> int:
    """Run the worker of this process's command line on its standard input and output.

    Args:
        arguments: instead of the command line's.
        load: makes the model, instead of the registry.
    """
    given = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    # Ctrl-C reaches the whole terminal; when to end is the parent's choice.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    inbox = io.FileIO(os.dup(0), "r")
    outbox = io.FileIO(os.dup(1), "w")
    # Whatever a library prints goes to the log, not between the messages.
    os.dup2(2, 1)

    choice = given.choice
    if choice.threads is not None:
        # The libraries' other threads are told by the environment; these are not.
        cv2.setNumThreads(choice.threads)

    def load_mine() -> WorldModel:
        return load(replace(choice, device=device_of_rank(choice.device, given.rank, choice.gpus)))

    try:
        with outbox:
            if given.rank:
                return follow(inbox, outbox, load_mine, rank=given.rank, count=choice.gpus, port=given.meet)
            return run_worker(inbox, outbox, load_mine, lambda: _companions(given, outbox))
    except BrokenPipeError:
        # The parent went between two messages.
        return 0
    except Exception:
        _log.exception("the worker cannot go on")
        # Not an orderly end: after a CUDA fault the destructors of what is on the device may never return.
        os._exit(1)
