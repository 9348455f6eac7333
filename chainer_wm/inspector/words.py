"""Values as words and bars, in lines of at most 79 characters."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 79
BAR = 34  # characters of the longest bar of a histogram
LABEL = 13  # characters before the values
NAMED = 8  # how many problems are named one by one
_TIGHT = '\u00a0'  # holds a name and its value on one line


def plain(value: Any) -> str:
    """A value as one would say it: no quotes, no 17 digits."""
    if value is None:
        return '-'
    if isinstance(value, float):
        return f'{value:.6g}'
    return value if isinstance(value, str) else json.dumps(value)


def pairs(values: Mapping[str, Any]) -> str:
    """'a 1, b 2'; what is nested as JSON."""
    return ', '.join(f'{name}{_TIGHT}{plain(value)}' for name, value in values.items())


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ('bytes', 'kB', 'MB', 'GB'):
        if count < 1000 or unit == 'GB':
            break
        count /= 1000
    return f'{count:.0f} {unit}' if unit == 'bytes' else f'{count:.3g} {unit}'


def duration(seconds: float) -> str:
    """'42 s', '3:20 min' or '5:02 h'."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f'{rest} s'
    if minutes < 60:
        return f'{minutes}:{rest:02} min'
    return f'{minutes // 60}:{minutes % 60:02} h'


def number(value: float) -> str:
    """Four digits or all of a whole number, without an exponent for those."""
    return f'{value:.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def field(name: str, value: Any) -> list[str]:
    """A name and what is to say about it; nothing if there is nothing."""
    return _lines(plain(value), f'{name:<{LABEL}}', ' ' * LABEL)


def wrapped(text: str, indent: int = 2) -> list[str]:
    """An indented paragraph."""
    return _lines(text, ' ' * indent, ' ' * (indent + 2))


def _lines(text: str, first: str, later: str) -> list[str]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,  # a path stays whole, to be copied
    )
    return [line.replace(_TIGHT, ' ') for line in lines]


def named(problems: Sequence[str]) -> list[str]:
    """A list of the first few problems."""
    lines = [line for each in problems[:NAMED] for line in wrapped(f'- {each}')]
    if len(problems) > NAMED:
        lines += [f'  and {len(problems) - NAMED} more']
    return lines


def histogram(values: Mapping[str, Sequence[float]]) -> list[str]:
    """A histogram, one line per bin."""
    counts = values['counts']
    labels = [
        f'{number(low)} to {number(high)}' for low, high in itertools.pairwise(values['edges'])
    ]
    return bars(labels, counts, [f'{count:,}' for count in counts])


def bars(labels: Sequence[str], values: Sequence[float], words: Sequence[str]) -> list[str]:
    """Named bars with a word at their ends."""
    most = max([*values, 1e-12])
    wide = max(map(len, labels))
    return [
        f'  {label:>{wide}}  {"█" * round(value / most * BAR):<{BAR}} {word:>8}'.rstrip()
        for label, value, word in zip(labels, values, words)
    ]
