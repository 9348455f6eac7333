"""V, M and C of a run, loaded once when they are first needed, and the one thread they run in."""

from __future__ import annotations

import collections
import concurrent.futures
import pathlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import chainer
import numpy as np

from chainer_wm import files
from chainer_wm.agents.controller import Controller, load_controller
from chainer_wm.agents.saved import PackedAgent, SavedAgent
from chainer_wm.dream.simulator import FEATURES
from chainer_wm.files.archives import load_link
from chainer_wm.inspector import folders
from chainer_wm.inspector.catalog import PACKED
from chainer_wm.links.conv_vae import ConvVAE, posteriors
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts.latents import Latents

KEPT = 3  # runs whose models are held
STARTS = 100  # first frames that a dream may begin at
CODES = 2000  # frames whose codes are held
Answer = TypeVar('Answer')


class Trained(NamedTuple):
    """What a run has learnt.

    Fields:
        vision: V.
        model: M, or None before it is trained.
        controller: C, or None before it has evolved.
        features: what C sees.
        starts: (mu, ln_var) of first frames, each (n, Z), or None without codes.
        temperature: of the dreams in which C learnt.
        done_threshold: P(done) above which these end.
        codes: (mu, ln_var) of frames from all over the episodes, each (n, Z), or None.
    """

    vision: ConvVAE
    model: MDNRNN | None
    controller: Controller | None
    features: tuple[str, ...]
    starts: tuple[np.ndarray, np.ndarray] | None
    temperature: float
    done_threshold: float = 0.5
    codes: tuple[np.ndarray, np.ndarray] | None = None


class Stopped(folders.InspectorError):
    """The models were let go while they were at work."""


class Models:
    """The models of the last few runs, and the worker that runs them.

    Everything that a model computes goes through `run`: one thread, piece by piece, in the order
    of asking, so that a long analysis and a dream at 35 frames a second share it fairly.
    """

    def __init__(self) -> None:
        self._held: collections.OrderedDict[pathlib.Path, Trained] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._worker = concurrent.futures.ThreadPoolExecutor(
            1, 'models', initializer=_without_gradients
        )
        self.stops = 0  # how often they were let go

    @property
    def held(self) -> list[pathlib.Path]:
        """Folders of the runs whose models are in memory."""
        return list(self._held)

    def submit(self, work: Callable[..., Answer], *given: Any) -> concurrent.futures.Future:
        """Have a short piece of work done by the worker."""
        return self._worker.submit(work, *given)

    def run(self, work: Callable[..., Answer], *given: Any) -> Answer:
        """`submit`, and wait."""
        return self.submit(work, *given).result()

    def of(self, folder: pathlib.Path) -> Trained:
        """What a run has learnt, loaded if it is not held.

        Raises:
            InspectorError: it has no V, or a file cannot be read.
        """
        with self._lock:
            if folder not in self._held:
                self._held[folder] = self.run(_load, folder)
            self._held.move_to_end(folder)
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
            return self._held[folder]

    def let_go(self) -> None:
        """Forget all models; what is at work ends with `Stopped` at its next piece."""
        self.stops += 1
        with self._lock:
            self._held.clear()

    def check(self, stops: int) -> None:
        """See that nothing was let go since `stops` was read.

        Raises:
            Stopped: it was.
        """
        if self.stops != stops:
            raise Stopped('the models were stopped')


def _without_gradients() -> None:
    chainer.config.enable_backprop = False
    chainer.config.train = False


def parts_of(folder: pathlib.Path) -> dict[str, bool]:
    """Which of 'vision', 'model' and 'controller' a run has on disk; loads nothing."""
    if (folder / PACKED).is_file():
        return {'vision': True, 'model': True, 'controller': True}
    saved = saved_agent(folder)
    vision = saved.vision_path.is_file()
    return {
        'vision': vision,
        'model': vision and saved.model_path.is_file(),
        'controller': vision and saved.controller_path.is_file(),
    }


def saved_agent(folder: pathlib.Path) -> SavedAgent:
    """The agent of a run after its last round whose M is there."""
    config = files.read_json(folder / 'config.json') if (folder / 'config.json').exists() else {}
    if not isinstance(config, Mapping):
        raise folders.InspectorError(f'{folder / "config.json"} holds no settings')
    known = {
        name: config[name] for name in ('features', 'reuse', 'controller') if config.get(name)
    }
    known |= {'vision_rounds': config.get('vision_rounds') or ()}
    rounds = sorted(folder.glob('rounds/*/model/model.npz'))
    one_store = bool(rounds) and not any(folder.glob('rounds/*/rollouts'))
    last = int(rounds[-1].parts[-3]) if rounds and rounds[-1].parts[-3].isdecimal() else 0
    return SavedAgent.of_run(folder, known, one_store=one_store).at(last)


def _load(folder: pathlib.Path) -> Trained:
    try:
        return _packed(folder) if (folder / PACKED).is_file() else _of_run(folder)
    except FileNotFoundError as error:
        raise folders.InspectorError(
            f'{error.filename} is not there: has its stage been run?'
        ) from error
    except (ValueError, KeyError, OSError) as error:
        raise folders.InspectorError(f'the models cannot be loaded: {error}') from error


def _packed(folder: pathlib.Path) -> Trained:
    agent = PackedAgent.load(folder.parent, folder.name)
    mu, ln_var = agent.starts
    features = tuple(agent.settings['features'])
    starts = np.asarray(mu, np.float32), np.asarray(ln_var, np.float32)
    temperature = float(np.mean(agent.settings['temperature']))
    ends = float(agent.settings.get('done_threshold', 0.5))
    models = agent.vision, agent.model, agent.controller
    return Trained(*models, features, starts, temperature, ends, starts)


def _of_run(folder: pathlib.Path) -> Trained:
    saved, there = saved_agent(folder), parts_of(folder)
    config = files.read_json(folder / 'config.json')
    starts, codes = _codes(saved)
    return Trained(
        saved.vision(),
        load_link(saved.model_path, MDNRNN) if there['model'] else None,
        load_controller(saved.controller_path) if there['controller'] else None,
        saved.features or FEATURES,
        starts,
        float(np.mean(config.get('temperature') or 1.0)),
        float(config.get('done_threshold') or 0.5),
        codes,
    )


def _codes(saved: SavedAgent) -> tuple:
    """(mu, ln_var) of first frames, and of frames from all over; None and None without codes."""
    try:
        codes = Latents(saved.codes_of(saved.parts[0]))
    except FileNotFoundError:
        return None, None
    mu, ln_var = (part[:STARTS] for part in codes.first())
    every = max(1, -(-len(codes.mu) // CODES))
    return (mu, ln_var), (np.array(codes.mu[::every]), np.array(codes.ln_var[::every]))


def encoded(vision: ConvVAE, frames: np.ndarray) -> np.ndarray:
    """The means of V's posteriors, (T, Z).

    Args:
        frames: (T, 64, 64, 3) uint8.

    Raises:
        InspectorError: V does not take such frames.
    """
    if frames.shape[1:] != (64, 64, 3):
        raise folders.InspectorError(
            f'frames are {frames.shape[1:]}, but V takes (64, 64, 3): are they of another game?'
        )
    return posteriors(vision, frames)[0]
