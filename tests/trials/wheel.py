"""Runs the library from where it is installed: python -I tests/trials/wheel.py."""

import dnc.runtime  # noqa: F401

import pathlib
import sys
import tempfile

import chainer
import numpy as np

import chainer_wm
from dnc import DNC

FILES = {'dnc': ('cuda/*.cu', 7), 'chainer_wm': ('inspector/static/*', 10)}


def check_files() -> None:
    """CUDA sources and the inspector's page lie beside the modules."""
    for package, (pattern, least) in FILES.items():
        folder = pathlib.Path(sys.modules[package].__file__).parent
        if 'site-packages' not in folder.parts:
            raise SystemExit(f'{package} comes from {folder}, not from a wheel')
        found = list(folder.glob(pattern))
        if len(found) < least:
            raise SystemExit(f'{folder} holds {len(found)} files {pattern}, not {least}')
        print(f'{package}: {folder}, {len(found)} files {pattern}')


def check_library() -> None:
    """A DNC, V and a search do something, and are saved and found."""
    memory = DNC(8, 6, memory_length=8, memory_width=4, read_heads=2, hidden_size=16)
    ys, _ = memory.sequence(np.zeros((5, 2, 8), np.float32), memory.initial_state(2))
    vision = chainer_wm.ConvVAE(4)
    with chainer.no_backprop_mode():
        z = vision.encode(np.zeros((2, 3, 64, 64), np.float32)).mu
    search = chainer_wm.CMAES(np.zeros(3), 0.5, 8, seed=0)
    candidates = search.ask()
    search.tell(candidates, -(candidates**2).sum(axis=1))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, 'search.npz')
        search.save(path)
        again = chainer_wm.CMAES.load(path)
    if not (np.array_equal(again.mean, search.mean) and np.isfinite(ys.array).all()):
        raise SystemExit('the library computes something else')
    print(f'DNC {ys.shape}, V {z.shape}, CMA-ES generation {again.generation}: they run')


if __name__ == '__main__':
    check_files()
    check_library()
