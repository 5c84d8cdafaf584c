"""A file of weights that others published, and that a choice of this program asks for: where it is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import InvalidValue

__all__ = ["PublishedFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """A file on the Hub, or one that the environment names.

    Args:
        what: it is, in words.
        repository: on the Hub, `owner/name`.
        file: in the repository.
        environment: the variable that may hold a path instead.
        field: the option that asks for it.
        instead: what to choose where it cannot be had.
    """

    what: str
    repository: str
    file: str
    environment: str
    field: str
    instead: str

    def find(self, environ: Mapping[str, str]) -> Path:
        """Return the file: where the environment says, else from the Hub or its cache.

        Raises:
            InvalidValue: it is not there, or cannot be fetched.
        """
        given = environ.get(self.environment, "")
        if given:
            if not Path(given).is_file():
                raise InvalidValue(
                    "there is no such file",
                    field=self.environment,
                    value=given,
                    remedy=f"Correct the path of the {self.what}, or unset it to have it fetched.",
                )
            return Path(given)
        # Imported here, as in the registry: all else works without the Hub's client.
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(self.repository, self.file))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise InvalidValue(
                f"its {self.what} cannot be fetched from the Hub ({type(error).__name__})",
                field=self.field,
                value=f"{self.repository}/{self.file}",
                remedy=f"Check the network, set {self.environment} to the file, or {self.instead}.",
            ) from error
