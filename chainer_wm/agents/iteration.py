"""The iterative procedure's parts on disk, one folder per iteration.

Ha and Schmidhuber 2018, "Iterative Training Procedure": play with the agent
as it is, add the episodes to all the others, improve V and M on them, evolve C
in M, repeat.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainer_wm.agents import policies
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import (
    Controller,
    HiddenController,
    LinearController,
    load_controller,
)
from chainer_wm.agents.world_model import (
    FEATURES,
    Explorer,
    Player,
    WorldModelAgent,
    features_width,
)
from chainer_wm.dream.curious import CuriousDream
from chainer_wm.dream.simulator import Dream
from chainer_wm.files.archives import load_link
from chainer_wm.links.conv_vae import ConvVAE, to_input
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.latents import Latents


@dataclasses.dataclass(frozen=True)
class Iteration:
    """What iteration ``number`` left, or will leave, in its folder.

    Attributes:
        run: the run's folder.
        number: from 1.
        features: what C sees.
        hidden_units: of C; 0 for a linear one.
        device: where V and M are loaded to.
    """

    run: pathlib.Path
    number: int
    features: tuple[str, ...] = FEATURES
    hidden_units: int = 0
    device: str = '@numpy'

    @property
    def folder(self) -> pathlib.Path:
        return self.run / 'iterations' / f'{self.number:02d}'

    @property
    def previous(self) -> Iteration | None:
        """The iteration before, None before the first."""
        if self.number == 1:
            return None
        return dataclasses.replace(self, number=self.number - 1)

    @property
    def vision_path(self) -> pathlib.Path:
        return self.folder / 'vision/vision.npz'

    @property
    def codes_path(self) -> pathlib.Path:
        return self.folder / 'vision/codes'

    @property
    def controller_path(self) -> pathlib.Path:
        return self.folder / 'controller/controller.npz'

    def vision(self) -> ConvVAE:
        return load_link(self.vision_path, ConvVAE, self.device)

    def model(self) -> MDNRNN:
        return load_link(self.folder / 'model/model.npz', MDNRNN, self.device)

    def latents(self) -> Latents:
        """The codes of all episodes so far, by this iteration's V."""
        return Latents(self.codes_path)

    def theta(self) -> np.ndarray:
        """The parameters of C."""
        return load_controller(self.controller_path).get_theta()

    def new_controller(self, network: MDNRNN) -> Controller:
        """C for an M, with one action; without a bias where it is linear."""
        width = features_width(network, self.features)
        if self.hidden_units:
            return HiddenController(width, 1, self.hidden_units)
        return LinearController(width, 1, bias=False)

    def dream(self, max_steps: int, curiosity: float = 0.0) -> Dream:
        """M as the game at temperature 1, curious or not."""
        found = self.model(), self.latents().first()
        options: dict[str, Any] = {'temperature': 1.0, 'max_steps': max_steps}
        if curiosity:
            return CuriousDream(*found, curiosity, **options)
        return Dream(*found, **options)

    def agent_maker(self) -> Callable[[], WorldModelAgent]:
        """A picklable maker of the agent, on the CPU."""
        return functools.partial(_load_agent, dataclasses.replace(self, device='@numpy'))

    def explorer_maker(self, search: str, noise: float) -> Callable[[], Player]:
        """A picklable maker of a player of a search's candidates.

        Args:
            search: its folder in this iteration: 'controller' or 'explorer'.
            noise: on the actions.
        """
        on_cpu = dataclasses.replace(self, device='@numpy')
        return functools.partial(_load_explorer, on_cpu, search, noise)


def random_maker(hold: Sequence[int]) -> Callable[[], Player]:
    """A picklable maker of who plays before there is an agent."""
    return functools.partial(_random_player, tuple(hold))


def _random_player(hold: tuple[int, ...]) -> Player:
    return Player(policies.HeldRandom(hold))


def _load_agent(one: Iteration) -> WorldModelAgent:
    network = one.model()
    controller = one.new_controller(network)
    controller.set_theta(one.theta())
    return WorldModelAgent(one.vision(), network, controller, one.features)


def _load_explorer(one: Iteration, search: str, noise: float) -> Player:
    network = one.model()
    candidates = CMAES.load(one.folder / search / 'cma_es.npz').ask()
    return Player(
        Explorer(
            one.vision(), network, one.new_controller(network), candidates, noise, one.features
        )
    )


def split(episodes: Sequence[int], every: int = 10) -> tuple[list[int], list[int]]:
    """Episodes to train on, and held-out ones: the last of every ``every``.

    An episode stays on its side when more are added, so weights that are
    trained on from iteration to iteration never saw a held-out one.

    Raises:
        ValueError: there are fewer than ``every`` episodes.
    """
    held_out = [e for e in episodes if e % every == every - 1]
    if not held_out:
        raise ValueError(f'{len(episodes)} episodes leave none of every {every} held out')
    return [e for e in episodes if e % every != every - 1], held_out


def rewards(store: RolloutStore, latents: Latents) -> np.ndarray:
    """The reward of every encoded step, (rows,) float32."""
    return np.concatenate([store.read(int(e)).rewards for e in latents.episodes])


def start_at_mean(network: ConvVAE, frames: np.ndarray) -> None:
    """Let V's decoder begin at the mean colour of frames (N, 64, 64, 3).

    On a plain ground V else learns it by pushing all its units down, and ends
    with one picture for all frames.
    """
    mean = to_input(frames, dtype=np.float64).mean(axis=(0, 2, 3))
    mean = np.clip(mean, 0.01, 0.99)
    network.deconv4.b.array[...] = network.device.send(
        np.log(mean / (1 - mean)).astype(network.dtype)
    )
