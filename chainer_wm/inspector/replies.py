"""Answers of the server: JSON, arrays as bytes, and numbers out of a query."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.responses import Response

from chainer_wm import files
from chainer_wm.inspector import folders

CSV = 'text/csv; charset=utf-8'
Query = Mapping[str, str]


def to_json(value: Any, status: int = 200) -> Response:
    """JSON that every browser reads: what is not finite is null."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(',', ':'))
    return Response(text, status, media_type='application/json')


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return _finite(files.to_plain(value))


def to_bytes(array: np.ndarray, **more: Any) -> Response:
    """An array's bytes, its shape and more of it in headers."""
    headers = {'X-Shape': ','.join(map(str, array.shape))}
    headers |= {f'X-{name.title()}': repr(value) for name, value in more.items()}
    body = np.ascontiguousarray(array).tobytes()
    return Response(body, media_type='application/octet-stream', headers=headers)


def whole(query: Query, name: str, default: int | None = None) -> int:
    """A whole number of a query, at least 0.

    Raises:
        InspectorError: it is none.
    """
    text = query.get(name, '' if default is None else str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise folders.InspectorError(f'{name} is {text!r}, expected a whole number')
    return int(text)


def real(query: Query, name: str, default: float, least: float, most: float) -> float:
    """A number of a query.

    Raises:
        InspectorError: it is none, or not between `least` and `most`.
    """
    text = query.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise folders.InspectorError(f'{name} is {text!r}, expected {least:g} to {most:g}')
    return value
