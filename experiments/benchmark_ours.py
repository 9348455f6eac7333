"""Our side of the benchmark: name -> function that makes one timed iteration.

Sizes are the arguments of the makers; ``experiments/benchmark_peers.py`` has
the same workloads in the peers' libraries.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import time
from collections.abc import Callable

import chainer.functions as F
import numpy as np

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.dream.simulator import Dream
from chainer_wm.functions.adam import Adam
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.links.recurrent import LSTM
from dnc import DNC

Iteration = Callable[[], object]


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def dnc_train(length: int, width: int, sparsity: int | None) -> Iteration:
    """Forward and backward: R 4, H 256, B 16, T 32, inputs of width 16."""
    memory = DNC(16, 16, length, width, 4, 256, sparsity)
    xs = _normal(32, 16, 16)

    def iteration():
        ys, _ = memory.sequence(xs, memory.initial_state(16))
        memory.cleargrads()
        F.mean(ys**2).backward()

    return iteration


def lstm_train(steps: int, batch: int, inputs: int, hidden: int) -> Iteration:
    """Forward and backward of a whole sequence."""
    lstm = LSTM(inputs, hidden)
    xs, gradient = _normal(steps, batch, inputs), _normal(steps, batch, hidden)

    def iteration():
        ys, _ = lstm.sequence(xs, lstm.initial_state(batch))
        lstm.cleargrads()
        ys.grad = gradient
        ys.backward()

    return iteration


def vae_train(batch: int, latents: int) -> Iteration:
    """A training step, Adam included."""
    vae = ConvVAE(latents)
    optimizer = Adam(alpha=1e-4).setup(vae)
    rng = np.random.default_rng(0)
    frames = rng.random((batch, 3, 64, 64), np.float32)

    def iteration():
        loss = vae.loss(frames, rng=rng)
        vae.cleargrads()
        loss.backward()
        optimizer.update()

    return iteration


def mdnrnn_train(steps: int, batch: int) -> Iteration:
    """A training step at Doom's size, clipping and Adam included."""
    model = MDNRNN(64, 1, 512, predict_done=True)
    optimizer = Adam(alpha=1e-3, gradient_clip=1.0).setup(model)
    z, target = _normal(steps, batch, 64), _normal(steps, batch, 64)
    actions = _normal(steps, batch, 1)
    rng = np.random.default_rng(0)
    done = (rng.random((steps, batch)) < 0.01).astype(np.int32)
    mask = np.ones((steps, batch), np.float32)

    def iteration():
        state = model.initial_state(batch)
        loss, _ = model.loss(z, actions, target, mask, done, state)
        model.cleargrads()
        loss.backward()
        optimizer.update()

    return iteration


def dream_steps(batch: int, steps: int) -> Iteration:
    """Steps of the dream: M with an LSTM of 512, 64 latents x 5 mixtures."""
    model = MDNRNN(64, 1, 512, predict_done=True)
    model.head.b.array[-1] = -50  # nobody dies
    starts = np.zeros((10, 64)), np.zeros((10, 64))
    dream = Dream(model, starts, max_steps=10**9)
    dream.reset(16, np.random.default_rng(0), repeats=batch // 16)
    actions = _normal(batch, 1)

    def iteration():
        for _ in range(steps):
            dream.step(actions)

    return iteration


def cma_generations(size: int, population: int, count: int) -> Iteration:
    """Generations of a full-covariance search, refreshes amortised."""
    search = CMAES(np.zeros(size), 0.1, population)

    def iteration():
        for _ in range(count):
            candidates = search.ask()
            search.tell(candidates, -(candidates**2).sum(axis=1))

    return iteration


def gemm_rate(size: int = 3000) -> float:
    """FLOP/s of NumPy's float32 matrix product here, the best of five."""
    a, b = _normal(size, size), _normal(size, size)
    best = min(_seconds(time.perf_counter, lambda: np.dot(a, b)) for _ in range(5))
    return 2 * size**3 / best


def _seconds(clock: Callable[[], float], work: Iteration) -> float:
    start = clock()
    work()
    return clock() - start
