"""A mixture density network beside least squares, on a curve that folds back.

y is uniform in [0, 1] and x = sin(2 pi y) + 0.2 u (cos(2 pi y) + 2) with u uniform in [0, 1]; both
nets predict y from x, of which there can be three. The net trained by least squares answers with
their average, where no data are; the mixture (Bishop 1994) keeps them apart.

The hidden layer has a tanh: without it every parameter of the mixture is linear in x.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

# isort: split
import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import tqdm
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb

from chainer_wm import devices
from chainer_wm.functions.mixture import LN_2PI, Mixture, mixture_nll, sample_mixture
from chainer_wm.plots import style
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import DeviceConfig, main, opt, parse, run_stages
from chainer_wm.seeds import stream

NAME = 'mdn_toy'
PRESETS = {'smoke': {'epochs': 300}, 'laptop': {}}


@dataclasses.dataclass(frozen=True)
class Config(DeviceConfig):
    """Mixture density network against least squares on a folded curve."""

    points: int = opt(500, 'training points, and as many held out')
    hidden: int = opt(256, 'tanh units of both nets')
    components: int = opt(5, 'Gaussians K of the mixture')
    epochs: int = opt(2000, 'passes over the points')
    batch: int = opt(100, 'points per update')
    learning_rate: float = opt(1e-3, 'of Adam')


class Net(chainer.Chain):
    """x (B, 1) -> tanh hidden layer -> (B, outputs)."""

    def __init__(self, hidden: int, outputs: int, seed: int):
        super().__init__()
        initial = chainer.initializers.LeCunNormal(rng=np.random.RandomState(seed))
        with self.init_scope():
            self.hidden = L.Linear(1, hidden, initialW=initial)
            self.head = L.Linear(hidden, outputs, initialW=initial)

    def forward(self, x):
        return self.head(F.tanh(self.hidden(x)))


def mixture_of(net: Net, x) -> Mixture:
    """The net's mixture of y given x (B, 1): every field (B, K, 1)."""
    outputs = net(x)
    parts = F.split_axis(outputs, 3, axis=1)
    return Mixture(*(F.expand_dims(part, -1) for part in parts))


def mixture_loss(net: Net, x, y):
    """Negative log-likelihood of y (B, 1) in nats, (B, 1)."""
    return mixture_nll(y, mixture_of(net, x))


def squared_error(net: Net, x, y):
    """(B, 1)."""
    return (net(x) - y) ** 2


def points(rng: np.random.Generator, count: int, dtype: str):
    """x and y, each (count, 1)."""
    y = rng.random((count, 1))
    spread = np.cos(2 * np.pi * y) + 2
    x = np.sin(2 * np.pi * y) + 0.2 * rng.random((count, 1)) * spread
    return x.astype(dtype), y.astype(dtype)


def train(config: Config, net: Net, loss: Callable, data, held_out, rng):
    """Train by Adam on the loss summed over a batch.

    Returns:
        (3, n): epoch, mean loss on the data and on held-out points.
    """
    optimizer = chainer.optimizers.Adam(config.learning_rate).setup(net)
    every = max(1, config.epochs // 100)
    curve = []
    for epoch in tqdm.trange(
        config.epochs + 1, desc=loss.__name__.replace('_', ' '), unit='epoch'
    ):
        if epoch % every == 0:
            with chainer.no_backprop_mode():
                scores = [float(F.mean(loss(net, *part)).array) for part in (data, held_out)]
            curve.append([epoch, *scores])
        if epoch == config.epochs:
            break
        order = net.device.send(rng.permutation(len(data[0])))
        for start in range(0, len(order), config.batch):
            x, y = (part[order[start : start + config.batch]] for part in data)
            total = F.sum(loss(net, x, y))
            net.cleargrads()
            total.backward()
            optimizer.update()
    return np.array(curve).T


def scores(mixture: Net, squares: Net, held_out) -> dict[str, float]:
    """How well each net knows the held-out points.

    The least-squares net becomes a density as the Gaussian whose deviation is its own held-out
    error, which flatters it.
    """
    with chainer.no_backprop_mode():
        nll = float(F.mean(mixture_loss(mixture, *held_out)).array)
        mse = float(F.mean(squared_error(squares, *held_out)).array)
    return {
        'mixture_nll': nll,
        'least_squares_nll': 0.5 * (LN_2PI + np.log(mse) + 1),
        'least_squares_rmse': mse**0.5,
    }


def picture(path, data, samples, line, mixture, curves) -> None:
    """Least squares, mixture samples, components, and both trainings.

    Args:
        data, samples: x and y, each (n, 1).
        line: x (m,), and the least-squares net's y (m,).
        mixture: x (m,), and pi, mu, sigma, each (m, K).
        curves: mixture's and least squares' (3, n), from ``train``.
    """
    chart = style.figure(10.2, 7.4)
    panels = chart.subplots(2, 2)
    for axes in panels.flat[:3]:
        style.dress(axes, 'x', 'y', grid='')
        axes.set(xlim=(-1.15, 1.75), ylim=(-0.15, 1.15))
        axes.plot(*data, '.', color='#aaaaaa', markersize=4, label='data')
    panels[0, 0].plot(*line, color=style.VERMILLION, linewidth=2.2, label='least squares')
    panels[0, 1].plot(
        *samples, '.', color=style.BLUE, markersize=4, label='sampled from the mixture'
    )
    components(panels[1, 0], *mixture)
    training(panels[1, 1], *curves)
    titles = (
        'Least squares answers with the average',
        'The mixture keeps the answers apart',
        'Its components: mean ± σ, stronger where π is larger',
        'Training',
    )
    corners = ('upper right', 'lower left', 'lower left', 'upper right')
    for axes, title, corner in zip(panels.flat, titles, corners):
        axes.set_title(title, fontsize=style.TITLE, loc='left')
        style.legend(axes, loc=corner, markerscale=2)
    style.save(path, chart)


def components(axes: Axes, x, weights, mu, sigma) -> None:
    """Each component's mean and deviation, as visible as its weight."""
    colours = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
    for k in range(mu.shape[1]):
        rgb = to_rgb(colours[k % len(colours)])
        weight = weights[:-1, k]
        low, middle, high = (
            np.stack([x, edge[:, k]], axis=1) for edge in (mu - sigma, mu, mu + sigma)
        )
        bands = np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1)
        lines = np.stack([middle[:-1], middle[1:]], axis=1)
        axes.add_collection(
            PolyCollection(bands, facecolors=[(*rgb, 0.45 * w) for w in weight], linewidths=0)
        )
        axes.add_collection(
            LineCollection(
                lines, colors=[(*rgb, w**0.5) for w in weight], linewidths=0.5 + 2.5 * weight
            )
        )


def training(axes: Axes, mixture: np.ndarray, squares: np.ndarray) -> None:
    """Nats of the mixture, and least squares as a Gaussian's nats."""
    style.dress(axes, 'epoch', 'nats per point', grid='y')
    as_nats = squares.copy()
    as_nats[1:] = 0.5 * (LN_2PI + np.log(squares[1:]) + 1)
    for (epochs, seen, unseen), colour, name in (
        (mixture, style.BLUE, 'mixture'),
        (as_nats, style.VERMILLION, 'least squares, as a Gaussian'),
    ):
        axes.plot(epochs, seen, color=colour, linewidth=1.8, label=name)
        axes.plot(
            epochs,
            unseen,
            color=colour,
            linewidth=1.4,
            linestyle=(0, (3, 2)),
            label='the same, held out',
        )


def learn(config: Config, run: run_folder.Run) -> None:
    """Train both nets; what they say of points that they never saw."""
    device = devices.get_device(config.device)
    sets = [
        points(stream(config.seed, name), config.points, config.dtype)
        for name in ('train', 'held-out')
    ]
    data, held_out = (tuple(map(device.send, part)) for part in sets)
    trained, curves = [], []
    for loss, outputs in ((mixture_loss, 3 * config.components), (squared_error, 1)):
        net = Net(config.hidden, outputs, config.seed)
        net.to_device(device)
        rng = stream(config.seed, 'order')
        curves.append(train(config, net, loss, data, held_out, rng))
        trained.append(net)
    show(config, run.path('figures', 'mdn.png'), trained, sets[0], held_out[0], curves)
    found = scores(trained[0], trained[1], held_out)
    print(
        'held out, nats per point: mixture {mixture_nll:.3f}, least squares '
        'as a Gaussian {least_squares_nll:.3f}'.format(**found)
    )
    run.add_results(held_out=found)


def show(config: Config, path: pathlib.Path, nets, data, new_x, curves) -> None:
    """Draw the picture from what the nets say."""
    mixture, squares = nets
    grid = np.linspace(-1, 1.6, 400, dtype=config.dtype)[:, None]
    with chainer.no_backprop_mode():
        on_grid = mixture.device.send(grid)
        fields = mixture_of(mixture, on_grid)
        weights = F.softmax(fields.logits, axis=1)
        parts = [weights, fields.mu, F.exp(fields.ln_sigma), squares(on_grid)]
        *parts, line = (devices.to_cpu(part.array) for part in parts)
        samples = sample_mixture(mixture_of(mixture, new_x), stream(config.seed, 'samples'))
    picture(
        path,
        data,
        (devices.to_cpu(new_x), devices.to_cpu(samples)),
        (grid[:, 0], line[:, 0]),
        (grid[:, 0], *(part[..., 0] for part in parts)),
        curves,
    )


STAGES = {'learn': learn}


def script(argv: Sequence[str] | None = None) -> None:
    run_stages(parse(Config, PRESETS, NAME, argv), NAME, STAGES, ('matplotlib',)).close()


if __name__ == '__main__':
    main(script)
