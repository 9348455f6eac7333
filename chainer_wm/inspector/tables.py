"""Numbers of the page as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Lines of values; a number that is not finite, and None, are empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(header)
    writer.writerows([_word(each) for each in row] for row in rows)
    return file.getvalue()


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer, np.bool_)):
        return str(int(value))
    return '' if value is None or not np.isfinite(value) else f'{value:.7g}'


def steps_table(columns: Mapping[str, np.ndarray]) -> str:
    """A line a step, of arrays (T, ...): a column for each of the numbers of a step."""
    found: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        flat = values.reshape(len(values), -1).T
        for place, column in zip(np.ndindex(*values.shape[1:]), flat):
            found[' '.join([name, *map(str, place)])] = column
    return as_csv(list(found), zip(*found.values()))


def curves_table(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a point, of curves as `catalog.curves` finds them."""
    rows = (
        (name, each.get('xlabel', ''), x, y)
        for name, each in curves.items()
        for x, y in zip(each['x'], each['y'])
    )
    return as_csv(('curve', 'over', 'x', 'y'), rows)
