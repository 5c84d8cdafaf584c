"""What the fields of a message are, read once from its class: the one table that both codecs work from."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin, get_type_hints

from ..messages import Plane

__all__ = ["FieldSpec", "field_specs"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a message class.

    Args:
        name: on the wire and in Python.
        kind: "int", "float", "str", "bool", "plane", "message", "list" (of `item`) or "map" (str to `item`).
        item: of a list or a map: the scalar type or message class; of a message: its class.
        required: has no default.
        default: what absence means.
    """

    name: str
    kind: str
    item: Any
    required: bool
    default: Any


_SPECS: Final[dict[type[Any], tuple[FieldSpec, ...]]] = {}


def field_specs(cls: type[Any]) -> tuple[FieldSpec, ...]:
    """Return the fields of a message class, in order."""
    if cls not in _SPECS:
        hints = get_type_hints(cls)
        _SPECS[cls] = tuple(_spec(field, hints[field.name]) for field in dataclasses.fields(cls))
    return _SPECS[cls]


def _spec(field: dataclasses.Field[Any], hint: Any) -> FieldSpec:
    if get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (arg for arg in get_args(hint) if arg is not type(None))
    origin = get_origin(hint)
    if origin is tuple:
        kind, item = "list", get_args(hint)[0]
    elif origin is dict:
        kind, item = "map", get_args(hint)[1]
    elif hint is Plane:
        kind, item = "plane", Plane
    elif dataclasses.is_dataclass(hint):
        kind, item = "message", hint
    else:
        kind, item = hint.__name__, hint
    missing = dataclasses.MISSING
    required = field.default is missing and field.default_factory is missing
    default = None
    if not required:
        default = field.default if field.default_factory is missing else field.default_factory()
    return FieldSpec(field.name, kind, item, required, default)
