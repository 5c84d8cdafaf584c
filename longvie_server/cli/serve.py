"""`longvie serve`: a server until it is told to stop."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, TextIO

import structlog
import typer
from rich.console import Console

from ..config import load_config
from ..server import BridgeServer

__all__ = ["serve"]


def serve(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with tables listen, model, worker and session.")
    ] = None,
    zeromq: Annotated[str | None, typer.Option(help="ZeroMQ endpoint, tcp://host:port; '' for none.")] = None,
    grpc: Annotated[str | None, typer.Option(help="gRPC host:port; '' for none.")] = None,
    http: Annotated[str | None, typer.Option(help="host:port of /healthz and /metrics.")] = None,
    token: Annotated[str | None, typer.Option(help="Clients must send it.")] = None,
    curve_secret: Annotated[str | None, typer.Option(help="ZeroMQ encryption: secret key (Z85), or auto.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="gRPC encryption: PEM private key.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="gRPC encryption: PEM certificate chain.")] = None,
    insecure: Annotated[bool | None, typer.Option("--insecure", help="Listen openly, unprotected.")] = None,
    model: Annotated[str | None, typer.Option(help="tiny, longvie2, fake[:HxW] or a checkpoint folder.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the model; 0: all cores.")] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="What lies on the GPU: auto, resident, encoders-offloaded, float8, offloaded, float8-offloaded."
        ),
    ] = None,
    quality: Annotated[
        str | None, typer.Option(help="final, balanced or preview: fewer steps, or extrapolated ones, for speed.")
    ] = None,
    attention: Annotated[
        str | None, typer.Option(help="Attention kernel: auto, native, cudnn, flash, flash3 or sage.")
    ] = None,
    compile_blocks: Annotated[
        str | None, typer.Option("--compile", help="Compile the model while it is loaded: auto, on or off.")
    ] = None,
    products: Annotated[str | None, typer.Option(help="full, or float8: 8-bit matrix products, for an H100.")] = None,
    decoder: Annotated[str | None, typer.Option(help="full, or tiny: a small network decodes, for previews.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs that make each clip together.")] = None,
    load_timeout_s: Annotated[float | None, typer.Option(help="How long loading the model may take, seconds.")] = None,
    quiet_timeout_s: Annotated[
        float | None, typer.Option(help="Replace a worker that says nothing of a clip for so long, seconds.")
    ] = None,
    max_sessions: Annotated[int | None, typer.Option(help="Sessions in all.")] = None,
    resume_ttl_s: Annotated[float | None, typer.Option(help="How long a lost session is kept, seconds.")] = None,
    record_dir: Annotated[Path | None, typer.Option(help="Keep recordings of sessions that ask for one here.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Log and announce as JSON lines.")] = False,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="Stop when standard input closes: for programs that start us.")
    ] = False,
) -> None:
    """Serve a world model to engines.

    Every flag is also an environment variable (LONGVIE_LISTEN__TOKEN, LONGVIE_MODEL__NAME, ...) and an entry of the
    TOML file; flags win over the environment, the environment over the file. Clients connect with
    `bridge.connect("tcp://host:5555", token=...)`.
    """
    flags: dict[str, dict[str, Any]] = {
        "listen": {
            "zeromq": zeromq,
            "grpc": grpc,
            "http": http,
            "token": token,
            "curve_secret": curve_secret,
            "tls_key": tls_key,
            "tls_cert": tls_cert,
            "insecure": insecure,
        },
        "model": {
            "name": model,
            "device": device,
            "threads": threads,
            "memory": memory,
            "quality": quality,
            "attention": attention,
            "compile": compile_blocks,
            "products": products,
            "decoder": decoder,
            "gpus": gpus,
        },
        "worker": {"load_timeout_s": load_timeout_s, "quiet_timeout_s": quiet_timeout_s},
        "session": {"max_sessions": max_sessions, "resume_ttl_s": resume_ttl_s, "record_dir": record_dir},
    }
    given = {table: {k: v for k, v in entries.items() if v is not None} for table, entries in flags.items()}
    configure_logging(json_lines=json_output, stream=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(stop,), daemon=True).start()
    with BridgeServer(load_config(config, {table: entries for table, entries in given.items() if entries})) as server:
        announce(server, json_lines=json_output)
        # A wait without a time-out cannot be interrupted on Windows.
        while not stop.wait(0.5):
            pass


def announce(server: BridgeServer, *, json_lines: bool) -> None:
    """Say where the server listens, on standard output."""
    addresses = {
        "zeromq": server.zeromq_endpoint,
        "grpc": f"grpc://127.0.0.1:{server.grpc_port}" if server.grpc_port else "",
        "http": f"http://127.0.0.1:{server.http_port}" if server.http_port else "",
        "server_key": server.server_key,
        "model": server.spec.name,
    }
    if json_lines:
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        return
    console = Console()
    console.print(f"[green]ready[/green]: model {server.spec.name}, {server.spec.width} x {server.spec.height}")
    for name in ("zeromq", "grpc", "http"):
        if addresses[name]:
            console.print(f"  {name:6} {addresses[name]}", highlight=False)
    if server.server_key:
        console.print(f"  clients pass server_key={server.server_key!r}", highlight=False)


def configure_logging(*, json_lines: bool, stream: TextIO) -> None:
    """Send structured logs to a stream: JSON lines, or lines for people."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if json_lines else []),
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _watch_stdin(stop: threading.Event) -> None:
    # Not through sys.stdin: a thread that waits in it holds its lock, and Python then aborts as it exits.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()
