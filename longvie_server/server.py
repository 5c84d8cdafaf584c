"""A whole server: one worker process, one front-end thread, the sockets. `longvie serve` is a shell around it.

::

    with BridgeServer(load_config(None, {"model": {"name": "fake"}})) as server:
        bridge.connect(server.zeromq_endpoint)
"""

from __future__ import annotations

from typing import Any

import structlog

from bridge.errors import BridgeError
from bridge.messages import Limits

from .config import ServeConfig, check_listening
from .frontend.conductor import Conductor
from .frontend.http import HttpFrontend
from .frontend.hub import Hub, HubConfig
from .frontend.metrics import Metrics
from .frontend.reactor import Reactor
from .frontend.zeromq_frontend import ZeroMQFrontend, curve_keys
from .worker.supervisor import WorkerSupervisor
from .world_model.interface import ModelSpec

__all__ = ["BridgeServer"]

_log = structlog.get_logger("longvie.server")


class BridgeServer:
    """Starts with `start` or as a context manager; stops with `stop`.

    Args:
        config: everything.
        memory_name: also listen for `memory://name` clients of this process.

    Raises:
        InvalidValue: it would listen beyond this machine without protection.
    """

    def __init__(self, config: ServeConfig, *, memory_name: str = "") -> None:
        check_listening(config.listen)
        self._config = config
        self.memory_name = memory_name
        self._keys = curve_keys(config.listen.curve_secret)
        self._stack: list[Any] = []
        self._supervisor: WorkerSupervisor | None = None
        self._conductor: Conductor | None = None
        self.metrics = Metrics()
        self.zeromq_endpoint = ""
        self.grpc_port = 0
        self.http_port = 0

    @property
    def server_key(self) -> str:
        """The public CURVE key that clients pass as `server_key`; empty where ZeroMQ is in the clear."""
        return self._keys.public if self._keys else ""

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id."""
        return self._supervisor.pid if self._supervisor else None

    @property
    def spec(self) -> ModelSpec:
        """The model that is served."""
        assert self._supervisor is not None
        return self._supervisor.spec

    def start(self) -> None:
        """Load the model, then listen.

        Raises:
            BridgeError: the model cannot be loaded, or an address cannot be used.
        """
        reactor = Reactor(on_error=_log_crash)
        self._conductor = conductor = Conductor(reactor, metrics=self.metrics)
        worker = self._config.worker
        self._supervisor = WorkerSupervisor(
            self._config.model.choice,
            on_event=conductor.on_event,
            load_timeout_s=worker.load_timeout_s,
            quiet_timeout_s=worker.quiet_timeout_s,
        )
        try:
            self._supervisor.start()
            self._stack.append(self._supervisor.close)
            spec = self._supervisor.wait_ready()
            conductor.employ(self._supervisor)
            hub = Hub(reactor, spec=spec, conductor=conductor, config=self._hub_config(), metrics=self.metrics)
            reactor.start()
            self._stack.append(reactor.stop)
            self._stack.append(lambda: reactor.run(hub.shut_down))
            self._listen(reactor, hub)
        except BaseException:
            self.stop()
            raise
        _log.info("server.ready", zeromq=self.zeromq_endpoint, grpc_port=self.grpc_port, model=spec.name)

    def stop(self) -> None:
        """Stop listening, then the worker; nothing is left behind."""
        while self._stack:
            self._stack.pop()()

    def health(self) -> dict[str, str]:
        """Return problems, by what has them; empty when all is well."""
        broken = self._conductor.broken if self._conductor else None
        return {"worker": str(broken)} if broken else {}

    def __enter__(self) -> BridgeServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listen(self, reactor: Reactor, hub: Hub) -> None:
        listen, limits = self._config.listen, self._limits()
        if listen.zeromq:
            zeromq = ZeroMQFrontend(reactor, listen.zeromq, hub, limits=limits, keys=self._keys)
            reactor.run(zeromq.start)
            self._stack.append(lambda: reactor.run(zeromq.stop))
            self.zeromq_endpoint = zeromq.endpoint
        if listen.grpc:
            from .frontend.grpc_frontend import GrpcFrontend, TlsFiles

            tls = TlsFiles(str(listen.tls_key), str(listen.tls_cert)) if listen.tls_key and listen.tls_cert else None
            grpc = GrpcFrontend(listen.grpc, hub, tls=tls, limits=limits)
            grpc.start()
            self._stack.append(grpc.stop)
            self.grpc_port = grpc.port
        if self.memory_name:
            from .frontend.memory_frontend import MemoryFrontend

            memory = MemoryFrontend(self.memory_name, hub, limits=limits)
            memory.start()
            self._stack.append(memory.stop)
        if listen.http:
            http = HttpFrontend(listen.http, registry=self.metrics.registry, health=self.health)
            http.start()
            self._stack.append(http.stop)
            self.http_port = http.port

    def _limits(self) -> Limits:
        session = self._config.session
        return Limits(
            max_plane_bytes=session.max_plane_mib * 2**20,
            max_message_bytes=2 * session.max_plane_mib * 2**20,
            max_sessions=session.max_per_connection,
            resume_ttl_s=session.resume_ttl_s,
        )

    def _hub_config(self) -> HubConfig:
        return HubConfig(
            token=self._config.listen.token,
            limits=self._limits(),
            max_sessions=self._config.session.max_sessions,
            credit_bytes=self._config.session.credit_mib * 2**20,
            record_dir=self._config.session.record_dir,
        )


def _log_crash(error: BaseException) -> None:
    # A bug in one callback must not stop the sessions that have nothing to do with it.
    if isinstance(error, BridgeError):
        _log.error("front_end.error", code=error.code, problem=error.problem, field=error.field)
    else:
        _log.error("front_end.crash", exc_info=error)
