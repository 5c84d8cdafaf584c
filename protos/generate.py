"""Compile the schema: `python protos/generate.py` writes `bridge/codecs/bridge_pb2.py` from `bridge.proto`.

The output is the compiled descriptor and nothing else, so it is the same whichever protoc made it, and runs on every
protobuf runtime that pyproject allows (code that protoc generates is tied to runtimes of its own version and newer).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

__all__ = ["compile_schema", "render"]

PROTOS: Final = Path(__file__).resolve().parent
SCHEMA: Final = "longvie/bridge/v1/bridge.proto"
TARGET: Final = PROTOS.parent / "bridge" / "codecs" / "bridge_pb2.py"
_BYTES_PER_LINE: Final = 24

_HEAD: Final = f'''"""The compiled schema: protos/generate.py writes this file from protos/{SCHEMA}."""

DESCRIPTOR_BYTES = (
'''


def compile_schema() -> FileDescriptorProto:
    """Return the descriptor of `bridge.proto`, as the installed protoc compiles it."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.bin"
        status = protoc.main(["protoc", f"-I{PROTOS}", f"--descriptor_set_out={out}", SCHEMA])
        if status != 0:
            raise SystemExit(f"protoc failed on {PROTOS / SCHEMA} (exit status {status})")
        (file,) = FileDescriptorSet.FromString(out.read_bytes()).file
    return file


def render(schema: FileDescriptorProto) -> str:
    """Return the module's text."""
    data = schema.SerializeToString(deterministic=True)
    lines = (data[at : at + _BYTES_PER_LINE] for at in range(0, len(data), _BYTES_PER_LINE))
    return _HEAD + "".join(f"    {line!r}\n" for line in lines) + ")\n"


if __name__ == "__main__":
    TARGET.write_text(render(compile_schema()), encoding="utf-8", newline="\n")
