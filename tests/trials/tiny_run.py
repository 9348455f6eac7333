"""A run's folder as small as it can be, with every kind of file that a run keeps.

Each kind has a reader: what the library does with the file, and what it got out of it.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import chainer
import numpy as np
from chainer import links as L

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import LinearController, load_controller
from chainer_wm.files.archives import load_link, save_link
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.rollouts.latents import Latents, LatentWriter
from chainer_wm.runs.run_folder import Run
from chainer_wm.training import evolution, loop

CONFIG = {'preset': 'smoke', 'run': 'tiny', 'seed': 0, 'rounds': 1, 'temperature': [1.15]}
EPISODES, STEPS, LATENTS, CODES = 4, 6, 3, 40


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        path: below the run's folder.
        use: reads it as the library does, ``(run's folder, said) -> what it got``; appends to
            ``said`` what it was told beside.
        partial: it may get less than all, if that was said.
    """

    path: str
    use: Callable[[pathlib.Path, list[str]], Any]
    partial: bool = False


def make(folder: pathlib.Path) -> None:
    """Write the whole run."""
    rng = np.random.default_rng(0)
    _collect(RolloutStore(folder / 'rollouts'), rng)
    _encode(folder / 'vision/codes', finish=True)
    _encode(folder / 'unfinished', finish=False)
    save_link(folder / 'vision/vision.npz', ConvVAE(LATENTS))
    for core in ('lstm', 'dnc'):
        sizes = {'memory_length': 4, 'memory_width': 4} if core == 'dnc' else {}
        save_link(folder / core / 'model.npz', MDNRNN(LATENTS, 1, 5, core=core, **sizes))
    LinearController(4, 1).save(folder / 'controller/controller.npz')
    _evolve(folder)
    _fit(folder, updates=8)
    run = Run(folder, CONFIG, stages=('collect', 'evaluate'))
    with run.working_on('collect'):
        run.add_results(experiment='tiny', run='tiny', config=CONFIG, seed=0)
    run.add_results(evaluation={'mean': 1.5})
    run.close()


def _collect(store: RolloutStore, rng: np.random.Generator) -> None:
    _describe(store)
    for episode in range(EPISODES):
        ends = np.arange(STEPS) == STEPS - 1
        frames = rng.integers(0, 9, (STEPS, 64, 64, 3)).astype(np.uint8)
        actions = rng.standard_normal((STEPS, 1)).astype(np.float32)
        rewards = np.ones(STEPS, np.float32)
        store.add(episode, Rollout(frames, actions, rewards, ends, ~ends & False, {'seed': 1}))


def _describe(store: RolloutStore) -> None:
    store.describe('Tiny', {'frame_skip': 4}, 0, {'python': '3'})


def _encode(folder: pathlib.Path, finish: bool) -> None:
    with LatentWriter(folder, LATENTS, 1, {'vision': 'v'}) as writer:
        for episode in range(CODES if finish else CODES // 2):
            writer.add(episode, *_codes(episode), True)
        if finish:
            writer.finish()


def _codes(episode: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mu = np.random.default_rng(episode).standard_normal((4, LATENTS)).astype(np.float32)
    return mu, mu - 2, mu[:, :1]


def _evolve(folder: pathlib.Path) -> evolution.Evolution:
    def fitness(candidates, generation, show):
        return evolution.Scored(-np.square(candidates).sum(axis=1))

    def evaluate(theta, generation):
        return {'mean': float(-theta @ theta), 'std': 0.0, 'episodes': 1}

    search = CMAES(np.ones(4), 0.5, population_size=4, seed=0)
    return evolution.evolve(
        folder / 'controller',
        search,
        fitness,
        generations=4,
        evaluate=evaluate,
        evaluate_every=2,
        choose='game',
    )


def _fit(folder: pathlib.Path, updates: int) -> list[np.ndarray]:
    with chainer.using_config('dtype', np.float32):
        link = L.Linear(3, 2, initialW=np.ones((2, 3), np.float32))
    optimizer = chainer.optimizers.Adam().setup(link)
    xs = np.random.default_rng(1).standard_normal((updates, 4, 3)).astype(np.float32)
    steps = loop.NumberedUpdater(
        optimizer, lambda i, state: (chainer.functions.sum(link(xs[i]) ** 2), None)
    )
    loop.fit(folder / 'model', steps, updates, 'tiny', snapshot_seconds=0.0, log_every=2)
    return [parameter.array for parameter in link.params()]


def _use_store(folder: pathlib.Path, said: list[str]) -> dict[int, Any]:
    store = RolloutStore(folder / 'rollouts')
    _describe(store)
    said += map(str, store.verify(set_aside=False))
    said += [f'{store.path}/{name} is not listed' for name in store.unlisted()]
    wrong = ' '.join(said)
    found = {}
    for episode in store.episodes:
        if f'{episode:06d}.npz' not in wrong:
            rollout = store.read(episode)
            found[episode] = [store.entry(episode)['length'], rollout.observations]
            found[episode] += [rollout.actions, rollout.rewards, rollout.info]
    return found


def _use_codes(folder: pathlib.Path, said: list[str]) -> list:
    found = Latents(folder / 'vision/codes')
    return [found.mu, found.ln_var, found.actions, found.lengths, found.episodes]


def _go_on_encoding(folder: pathlib.Path, said: list[str]) -> list:
    with LatentWriter(folder / 'unfinished', LATENTS, 1, {'vision': 'v'}) as writer:
        for episode in range(CODES):
            if episode not in writer.written:
                writer.add(episode, *_codes(episode), True)
        writer.finish()
    found = Latents(folder / 'unfinished')
    order = [found.rows(episode) for episode in range(CODES)]
    return [found.mu[rows] for rows in order] + [found.actions[rows] for rows in order]


def _weights(path: str, kind: type) -> Callable[[pathlib.Path, list[str]], list[np.ndarray]]:
    def use(folder: pathlib.Path, said: list[str]) -> list:
        link = load_link(folder / path, kind)
        return [link.config, *(p.array for _, p in sorted(link.namedparams()))]

    return use


def _use_run(folder: pathlib.Path, said: list[str]) -> list:
    run = Run(folder, CONFIG, stages=('collect', 'evaluate'))
    try:
        return [run.done('collect'), run.done('evaluate'), run.results()]
    finally:
        run.close()


def _use_search(folder: pathlib.Path, said: list[str]) -> list:
    search = CMAES.load(folder / 'controller/cma_es.npz')
    return [search.mean, search.sigma, search.generation, search.ask()]


KINDS = {
    'episode': Kind('rollouts/episodes/000002.npz', _use_store, partial=True),
    'manifest': Kind('rollouts/manifest.json', _use_store),
    'list': Kind('rollouts/episodes.jsonl', _use_store, partial=True),
    'codes': Kind('vision/codes/mu.npy', _use_codes),
    'actions': Kind('vision/codes/actions.npy', _use_codes),
    'index of codes': Kind('vision/codes/index.json', _use_codes),
    'list of codes': Kind('unfinished/progress.jsonl', _go_on_encoding),
    'V': Kind('vision/vision.npz', _weights('vision/vision.npz', ConvVAE)),
    'M, LSTM': Kind('lstm/model.npz', _weights('lstm/model.npz', MDNRNN)),
    'M, DNC': Kind('dnc/model.npz', _weights('dnc/model.npz', MDNRNN)),
    'C': Kind(
        'controller/controller.npz',
        lambda folder, said: load_controller(folder / 'controller/controller.npz').get_theta(),
    ),
    'CMA-ES': Kind('controller/cma_es.npz', _use_search),
    'history': Kind(
        'controller/history.json',
        lambda folder, said: evolution.read_history(folder / 'controller'),
    ),
    'mean': Kind('controller/means/000004.npy', lambda folder, said: _evolve(folder).theta),
    'snapshot': Kind(
        'model/snapshots/update-00000008.npz', lambda folder, said: _fit(folder, updates=8)
    ),
    'config': Kind('config.json', _use_run),
    'stages': Kind('stages.json', _use_run),
    'results': Kind('results.json', _use_run),
}


def read(kind: Kind, folder: pathlib.Path) -> tuple[Any, list[str]]:
    """What the library gets out of a file, and all that it said.

    Raises:
        FileError: it is refused.
    """
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        found = kind.use(folder, said)
    said += [
        str(each.message) for each in caught if not issubclass(each.category, DeprecationWarning)
    ]
    return found, said


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal, to the bit."""
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other))
