"""The server's configuration: one typed tree, from flags, environment (LONGVIE_...) and a TOML file, in that order.

Every field is a flag of `longvie serve`; nested ones join their names with a double underscore in the environment.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bridge.errors import InvalidValue

from .worker.choice import ModelChoice

__all__ = [
    "ListenConfig",
    "ModelConfig",
    "ServeConfig",
    "SessionConfig",
    "WorkerConfig",
    "check_listening",
    "load_config",
]


class ListenConfig(BaseModel):
    """Where the server listens, and who may come in."""

    zeromq: str = Field("tcp://127.0.0.1:5555", description="ZeroMQ endpoint; empty: none; port 0: any free one.")
    grpc: str = Field("", description="gRPC host:port; empty: none; port 0: any free one.")
    http: str = Field("", description="host:port of /healthz and /metrics; empty: none.")
    token: str = Field("", description="Clients must send it. Required beyond this machine.")
    curve_secret: str = Field("", description="ZeroMQ: the server's secret CURVE key (Z85). 'auto' makes a pair.")
    tls_key: Path | None = Field(None, description="gRPC: PEM file of the private key.")
    tls_cert: Path | None = Field(None, description="gRPC: PEM file of the certificate chain.")
    insecure: bool = Field(False, description="Listen beyond this machine without token or encryption.")


class ModelConfig(BaseModel):
    """Which world model, and where it runs."""

    name: str = Field("tiny", description="tiny, longvie2, fake, fake:HEIGHTxWIDTH, or a checkpoint folder.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    threads: int = Field(0, ge=0, description="CPU threads of the model; 0: all cores.")
    memory: str = Field("auto", description="What lies on the GPU: auto, resident, offloaded, float8, ...")
    quality: str = Field("final", description="final, balanced or preview: what is traded for speed.")
    attention: str = Field("auto", description="The attention kernel: auto, native, cudnn, flash, flash3 or sage.")
    compile: str = Field("auto", description="Compile the model's blocks while it is loaded: auto, on or off.")
    products: str = Field("full", description="full, or float8: 8-bit products, faster on an H100, another picture.")
    decoder: str = Field("full", description="full, or tiny: a small published network decodes, for previews.")
    gpus: int = Field(1, ge=1, description="GPUs that make each clip together.")

    @property
    def choice(self) -> ModelChoice:
        """The same, as a worker takes it."""
        return ModelChoice(**{**self.model_dump(), "threads": self.threads or None})


class WorkerConfig(BaseModel):
    """How long the process that has the model is waited for."""

    load_timeout_s: float = Field(3600.0, gt=0, description="How long loading the model may take, seconds.")
    quiet_timeout_s: float = Field(
        3600.0, gt=0, description="A worker that says nothing of a clip for so long is replaced, seconds."
    )


class SessionConfig(BaseModel):
    """What one client may ask for."""

    max_sessions: int = Field(64, ge=1, description="Sessions in all.")
    max_per_connection: int = Field(16, ge=1, description="Sessions per connection.")
    resume_ttl_s: float = Field(600.0, gt=0, description="How long a session without a connection is kept, seconds.")
    max_plane_mib: int = Field(64, ge=1, description="Largest plane, MiB.")
    credit_mib: int = Field(256, ge=1, description="Memory per session for ticks that wait, MiB.")
    record_dir: Path | None = Field(None, description="Record sessions that ask for it into this folder.")


class ServeConfig(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(env_prefix="LONGVIE_", env_nested_delimiter="__", extra="forbid")
    toml_file: ClassVar[Path | None] = None

    listen: ListenConfig = Field(default_factory=lambda: ListenConfig.model_validate({}))
    model: ModelConfig = Field(default_factory=lambda: ModelConfig.model_validate({}))
    worker: WorkerConfig = Field(default_factory=lambda: WorkerConfig.model_validate({}))
    session: SessionConfig = Field(default_factory=lambda: SessionConfig.model_validate({}))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then the environment, then the file."""
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if cls.toml_file is not None:
            sources += (TomlConfigSettingsSource(settings_cls, cls.toml_file),)
        return sources


def load_config(file: Path | None, flags: dict[str, Any]) -> ServeConfig:
    """Return the configuration from a TOML file (or None), the environment, and flags (nested, only those given).

    Raises:
        InvalidValue: the file is missing, or a value is wrong; it is named.
    """
    if file is not None and not file.is_file():
        raise InvalidValue("is not there", field="config", value=file, remedy="Give a TOML file.")
    bound = type("ServeConfig", (ServeConfig,), {"toml_file": file, "__module__": __name__})
    try:
        return bound(**flags)  # type: ignore[no-any-return]
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidValue(
            first["msg"].rstrip("."),
            field=".".join(str(part) for part in first["loc"]),
            value=first.get("input", ""),
            remedy="Correct the flag, the LONGVIE_ variable or the TOML entry of this name.",
        ) from error


def check_listening(listen: ListenConfig) -> None:
    """Refuse to be reachable from other machines without a token and encryption, unless told so in plain words.

    Raises:
        InvalidValue: names what is missing.
    """
    if listen.insecure:
        return
    for field, address, encrypted, how in (
        ("listen.zeromq", listen.zeromq, bool(listen.curve_secret), "--curve-secret auto"),
        ("listen.grpc", listen.grpc, listen.tls_cert is not None, "--tls-cert and --tls-key"),
    ):
        if address and not _is_local(address):
            missing = [
                *([] if listen.token else ["a token (--token)"]),
                *([] if encrypted else [f"encryption ({how})"]),
            ]
            if missing:
                raise InvalidValue(
                    f"is reachable from other machines and lacks {' and '.join(missing)}",
                    field=field,
                    value=address,
                    remedy="Add it, listen on 127.0.0.1, or accept the risk with --insecure.",
                )


def _is_local(address: str) -> bool:
    scheme, _, rest = address.rpartition("://")
    if scheme == "ipc":
        return True
    host = rest.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
