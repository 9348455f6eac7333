"""Linear probes: what of the state of a world can be read off a network with one linear map.

A probe is fitted by Adam in one pass over batches of 256, as in the published study of a DNC's
memory on sprites, or in closed form (ridge regression), which has nothing to tune: its penalty is
the one with the least error on rollouts that are left out. Features are standardised one by one,
with the mean and deviation of the samples that the probe is fitted on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

METHODS = ('adam', 'ridge')
#: Of ridge regression, of the mean squared error of standardised features.
PENALTIES = tuple(10.0**power for power in range(-6, 3))
_BETAS = (0.9, 0.999)  # of Adam
_ROUNDING = 1e-12  # squared singular values below this share of the largest are none


class LinearProbe(NamedTuple):
    """outputs = (features - mean) / scale W + b."""

    mean: np.ndarray  # (D,)
    scale: np.ndarray  # (D,), 1 where a feature is constant
    W: np.ndarray  # (D, K)
    b: np.ndarray  # (K,)

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """(n, D) -> (n, K) float64: values, or the logits of classes."""
        return standardised(features, self.mean, self.scale) @ self.W + self.b


def standardised(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(features - mean) / scale in float64."""
    return (np.asarray(features, np.float64) - mean) / scale


def scaling(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) and deviation of features (n, D), 1 where that is 0 but for rounding."""
    mean = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    return mean, np.where(scale > 1e-7 * np.abs(mean) + 1e-12, scale, 1.0)


def fit_ridge(
    features: np.ndarray,
    targets: np.ndarray,
    penalties: tuple[float, ...] = PENALTIES,
    groups: np.ndarray | None = None,
) -> LinearProbe:
    """The W that minimises |Y - X W|^2 / n + penalty |W|^2, for each target with its own penalty.

    The penalty is the one with the least error of samples that are left out, (1 - H_gg)^-1 e_g for
    a group g of samples that are left out together, H = X (X'X + n penalty)^-1 X' + 1/n.

    Args:
        features: (n, D). The cost is that of min(n, D)^3.
        targets: (n, K) values; for classes, ones in their columns. Of classes that lie in a line
            those in the middle are then seldom the largest output, which a softmax mends.
        groups: (n,) of samples that resemble each other, as the steps of one rollout do; None:
            each is a group of its own.
    """
    mean, scale = scaling(features)
    x, b = standardised(features, mean, scale), targets.mean(axis=0, dtype=np.float64)
    y = targets - b
    u, s, v = _thin_svd(x)
    uy = u.T @ y  # (rank, K)
    best = np.full(y.shape[1], np.inf)
    W = np.zeros((x.shape[1], y.shape[1]))
    for penalty in penalties:
        shrink = s**2 / (s**2 + len(x) * penalty)  # (rank,)
        left_out = _left_out(y - u @ (shrink[:, None] * uy), u, shrink, groups)
        error = (left_out**2).mean(axis=0)
        better = error < best
        W[:, better] = v @ ((shrink / s)[:, None] * uy[:, better])
        best = np.minimum(best, error)
    return LinearProbe(mean, scale, W, b)


def _left_out(
    errors: np.ndarray, u: np.ndarray, shrink: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
    """The errors (n, K) that samples have while their group is left out of the fit."""
    n = len(u)
    if groups is None:
        leverage = u**2 @ shrink + 1 / n  # H_ii
        return errors / np.maximum(1 - leverage, 1e-9)[:, None]
    found = np.empty_like(errors)
    for group in np.unique(groups):
        here = groups == group
        rest = np.eye(here.sum()) - (u[here] * shrink) @ u[here].T - 1 / n  # 1 - H_gg
        found[here] = np.linalg.solve(rest + 1e-9 * np.eye(len(rest)), errors[here])
    return found


def _thin_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u (n, r), s (r,) and v (D, r) of x (n, D), by the smaller one of its Gram matrices."""
    wide = x.shape[1] > x.shape[0]
    squares, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = squares > max(_ROUNDING * squares[-1], 1e-300)
    s, vectors = np.sqrt(squares[kept]), vectors[:, kept]
    other = (x.T if wide else x) @ vectors / s
    return (vectors, s, other) if wide else (other, s, vectors)


def fit_adam(
    features: np.ndarray,
    targets: np.ndarray,
    rng: np.random.Generator,
    kind: str = 'squares',
    *,
    batch: int = 256,
    epochs: int = 1,
    learning_rate: float = 1e-3,
) -> LinearProbe:
    """Adam on shuffled batches, from W = 0 and the best constant b.

    Args:
        features: (n, D).
        targets: (n, K) values, or ones in the columns of classes.
        kind: 'squares', the squared error of values, or 'softmax', the cross-entropy of classes.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ('squares', 'softmax'):
        raise ValueError(f"kind is {kind!r}, but must be 'squares' or 'softmax'")
    mean, scale = scaling(features)
    constant = targets.mean(axis=0, dtype=np.float64)
    b = np.log(np.maximum(constant, 1e-9)) if kind == 'softmax' else constant
    # W and b as one matrix: the last row is b
    theta = np.concatenate([np.zeros((features.shape[1], targets.shape[1])), b[None]])
    first, second, updates = np.zeros_like(theta), np.zeros_like(theta), 0
    for _ in range(epochs):
        order = rng.permutation(len(features))
        for rows in np.split(order, range(batch, len(order), batch)):
            x = standardised(features[rows], mean, scale)
            outputs = x @ theta[:-1] + theta[-1]
            if kind == 'softmax':
                slope = np.exp(_log_softmax(outputs)) - targets[rows]
            else:
                slope = 2 * (outputs - targets[rows])
            gradient = np.concatenate([x.T @ slope, slope.sum(axis=0)[None]]) / len(rows)
            updates += 1
            first += (1 - _BETAS[0]) * (gradient - first)
            second += (1 - _BETAS[1]) * (gradient**2 - second)
            rate = learning_rate * np.sqrt(1 - _BETAS[1] ** updates) / (1 - _BETAS[0] ** updates)
            theta -= rate * first / (np.sqrt(second) + 1e-8)
    return LinearProbe(mean, scale, theta[:-1], theta[-1])


@dataclasses.dataclass(frozen=True)
class Samples:
    """Features of n moments, and what is to be read off them.

    Attributes:
        features: (n, D).
        values: name -> (n,) numbers, scored by R2 and the mean squared error.
        labels: name -> (n,) classes 0, 1, ..., scored by the share that is wrong.
        groups: (n,) of samples that resemble each other, see ``fit_ridge``; None is none.
    """

    features: np.ndarray
    values: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    groups: np.ndarray | None = None


def probe(
    train: Samples,
    held_out: Mapping[str, Samples],
    method: str,
    rng: np.random.Generator,
    **options: Any,
) -> dict[str, dict[str, dict[str, float]]]:
    """Fit a probe on ``train``, and score it there and on what was held out.

    What it says of a value is held in the range that the value has in ``train``: a memory that
    once leaves the range of its numbers would else outweigh all other samples.

    Args:
        held_out: name -> samples of the same features.
        method: one of METHODS.
        rng: of Adam's batches.
        options: of ``fit_adam``.

    Returns:
        'train' or the name of a held-out set -> target -> 'mse' and 'r2' of a value; 'error' and
        'cross_entropy' (nats; only where fitted to it, by Adam) of a label.

    Raises:
        ValueError: an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f'method is {method!r}, but must be one of {METHODS}')
    every = {'train': train, **held_out}
    parts = [
        _Part('softmax', [name], np.eye(_classes(name, *every.values()))[labels])
        for name, labels in train.labels.items()
    ]
    if train.values:
        targets = np.stack(list(train.values.values()), axis=1)
        parts.insert(0, _Part('squares', list(train.values), targets))
    if method == 'ridge':  # the same factorisation serves all
        targets = np.concatenate([part.targets for part in parts], axis=1)
        fitted = fit_ridge(train.features, targets, groups=train.groups)
    found: dict[str, dict] = {name: {} for name in every}
    first = 0
    for kind, names, targets in parts:
        last = first + targets.shape[1]
        if method == 'ridge':
            own = fitted._replace(W=fitted.W[:, first:last], b=fitted.b[first:last])
        else:
            own = fit_adam(train.features, targets, rng, kind, **options)
        first = last
        for name, samples in every.items():
            outputs = own.outputs(samples.features)
            if kind == 'squares':
                outputs = outputs.clip(targets.min(axis=0), targets.max(axis=0))
            found[name] |= _scores(outputs, samples, kind, names, method)
    return found


class _Part(NamedTuple):
    """What is fitted at once: values, or the classes of one label."""

    kind: str
    names: list[str]
    targets: np.ndarray  # (n, K)


def _classes(name: str, *sets: Samples) -> int:
    """How many classes a label has in any of the sets."""
    return 1 + max(int(each.labels[name].max()) for each in sets)


def _scores(
    outputs: np.ndarray, samples: Samples, kind: str, names: list[str], method: str
) -> dict[str, dict[str, float]]:
    if kind == 'softmax':
        return {
            name: score_labels(outputs, samples.labels[name], method == 'adam') for name in names
        }
    return {name: score_values(y, samples.values[name]) for name, y in zip(names, outputs.T)}


def score_values(outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """'mse', and 'r2' = 1 - mse / variance of the targets; NaN where they are constant."""
    mse = float(np.mean((outputs - targets) ** 2))
    variance = float(np.var(targets))
    return {'mse': mse, 'r2': 1 - mse / variance if variance else float('nan')}


def score_labels(logits: np.ndarray, labels: np.ndarray, normal: bool) -> dict[str, float]:
    """'error', the share that is wrong; 'cross_entropy' if the logits are those of a softmax."""
    found = {'error': float(np.mean(logits.argmax(axis=1) != labels))}
    if normal:
        likelihood = _log_softmax(logits)[np.arange(len(labels)), labels]
        found['cross_entropy'] = -float(np.mean(likelihood))
    return found


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """(n, K) -> (n, K)."""
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def constant(train: Samples, scored: Samples) -> dict[str, dict[str, float]]:
    """The scores of a probe that sees nothing: the mean, and the most frequent class."""
    n = len(scored.features)
    found = {
        name: score_values(np.full(n, values.mean()), scored.values[name])
        for name, values in train.values.items()
    }
    for name, labels in train.labels.items():
        shares = np.bincount(labels, minlength=_classes(name, scored)) / len(labels)
        logits = np.tile(np.log(np.maximum(shares, 1e-9)), (n, 1))
        found[name] = score_labels(logits, scored.labels[name], True)
    return found
