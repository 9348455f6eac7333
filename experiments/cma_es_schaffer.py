"""CMA-ES climbs a shifted Schaffer function; how often does it arrive?

F(x, y) = -f(x, y)^2 with f = 1/2 + (sin^2((x-10)^2 - (y-10)^2) - 1/2) /
(1 + ((x-10)^2 + (y-10)^2) / 1000)^2, whose only zero is at (10, 10), among ripples that grow finer
with the distance. 64 candidates, a quarter of them parents, start from N(0, I), so about 14 away,
with sigma 0.3; a search has arrived at F >= -1e-10, and may spend 4,000 evaluations.

That setting is the published one. The table also has the first step sizes
that a user might choose: the usual rule is that the optimum should lie within about three sigma of
the start, here 5.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.plots import gif, style, wilson
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import CommonConfig, main, opt, parse, run_stages
from chainer_wm.seeds import stream

NAME = 'cma_es_schaffer'
Box = tuple[float, float, float, float]  # left, right, bottom, top

OPTIMUM = 10.0
VIEW: Box = (-5.0, 15.0, -5.0, 15.0)
FILM = 40  # generations that are shown
PRESETS = {'smoke': {'seeds': 10}, 'laptop': {}}


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """CMA-ES on a shifted Schaffer function, with its film."""

    sigma: float = opt(0.3, 'first step size of the film and the main result')
    sigmas: tuple[float, ...] = opt((0.1, 0.3, 1.0, 2.0, 5.0), 'first step sizes of the table')
    population: int = opt(64, 'candidates per generation', least=4)
    parent_fraction: float = opt(0.25, 'part of them that are parents', above=0, most=1)
    target: float = opt(-1e-10, 'F at which a search has arrived', least=-math.inf)
    evaluations: int = opt(4000, 'budget of one search')
    seeds: int = opt(100, 'searches per step size')


class Generation(NamedTuple):
    """One generation: where it was drawn from, and what was drawn."""

    mean: np.ndarray  # (2,)
    covariance: np.ndarray  # (2, 2), sigma^2 included
    candidates: np.ndarray  # (lambda, 2)
    best: float  # highest F so far


def schaffer(x: np.ndarray) -> np.ndarray:
    """f at points (..., 2), at least 0."""
    a, b = np.moveaxis((x - OPTIMUM) ** 2, -1, 0)
    return 0.5 + (np.sin(a - b) ** 2 - 0.5) / (1 + (a + b) / 1000) ** 2


def fitness(x: np.ndarray) -> np.ndarray:
    """F at points (..., 2); higher is better, 0 is best."""
    return -(schaffer(x) ** 2)


def search(config: Config, sigma: float, seed: int, generations: int = 0) -> list[Generation]:
    """One search until it arrives or its budget is spent.

    Args:
        generations: if given, exactly so many instead, for a film that shows what happens after
            the arrival.
    """
    rng = stream(config.seed, 'schaffer', seed)
    es = CMAES(rng.standard_normal(2), sigma, config.population, config.parent_fraction, seed=rng)
    history: list[Generation] = []
    for _ in range(generations or config.evaluations // config.population):
        mean, covariance = es.mean, es.sigma**2 * es.covariance
        candidates = es.ask()
        es.tell(candidates, fitness(candidates))
        history.append(Generation(mean, covariance, candidates, es.best_fitness))
        if not generations and es.stop_reasons(config.target):
            break
    return history


def arrived(config: Config, history: list[Generation]) -> bool:
    """Whether the search reached the target."""
    return history[-1].best >= config.target


def landscape(limits: Box, pixels: int) -> np.ndarray:
    """f on a grid (pixels, pixels), ripples finer than a pixel averaged out.

    sin^2 u = (1 - cos 2u) / 2, and a mean over a pixel multiplies the cosine by a sinc of the
    ripples' local frequency; squared, that is a tent filter.
    """
    left, right, bottom, top = limits
    steps = (np.arange(pixels) + 0.5) / pixels
    a = left + steps * (right - left) - OPTIMUM
    b = (bottom + steps * (top - bottom) - OPTIMUM)[:, None]
    width, height = (right - left) / pixels, (top - bottom) / pixels
    kept = np.sinc(2 * a * width / np.pi) * np.sinc(2 * b * height / np.pi)
    ripple = np.cos(2 * (a**2 - b**2)) * kept**2
    return 0.5 - ripple / 2 / (1 + (a**2 + b**2) / 1000) ** 2


def draw(axes: Axes, generation: Generation, limits: Box) -> None:
    """Landscape, candidates, mean and the two-sigma ellipse."""
    axes.imshow(
        landscape(limits, 300), extent=limits, origin='lower', cmap='Greys', vmin=0, vmax=1.6
    )
    axes.add_patch(ellipse(generation))
    for x, mark, colour, size, edge, name in (
        (generation.candidates.T, 'o', style.ORANGE, 4, 0.4, 'candidates'),
        (generation.mean, '+', style.BLUE, 12, 2, 'mean'),
        ((OPTIMUM, OPTIMUM), '*', style.VERMILLION, 14, 1, 'optimum'),
    ):
        rim = colour if mark == '+' else 'white'
        axes.plot(*x, mark, color=colour, ms=size, mec=rim, mew=edge, label=name)
    axes.set(xlim=limits[:2], ylim=limits[2:])
    axes.tick_params(labelsize=style.TICK)
    axes.locator_params(nbins=5)


def ellipse(generation: Generation) -> Ellipse:
    """Two standard deviations around the mean."""
    values, basis = np.linalg.eigh(generation.covariance)
    width, height = 4 * np.sqrt(values)
    return Ellipse(
        tuple(generation.mean),
        width,
        height,
        angle=np.degrees(np.arctan2(basis[1, 0], basis[0, 0])),
        fill=False,
        color=style.BLUE,
        linewidth=2,
        label='2σ of the search',
    )


def film(path, history: list[Generation], title: str) -> None:
    """Every generation, on the whole landscape and from close by."""
    frames = []
    for index, generation in enumerate(history):
        chart = style.figure(8.4, 4.9)
        whole, close = chart.subplots(1, 2)
        draw(whole, generation, VIEW)
        # the camera follows the ellipse
        reach = 3.5 * np.sqrt(np.diag(generation.covariance).max())
        x, y = generation.mean
        draw(close, generation, (x - reach, x + reach, y - reach, y + reach))
        whole.set_title(title, fontsize=style.LABEL, loc='left')
        close.set_title(
            f'generation {index + 1}, best F = {generation.best:.1e}',
            fontsize=style.LABEL,
            loc='left',
        )
        name_marks(chart, whole)
        frames.append(pixels_of(chart))
    gif(path, np.stack(frames + frames[-1:] * 8), fps=6, scale=1)


def name_marks(chart: Figure, axes: Axes) -> None:
    """One legend for all panels, below them."""
    chart.legend(
        *axes.get_legend_handles_labels(),
        loc='outside lower center',
        ncols=4,
        frameon=False,
        fontsize=style.TICK,
    )


def pixels_of(chart: Figure) -> np.ndarray:
    """A drawn figure as (H, W, 3) uint8."""
    chart.set_dpi(80)
    canvas = FigureCanvasAgg(chart)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def still(path, history: list[Generation], rows: list[dict]) -> None:
    """Four generations, and the share of searches that arrive."""
    chart = style.figure(10.2, 5.6)
    panels = chart.subplot_mosaic(
        [['0', '1', 'shares'], ['2', '3', 'shares']], width_ratios=[1, 1, 1.2]
    )
    moments = np.linspace(0, len(history) - 1, 4).round().astype(int)
    for index, moment in enumerate(moments):
        axes = panels[str(index)]
        draw(axes, history[moment], VIEW)
        axes.set_title(f'generation {moment + 1}', fontsize=style.LABEL, loc='left')
    name_marks(chart, panels['0'])
    shares(panels['shares'], rows)
    style.save(path, chart)


def shares(axes: Axes, rows: list[dict]) -> None:
    """Share of arrived searches over the first step size."""
    style.dress(axes, 'first step size σ', 'searches that arrive (%)', grid='y')
    at = np.arange(len(rows))
    share = np.array([row['arrived'] / row['seeds'] for row in rows]) * 100
    ends = np.array([wilson(row['arrived'], row['seeds']) for row in rows])
    axes.bar(at, share, width=0.6, color=style.SKY)
    axes.vlines(at, *(ends.T * 100), color=style.INK, linewidth=1.2)
    for x, row, end in zip(at, rows, ends[:, 1] * 100):
        axes.annotate(f'{row["arrived"]}', (x, end + 2), ha='center', fontsize=style.TICK)
    axes.set_xticks(at, [f'{row["sigma"]:g}' for row in rows])
    axes.set_ylim(0, 112)
    axes.set_title(f'arrived of {rows[0]["seeds"]}', fontsize=style.LABEL, loc='left')


def table(config: Config) -> list[dict]:
    """Per first step size: how many searches arrive, and how soon."""
    rows = []
    for sigma in sorted({config.sigma, *config.sigmas}):
        runs = [search(config, sigma, seed) for seed in range(config.seeds)]
        lengths = [
            len(history) * config.population for history in runs if arrived(config, history)
        ]
        rows.append(
            {
                'sigma': sigma,
                'seeds': config.seeds,
                'arrived': len(lengths),
                'median_evaluations': np.median(lengths) if lengths else None,
            }
        )
        print(
            f'sigma {sigma:<4g} {len(lengths):3d} of {config.seeds} reach '
            f'F >= {config.target:g} within {config.evaluations} evaluations'
            + (f', median {np.median(lengths):.0f}' if lengths else '')
        )
    return rows


def film_seed(config: Config) -> int:
    """The first search that arrives, or else the very first."""
    for seed in range(config.seeds):
        if arrived(config, search(config, config.sigma, seed)):
            return seed
    return 0


def climb(config: Config, run: run_folder.Run) -> None:
    """All searches, and the film of one."""
    rows = table(config)
    shown = film_seed(config)
    history = search(config, config.sigma, shown)
    longer = search(config, config.sigma, shown, FILM)
    still(run.path('figures', 'schaffer.png'), history, rows)
    film(run.path('figures', 'schaffer.gif'), longer, 'CMA-ES, Schaffer function')
    run.add_results(share=next(r for r in rows if r['sigma'] == config.sigma), table=rows)


STAGES = {'climb': climb}


def script(argv: Sequence[str] | None = None) -> None:
    run_stages(parse(Config, PRESETS, NAME, argv), NAME, STAGES, ('matplotlib',)).close()


if __name__ == '__main__':
    main(script)
