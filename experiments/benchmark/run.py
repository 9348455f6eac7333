"""Every engine beside its peer: alternating, in one run, on the same threads.

``make peers`` makes the peers' environment (PyTorch, the package ``dnc``, pycma); without it, only
our own times are measured, and the table says so. The same workloads in the peers' libraries are
in ``peers.py``.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import argparse
import os
import pathlib
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

import chainer.functions as F
import numpy as np

from chainer_wm import files
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.dream.simulator import Dream
from chainer_wm.functions.adam import Adam
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.links.recurrent import LSTM
from chainer_wm.runs import run_folder
from dnc import DNC

ROOT = pathlib.Path(__file__).resolve().parents[2]
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
    dream = Dream(model, starts, 1.15, max_steps=10**9)
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
    best = min(seconds_of(lambda: np.dot(a, b)) for _ in range(5))
    return 2 * size**3 / best


def seconds_of(work: Iteration) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


MAKERS: dict[str, Callable[..., Iteration]] = {
    maker.__name__: maker
    for maker in (dnc_train, lstm_train, vae_train, mdnrnn_train, dream_steps, cma_generations)
}


class Workload(NamedTuple):
    """One row of the table."""

    name: str
    maker: str  # here, and in peers.py
    arguments: tuple  # of ours
    peer: str
    peer_arguments: tuple
    least: float  # ratio to the peer that is asked for
    aim: float
    flop: float = 0.0  # of the matrix products of one iteration of ours
    work: float = 1.0  # of an iteration of ours over one of the peer's
    peer_threads: int = 0  # 0: as many as ours


def _dnc_flop(length: int, width: int) -> float:
    reads, hidden, lanes = 4, 256, 16 * 32
    interface = width * reads + 3 * width + 5 * reads + 3
    chi = 16 + reads * width
    access = length * (width * (2 + 3 * reads) + 2 * reads * length)
    products = (chi + hidden) * 4 * hidden + hidden * interface
    products += (hidden + reads * width) * 16 + access
    return 3 * 2 * lanes * products


def _lstm_flop(steps, batch, inputs, hidden) -> float:
    return 3 * 2 * steps * batch * (inputs + hidden) * 4 * hidden


_ENCODER = 961 * 32 * 48 + 196 * 64 * 512 + 36 * 128 * 1024 + 4 * 256 * 2048
_DECODER = 1024 * 128 * 25 + 25 * 128 * 64 * 25 + 169 * 64 * 32 * 36
_VAE = _ENCODER + _DECODER + 900 * 32 * 3 * 36 + 3 * 32 * 1024
_STEP = 578 * 2048 + 512 * 961
CORES = len(os.sched_getaffinity(0))

WORKLOADS = (
    *(
        Workload(
            f'DNC train N{n} W{w}{" sparse" if k else ""}',
            'dnc_train',
            (n, w, k),
            'package dnc',
            (n, w),
            least,
            aim,
            _dnc_flop(n, w),
        )
        for n, w, k, least, aim in (
            (256, 64, None, 6, 12),
            (256, 64, 8, 12, 25),
            (16, 16, None, 10, 20),
        )
    ),
    *(
        Workload(
            f'LSTM train T{size[0]} B{size[1]} D{size[2]} H{size[3]}',
            'lstm_train',
            size,
            'torch.nn.LSTM',
            size,
            least,
            aim,
            _lstm_flop(*size),
        )
        for size, least, aim in (((500, 100, 67, 512), 0.9, 1.2), ((500, 16, 35, 256), 0.6, 1.0))
    ),
    Workload(
        'ConvVAE train B100 Z32',
        *('vae_train', (100, 32), 'PyTorch', (100, 32), 0.8, 1.2),
        3 * 2 * 100 * _VAE,
    ),
    Workload(
        'MDN-RNN train Doom T500 B100',
        *('mdnrnn_train', (500, 100), 'PyTorch', (500, 100), 0.9, 1.3),
        _lstm_flop(500, 100, 66, 512) + 3 * 2 * 50_000 * 512 * 961,
    ),
    Workload(
        'dream step B1024',
        *('dream_steps', (1024, 10), 'PyTorch, batched', (1024, 10), 1.2, 2),
        2 * 10 * 1024 * _STEP,
    ),
    Workload(
        'dream step B1024 ',
        *('dream_steps', (1024, 10), 'PyTorch env per core', (1, 200), 6, 12),
        *(2 * 10 * 1024 * _STEP, 1024 * 10 / (200 * CORES), 1),
    ),
    Workload(
        'CMA-ES 100 generations n1088',
        *('cma_generations', (1088, 64, 100), 'pycma'),
        *((1088, 64, 100), 1, 2),
    ),
)


class Peer:
    """A workload in the peers' interpreter."""

    def __init__(self, python: pathlib.Path, workload: Workload):
        threads = workload.peer_threads or CORES
        script = pathlib.Path(__file__).with_name('peers.py')
        arguments = (workload.maker, threads, *workload.peer_arguments)
        self._process = subprocess.Popen(
            [str(python), str(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=script.parent,
        )
        while (line := self._answer()) != 'ready':
            print(f'  {workload.peer}: {line}')

    def seconds(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write('go\n')
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                'a peer ended early; its error is above: does "make peers" '
                'still install what it needs?'
            )
        return line.strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def measure(workload: Workload, python: pathlib.Path | None, repeats: int):
    """Times of both sides, in turn: a dict for the table and the JSON."""
    iteration = MAKERS[workload.maker](*workload.arguments)
    iteration()
    peer = Peer(python, workload) if python else None
    mine, theirs = [], []
    for _ in range(repeats):
        mine.append(seconds_of(iteration))
        if peer:
            theirs.append(peer.seconds() * workload.work)
    if peer:
        peer.close()
    ratios = [b / a for a, b in zip(mine, theirs)]
    return {
        'workload': workload.name.strip(),
        'peer': workload.peer,
        'seconds': mine,
        'peer_seconds': theirs,
        'ratio': statistics.median(ratios) if ratios else None,
        'ratio_spread': [min(ratios), max(ratios)] if ratios else None,
        'least': workload.least,
        'aim': workload.aim,
        'flop': workload.flop,
    }


def row_text(row: dict, rate: float) -> str:
    """A line of the table."""
    middle = statistics.median(row['seconds'])
    floor = f'{row["flop"] / rate / middle:.0%}' if row['flop'] else '-'
    line = f'{row["workload"]:<32}{row["peer"]:<22}{1000 * middle:>9.1f}'
    if row['ratio'] is None:
        return f'{line}{"-":>9}{"-":>16}{row["least"]:>7}{floor:>7}'
    low, high = row['ratio_spread']
    theirs = 1000 * statistics.median(row['peer_seconds'])
    ratio = f'{row["ratio"]:.2f} ({low:.1f}-{high:.1f})'
    return f'{line}{theirs:>9.1f}{ratio:>18}{row["least"]:>7}{floor:>7}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', type=pathlib.Path, help='write results here')
    parser.add_argument('--only', nargs='+', default=[''], metavar='TEXT')
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--peers', default='.venv-peers', metavar='VENV')
    options = parser.parse_args()
    python: pathlib.Path | None = ROOT / options.peers / 'bin/python'
    if not python.exists():  # type: ignore[union-attr]
        print(f'no peers in {options.peers}: "make peers" installs them')
        python = None
    rate = gemm_rate()
    print(f'{CORES} cores, matrix product {rate / 1e9:.0f} GFLOP/s, medians')
    print(
        f'{"workload":<32}{"peer":<22}{"ours ms":>9}{"peer ms":>9}'
        f'{"ratio":>18}{"least":>7}{"floor":>7}'
    )
    rows = []
    for workload in WORKLOADS:
        if any(text in workload.name for text in options.only):
            rows.append(measure(workload, python, options.repeats))
            print(row_text(rows[-1], rate), flush=True)
    if options.json:
        files.write_json(
            options.json,
            {'gemm': rate, 'versions': run_folder.versions(), 'rows': rows},
            seal=False,
        )


if __name__ == '__main__':
    main()
