"""From the Hub to the disk: what will be fetched is said first, and an interrupted fetch goes on where it stopped.

In: what is published, and a folder. Out: that folder with every file whole. Law: a file that is there under its name is
the one that the Hub announced, by size and checksum; what is under way has another name, and is gone on with. (The
Hub's own `hf_hub_download` starts a file again: on files of 10 GB that is not good enough.)
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.file_download import http_get

from bridge.errors import BridgeError, ConnectFailed, InvalidValue

__all__ = ["BASE", "LONGVIE", "PUBLISHED", "FetchPlan", "OnFile", "RemoteFile", "Source", "fetch", "plan_fetch"]


@dataclass(frozen=True, slots=True)
class Source:
    """A repository, and what of it is needed.

    Args:
        repo_id: owner/name.
        folder: where its files go, inside the fetch's folder.
        patterns: of the files' paths.
    """

    repo_id: str
    folder: str
    patterns: tuple[str, ...]


LONGVIE: Final = Source("Vchitect/LongVie2", "longvie", ("control.safetensors", "dit.safetensors"))
BASE: Final = Source(
    "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    "base",
    ("transformer/*", "vae/*", "text_encoder/*", "image_encoder/*", "tokenizer/*"),
)
PUBLISHED: Final = (LONGVIE, BASE)
"""LongVie 2: its own two files, and the base that they go over."""

_MODEL_SHARE: Final = 0.6
"""Of the download's size, roughly what the converted model takes: most of the base is published in 32 bits."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file on the Hub, and its place on the disk.

    Args:
        repo_id, revision, name: where it is.
        size: bytes.
        sha256: of its content; "" where the Hub knows none, as of small files.
        folder: where it goes.
    """

    repo_id: str
    revision: str
    name: str
    size: int
    sha256: str
    folder: Path

    @property
    def path(self) -> Path:
        """Where it goes."""
        return self.folder / self.name

    @property
    def there(self) -> bool:
        """Whether it is there, and whole."""
        return self.path.is_file() and self.path.stat().st_size == self.size


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What a fetch is about to do.

    Args:
        folder: to fetch into.
        files: all of them, those that are there included.
        licences: by repository, as their cards say.
        free: bytes on the disk.
    """

    folder: Path
    files: tuple[RemoteFile, ...]
    licences: dict[str, str]
    free: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def left(self) -> int:
        """Bytes of the files that are not there yet."""
        return sum(file.size for file in self.files if not file.there)

    @property
    def needed(self) -> int:
        """Bytes on the disk that are needed still, the converted model included."""
        return self.left + int(_MODEL_SHARE * self.size)


OnFile: TypeAlias = Callable[[RemoteFile, int, int], None]
"""Told a file before it is fetched, its number from 1, and how many there are."""


def plan_fetch(folder: Path, sources: Sequence[Source] = PUBLISHED, *, endpoint: str | None = None) -> FetchPlan:
    """Ask the Hub what there is to fetch; nothing is fetched.

    Args:
        folder: to fetch into.
        sources: repositories.
        endpoint: of a mirror; None for the Hub itself, or what HF_ENDPOINT says.

    Raises:
        ConnectFailed: the Hub cannot be reached.
        InvalidValue: a repository is not there, asks for a licence to be accepted, or lacks the files.
    """
    files: list[RemoteFile] = []
    licences = {}
    for source in sources:
        try:
            info = HfApi(endpoint=endpoint).model_info(source.repo_id, files_metadata=True)
        except Exception as error:
            raise _hub_error(error, source.repo_id) from error
        card = info.card_data
        licences[source.repo_id] = str(getattr(card, "license", None) or "not stated")
        wanted = [
            RemoteFile(
                repo_id=source.repo_id,
                revision=str(info.sha),
                name=file.rfilename,
                size=int(file.size or 0),
                sha256=file.lfs.sha256 if file.lfs else "",
                folder=folder / source.folder,
            )
            for file in info.siblings or []
            if any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in source.patterns)
        ]
        absent = [p for p in source.patterns if not any(fnmatch.fnmatch(file.name, p) for file in wanted)]
        if absent:
            raise InvalidValue(
                f"has no {', '.join(absent)}",
                field="repository",
                value=source.repo_id,
                remedy="Check the repository's name, or fetch its files by hand and run longvie weights convert.",
            )
        files += wanted
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return FetchPlan(folder, tuple(files), licences, shutil.disk_usage(there).free)


def fetch(plan: FetchPlan, *, endpoint: str | None = None, on_file: OnFile = lambda file, number, count: None) -> None:
    """Fetch what is not there yet; after an interruption the same call goes on in the middle of a file.

    Raises:
        InvalidValue: the disk is too full, or a file came in another size than announced.
        ConnectFailed: the Hub was lost.
    """
    if plan.left > plan.free:
        raise _disk_full(plan.folder, plan.free, plan.left)
    # With the user's token, where he is logged in.
    headers = HfApi(endpoint=endpoint)._build_hf_headers()
    for number, file in enumerate(plan.files, start=1):
        if file.there:
            continue
        on_file(file, number, len(plan.files))
        try:
            _fetch_one(file, endpoint, headers)
        except BridgeError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise _disk_full(plan.folder, shutil.disk_usage(plan.folder).free, plan.left) from error
            raise _hub_error(error, f"{file.repo_id}/{file.name}") from error


def _fetch_one(file: RemoteFile, endpoint: str | None, headers: Mapping[str, str]) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    # Of another revision, what is there already would be the beginning of another file.
    partial = file.path.with_name(f"{file.path.name}.{file.revision[:8]}.partial")
    url = hf_hub_url(file.repo_id, file.name, revision=file.revision, endpoint=endpoint)
    with partial.open("r+b" if partial.exists() else "w+b") as out:
        there = out.seek(0, 2)
        http_get(url, out, resume_size=there, headers=dict(headers), expected_size=file.size)
        out.seek(0)
        digest = _sha256(out) if file.sha256 else ""
    size = partial.stat().st_size
    if size != file.size or digest != file.sha256:
        partial.unlink()
        raise InvalidValue(
            f"came as {size:,} bytes, and {file.size:,} were announced" if size != file.size else "came damaged",
            field="weights",
            value=file.path,
            remedy="Fetch again: this file begins anew, the others are kept.",
        )
    partial.replace(file.path)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 24):
        digest.update(block)
    return digest.hexdigest()


def _disk_full(folder: Path, free: int, needed: int) -> InvalidValue:
    return InvalidValue(
        f"the disk has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are to be fetched",
        field="--to",
        value=folder,
        remedy="Make room, or name a folder on another disk; what is there already is kept.",
    )


def _hub_error(error: Exception, what: str) -> BridgeError:
    if isinstance(error, GatedRepoError):
        return InvalidValue(
            "asks you to accept its licence first",
            field="repository",
            value=what,
            remedy="Accept it on the repository's page, then log in with hf auth login or set HF_TOKEN.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return InvalidValue(
            "is not on the Hub, or is private",
            field="repository",
            value=what,
            remedy="Check the name; for a private one set HF_TOKEN.",
        )
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code == 404:
        return InvalidValue(
            "is not on the Hub", field="repository", value=what, remedy="Check the name, or update longvie-bridge."
        )
    return ConnectFailed(
        f"it cannot be fetched from the Hub ({type(error).__name__})",
        field="repository",
        value=what,
        remedy="Check the network (HTTPS_PROXY, HF_ENDPOINT) and run the same command again: "
        "it goes on where it stopped.",
    )
