"""Small trainings of every kind, for one process or for the ranks of an MPI job.

``mpiexec -n 2 python parallel_case.py KIND FOLDER [UPDATE RANK]`` dies at an update, on a rank.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from chainer_wm import devices
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.links.state_model import StateModel
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.rollouts.latents import Latents, LatentWriter
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.rollouts.states import RecordedStates
from chainer_wm.training import data_parallel, loop, mdn_rnn, state_model, vae
from chainer_wm.training.data_parallel import ALONE

DNC = dict(core='dnc', memory_length=4, memory_width=3, read_heads=1)
LENGTHS = (7, 12, 5, 9, 6)
FRAMES = (5, 3, 4, 5)  # 17: at 4 a batch the last one of an epoch has a single frame


def make_caches(folder):
    """What all kinds train on."""
    rng = np.random.default_rng(0)
    frames, states = RolloutStore(folder / 'frames'), RolloutStore(folder / 'states')
    for number, length in enumerate(FRAMES):
        seen = rng.integers(256, size=(length, 64, 64, 3), dtype=np.uint8)
        frames.add(number, _episode(seen, rng.normal(size=(length, 1))))
    with LatentWriter(folder / 'codes', 3, 2) as writer:
        for number, length in enumerate(LENGTHS):
            mu, ln_var = rng.normal(size=(2, length, 3))
            writer.add(number, mu, ln_var - 2, rng.normal(size=(length, 2)), number % 2 == 0)
            seen = rng.integers(4, size=(length, 3), dtype=np.uint8)
            states.add(number, _episode(seen, np.eye(2)[rng.integers(2, size=length)]))
        writer.finish()


def _episode(observations, actions):
    length = len(actions)
    ends = np.zeros((2, length), bool)
    ends[0, -1] = True
    rewards = np.zeros(length, np.float32)
    return Rollout(observations, actions.astype(np.float32), rewards, *ends)


def vision(folder, caches, ranks, tick):
    vae.train(
        folder,
        RolloutStore(caches / 'frames'),
        ConvVAE(3, seed=1),
        episodes=range(len(FRAMES)),
        epochs=1.4,
        batch_size=4,
        learning_rate=1e-3,
        seed=3,
        memory_mb=0.6,  # two groups
        tick=tick,
        ranks=ranks,
    )


def memory(folder, caches, ranks, tick, **core):
    latents = Latents(caches / 'codes')
    rewards = np.sin(np.arange(len(latents.mu)))
    rewards[::3] = np.nan
    windows = (
        LatentSequences(latents, 3, 4, 0, episodes, np.float64, rewards)
        for episodes in ((0, 1, 2, 3), (4,))
    )
    mdn_rnn.train(
        folder,
        MDNRNN(3, 2, 5, 2, predict_done=True, predict_reward=True, seed=2, **core),
        *windows,
        epochs=3.0,
        last_learning_rate=1e-4,
        seed=3,
        measure_every=4,
        done_weight=10.0,
        dropout=0.0 if core else 0.3,
        tick=tick,
        ranks=ranks,
    )


def state(folder, caches, ranks, tick, head='categorical'):
    store = RolloutStore(caches / 'states')
    states = RecordedStates(store, store.episodes)
    windows = (
        LatentSequences(states, 3, 4, 0, episodes, np.float64) for episodes in ((0, 1, 2, 3), (4,))
    )
    model = StateModel(3, 4, 2, 6, head=head, core='lstm', seed=0)
    state_model.train(
        folder, model, *windows, epochs=3.0, learning_rate=1e-3, seed=3, tick=tick, ranks=ranks
    )


KINDS = {
    'vision': vision,
    'lstm': memory,
    'dnc': lambda *args: memory(*args, **DNC),
    'categorical': state,
    'mixture': lambda *args: state(*args, head='mixture'),
}


def die_at(update):
    """Every update is saved; before one of them an error is raised."""
    loop.Every.__call__ = lambda self, trainer: True
    step = loop.NumberedUpdater.step

    def fail(self):
        if self.iteration == update:
            raise KeyError('the lost key')
        step(self)

    loop.NumberedUpdater.step = fail


def run(kind, folder, ranks=ALONE):
    """One training; the other ranks follow."""
    folder = pathlib.Path(folder)
    devices.use(dtype='float64')
    if ranks.leads:
        KINDS[kind](folder / kind, folder, ranks, lambda: None)
        ranks.dismiss()
    else:
        ranks.follow()


if __name__ == '__main__':
    devices.use(dtype='float64')
    ranks = data_parallel.join('naive')
    for at, who in [sys.argv[3:5]] if sys.argv[3:] else ():
        if ranks.rank == int(who):
            die_at(int(at))
        else:
            die_at(-1)
    run(sys.argv[1], sys.argv[2], ranks)
