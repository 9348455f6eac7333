"""The deviation of data that arrive in parts: exact, and as it was published.

A published formula merges two parts as

    s^2 = ((n1-1) s1^2 + (n2-1) s2^2 + n1 (m1-m)^2 + n2 (m2-m)^2) / (n-1)

which is exact if s1 and s2 are the estimates of a sample (ddof=1). The code beside it feeds
NumPy's default, the population's deviation (ddof=0), and every part then loses about 1/n of its
variance. ``chainer_wm.agents.running_statistics`` takes ``ddof`` as an argument and is exact for
both.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from chainer_wm.agents.running_statistics import merge
from chainer_wm.plots import style
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import CommonConfig, main, opt, parse, run_stages
from chainer_wm.seeds import stream

NAME = 'running_statistics'
PRESETS = {'smoke': {'repeats': 10}, 'laptop': {}}


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """Merged means and deviations: exact against the published formula."""

    values: int = opt(1024, 'values in all, a power of two')
    repeats: int = opt(50, 'sets of values')
    mean: float = opt(3.0, 'of the values', least=-math.inf)
    deviation: float = opt(2.0, 'of the values')


def published(n1, mean1, std1, n2, mean2, std2):
    """The published formula, whatever its deviations are."""
    n = n1 + n2
    mean = (n1 * mean1 + n2 * mean2) / n
    squares = (n1 - 1) * std1**2 + (n2 - 1) * std2**2
    squares += n1 * (mean1 - mean) ** 2 + n2 * (mean2 - mean) ** 2
    return n, mean, (squares / (n - 1)) ** 0.5


def running(values: np.ndarray, size: int, join: Callable, ddof: int):
    """Deviation after each part.

    Args:
        values: (n,).
        size: of a part; it divides n.
        join: ``merge`` or ``published``.
        ddof: of the parts' deviations.

    Returns:
        (n / size,) deviations.
    """
    found: list[float] = []
    state = None
    for part in values.reshape(-1, size):
        seen = size, part.mean(), part.std(ddof=ddof)
        state = seen if state is None else join(*state, *seen)
        found.append(state[2])
    return np.array(found)


def errors(config: Config, size: int) -> dict[str, float]:
    """Median relative errors of the deviation after the last part.

    The published formula is compared with ddof=1, which it computes when fed rightly; ddof=0 would
    differ by 1 / (2 n), a twentieth of a percent here.
    """
    found: dict[str, list[float]] = {'published': [], 'exact': []}
    for repeat in range(config.repeats):
        x = numbers(config, repeat)
        for name, join, ddof in (
            ('published', published, 1),
            ('exact', merge, 0),  # its own default is NumPy's, ddof=0
        ):
            last = running(x, size, join, 0)[-1]
            truth = x.std(ddof=ddof)
            found[name].append(abs(last / truth - 1))
    return {name: float(np.median(each)) for name, each in found.items()}


def numbers(config: Config, repeat: int) -> np.ndarray:
    """One set of values, (values,)."""
    rng = stream(config.seed, 'values', repeat)
    return rng.normal(config.mean, config.deviation, config.values)


def picture(path, config: Config, table: list[dict]) -> None:
    """One set of values arriving, and the error over the parts' size."""
    chart = style.figure(10.2, 3.9)
    left, right = chart.subplots(1, 2)
    arriving(left, config, size=4)
    style.dress(right, 'values per part', 'relative error of the deviation', grid='both')
    sizes = [row['size'] for row in table]
    for name, colour, label in (
        ('published', style.VERMILLION, 'published formula, fed ddof=0'),
        ('exact', style.BLUE, 'exact merge'),
    ):
        right.loglog(
            sizes, [max(row[name], 1e-17) for row in table], 'o-', color=colour, label=label
        )
    right.loglog(
        sizes,
        [1 / (2 * size) for size in sizes],
        color=style.GREY,
        linestyle=(0, (3, 2)),
        label='1 / (2 × values per part)',
    )
    right.set_xscale('log', base=2)
    right.set_title(
        f'{config.values} values, median of {config.repeats} sets',
        fontsize=style.TITLE,
        loc='left',
    )
    style.legend(right, loc='center right')
    style.save(path, chart)


def arriving(axes: Axes, config: Config, size: int) -> None:
    """The running deviation, part by part, of the first set of values."""
    style.dress(axes, 'values seen', 'deviation so far', grid='y')
    x = numbers(config, 0)
    ends = np.arange(size, len(x) + 1, size)
    truth = np.array([x[:end].std() for end in ends])
    axes.plot(
        ends, truth, color=style.GREY, linewidth=5, alpha=0.5, label='NumPy on all values so far'
    )
    axes.plot(ends, running(x, size, merge, 0), color=style.BLUE, label='exact merge')
    axes.plot(
        ends,
        running(x, size, published, 0),
        color=style.VERMILLION,
        label='published formula, fed ddof=0',
    )
    axes.set_xscale('log', base=2)
    axes.set_title(f'Parts of {size} values', fontsize=style.TITLE, loc='left')
    style.legend(axes, loc='best')


def compare(config: Config, run: run_folder.Run) -> None:
    """The errors of both by the size of a part: a table and a picture."""
    sizes = [2**i for i in range(1, config.values.bit_length() - 1)]
    table = [{'size': size, **errors(config, size)} for size in sizes]
    print('values per part   published formula   exact merge')
    for row in table:
        print('{size:15d}   {published:16.2%}   {exact:12.0e}'.format(**row))
    picture(run.path('figures', 'running_statistics.png'), config, table)
    run.add_results(relative_error=table)


STAGES = {'compare': compare}


def script(argv: Sequence[str] | None = None) -> None:
    run_stages(parse(Config, PRESETS, NAME, argv), NAME, STAGES, ('matplotlib',)).close()


if __name__ == '__main__':
    main(script)
