"""One typed tree from flags, environment and file; and no open door by accident."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from servers import ServerFactory

import bridge
from bridge.errors import InvalidValue
from longvie_server.config import ListenConfig, check_listening, load_config


def test_flags_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "longvie.toml"
    file.write_text('[listen]\ntoken = "file"\nhttp = "127.0.0.1:1"\n[model]\nname = "fake"\nthreads = 3\n')
    monkeypatch.setenv("LONGVIE_LISTEN__TOKEN", "environment")
    monkeypatch.setenv("LONGVIE_MODEL__THREADS", "2")
    config = load_config(file, {"model": {"threads": 1}})
    assert (config.listen.token, config.listen.http) == ("environment", "127.0.0.1:1")
    assert (config.model.name, config.model.threads) == ("fake", 1)


@pytest.mark.parametrize(
    ("flags", "field"),
    [({"model": {"threads": -1}}, "model.threads"), ({"session": {"resume_ttl_s": "soon"}}, "session.resume_ttl_s")],
)
def test_a_wrong_value_is_named(flags: dict[str, dict[str, object]], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        load_config(None, flags)
    assert caught.value.field == field
    assert "TOML" in caught.value.remedy


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InvalidValue, match="config: is not there"):
        load_config(Path("nowhere.toml"), {})


@pytest.mark.parametrize(
    ("listen", "missing"),
    [
        ({"zeromq": "tcp://0.0.0.0:5555"}, "a token .* and encryption"),
        ({"zeromq": "tcp://0.0.0.0:5555", "token": "t"}, "lacks encryption"),
        ({"zeromq": "tcp://*:5555", "curve_secret": "auto"}, "lacks a token"),
        ({"zeromq": "", "grpc": "192.168.1.5:50051", "token": "t"}, "tls-cert"),
        ({"zeromq": "tcp://[::]:5555"}, "a token"),
    ],
)
def test_beyond_this_machine_needs_token_and_encryption(listen: dict[str, str], missing: str) -> None:
    with pytest.raises(InvalidValue, match=missing):
        check_listening(ListenConfig(**listen))
    check_listening(ListenConfig(**listen, insecure=True))


def test_this_machine_needs_neither() -> None:
    for endpoint in ("tcp://127.0.0.1:5555", "tcp://localhost:0", "tcp://[::1]:5555", "ipc:///tmp/longvie"):
        check_listening(ListenConfig(zeromq=endpoint))


def test_curve(new_server: ServerFactory) -> None:
    server = new_server(listen={"curve_secret": "auto", "token": "t"})
    assert len(server.server_key) == 40
    with bridge.connect(server.zeromq_endpoint, token="t", server_key=server.server_key, timeout_s=20) as client:
        assert client.models[0].name == "fake:48x80"
    with pytest.raises(bridge.BridgeError, match=r"server_key|encrypted"):
        bridge.connect(server.zeromq_endpoint, token="t", timeout_s=2)
    with pytest.raises(bridge.BridgeError, match=r"server_key|encrypted"):
        bridge.connect(server.zeromq_endpoint, token="t", server_key="0" * 40, timeout_s=2)


def test_health_and_metrics(new_server: ServerFactory) -> None:
    server = new_server(listen={"http": "127.0.0.1:0"})
    root = f"http://127.0.0.1:{server.http_port}"
    with urllib.request.urlopen(f"{root}/healthz") as answer:
        assert json.load(answer) == {"status": "ok", "problems": {}}
    with bridge.connect(server.zeromq_endpoint), urllib.request.urlopen(f"{root}/metrics") as answer:
        assert "longvie_peers 1.0" in answer.read().decode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{root}/nowhere")
    caught.value.close()
    assert caught.value.code == 404
