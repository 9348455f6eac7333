"""Where a run keeps V, M and C, and how they are loaded and wired."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from chainer_wm import agent, runs
from chainer_wm.cma_es import CMAES
from chainer_wm.controller import LinearController, load_controller
from chainer_wm.datasets import JoinedLatents, Latents
from chainer_wm.dream import Dream
from chainer_wm.model import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import model, vision
from chainer_wm.vision import ConvVAE


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a run on disk.

    Attributes:
        folder: of the run.
        source: of the run whose rollouts, V and codes it uses, often itself.
        features: what C sees, in this order.
        device: where V and M are loaded to.
        round: of the iterative procedure: 0 knows random episodes alone,
            round k also those that the agents of rounds 0 to k - 1 played.
    """

    folder: pathlib.Path
    source: pathlib.Path
    features: tuple[str, ...] = agent.FEATURES
    device: str = '@numpy'
    round: int = 0

    @classmethod
    def of(
        cls,
        folder: pathlib.Path,
        reuse: str,
        features: tuple[str, ...],
        device: str,
    ) -> Parts:
        """The parts of a run that may use another run's V, by its name.

        Raises:
            runs.RunError: the other run has no finished codes.
        """
        parts = cls(folder, folder.parent / reuse, features, device)
        if not reuse:
            return dataclasses.replace(parts, source=folder)
        if not (parts.codes_path / 'index.json').exists():
            raise runs.RunError(
                f'--reuse {reuse}: {parts.source} has no codes yet; finish '
                'its encode stage first'
            )
        return parts

    @property
    def vision_path(self) -> pathlib.Path:
        return self.source / 'vision/vision.npz'

    @property
    def codes_path(self) -> pathlib.Path:
        return self.source / 'vision/codes'

    @property
    def home(self) -> pathlib.Path:
        """Of this round's M and C, and of the episodes played for it."""
        if not self.round:
            return self.folder
        return self.folder / 'rounds' / f'{self.round:02d}'

    @property
    def model_path(self) -> pathlib.Path:
        return self.home / 'model/model.npz'

    @property
    def controller_path(self) -> pathlib.Path:
        return self.home / 'controller/controller.npz'

    @property
    def search_path(self) -> pathlib.Path:
        return self.home / 'controller/cma_es.npz'

    def at(self, round: int) -> Parts:
        """The parts of another round."""
        return dataclasses.replace(self, round=round)

    def store(self) -> RolloutStore:
        """The random episodes."""
        return RolloutStore(self.source / 'rollouts')

    def latents(self) -> JoinedLatents:
        """The codes of all episodes up to this round's."""
        played = [
            self.at(number).home / 'codes'
            for number in range(1, self.round + 1)
        ]
        return JoinedLatents(
            [Latents(folder) for folder in (self.codes_path, *played)]
        )

    def vision(self) -> ConvVAE:
        """V, trained."""
        return vision.load(self.vision_path, self.device)

    def model(self) -> MDNRNN:
        """M, trained."""
        return model.load(self.model_path, self.device)

    def new_controller(self, network: MDNRNN) -> LinearController:
        """C for an M, with one action and no bias."""
        width = agent.features_width(network, self.features)
        return LinearController(width, 1, bias=False)

    def theta(self) -> np.ndarray:
        """The parameters of C, evolved."""
        return load_controller(self.controller_path).get_theta()

    def dream(self, temperature: tuple[float, ...], max_steps: int) -> Dream:
        """M as the game, beginning at recorded first frames.

        Args:
            temperature: tau, or the two ends of a range.
        """
        tau = temperature[0] if len(temperature) == 1 else temperature
        return Dream(
            self.model(), self.latents().first(), tau, max_steps=max_steps
        )

    def agent_maker(
        self, theta: np.ndarray | None = None
    ) -> Callable[[], Any]:
        """A picklable maker of the agent, with these parameters of C."""
        theta = self.theta() if theta is None else theta
        on_cpu = dataclasses.replace(self, device='@numpy')
        return functools.partial(_load_agent, on_cpu, theta)

    def candidate_maker(self) -> Callable[[], Any]:
        """A picklable maker of an agent whose C is new in every episode.

        It is drawn from the distribution that evolution left.
        """
        on_cpu = dataclasses.replace(self, device='@numpy')
        return functools.partial(_load_candidates, on_cpu)


def _load_agent(
    parts: Parts, theta: np.ndarray, **options: Any
) -> agent.WorldModelAgent:
    network = parts.model()
    controller = parts.new_controller(network)
    controller.set_theta(theta)
    return agent.WorldModelAgent(
        parts.vision(), network, controller, parts.features, **options
    )


def _load_candidates(parts: Parts) -> agent.WorldModelAgent:
    search = CMAES.load(parts.search_path)
    return _load_agent(
        parts, search.mean, draw=lambda rng: search.sample(rng, 1)[0]
    )
