"""Where a run keeps V, M and C, and how they are loaded and wired."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.agents import world_model
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import LinearController, load_controller
from chainer_wm.dream.simulator import Dream
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.latents import JoinedLatents, Latents
from chainer_wm.rollouts.splits import split_episodes
from chainer_wm.runs import run_folder
from chainer_wm.training import mdn_rnn, vae


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a run on disk.

    Attributes:
        folder: of the run.
        source: of the run whose rollouts, V and codes it uses, often itself.
        features: what C sees, in this order.
        device: where V and M are loaded to.
        vision_rounds: in which V too was trained on, from 1; before the first
            of them V is the source's.
        round: of the iterative procedure: 0 knows random episodes alone,
            round k also those that the agents of rounds 0 to k - 1 played.
    """

    folder: pathlib.Path
    source: pathlib.Path
    features: tuple[str, ...] = world_model.FEATURES
    device: str = '@numpy'
    vision_rounds: tuple[int, ...] = ()
    round: int = 0

    @classmethod
    def of(
        cls,
        folder: pathlib.Path,
        reuse: str,
        features: tuple[str, ...],
        device: str,
        vision_rounds: tuple[int, ...] = (),
    ) -> Parts:
        """The parts of a run that may use another run's V, by its name.

        Raises:
            runs.RunError: the other run has no finished codes.
        """
        source = folder.parent / reuse if reuse else folder
        parts = cls(folder, source, features, device, vision_rounds)
        if reuse and not (parts.codes_path / 'index.json').exists():
            raise run_folder.RunError(
                f'--reuse {reuse}: {parts.source} has no codes yet; finish its encode stage first'
            )
        return parts

    @classmethod
    def saved(cls, folder: pathlib.Path, config: Mapping[str, Any], device: str) -> Parts:
        """The parts of a run as its settings say, after its last round.

        Args:
            config: what its config.json holds.
        """
        return cls.of(
            folder,
            config['reuse'],
            tuple(config['features']),
            device,
            tuple(config.get('vision_rounds', ())),  # came in later
        ).at(config['rounds'])

    @property
    def vision_round(self) -> int:
        """The round whose V is this round's: 0 is the source's."""
        return max((n for n in self.vision_rounds if n <= self.round), default=0)

    @property
    def vision_path(self) -> pathlib.Path:
        number = self.vision_round
        home = self.at(number).home if number else self.source
        return home / 'vision/vision.npz'

    @property
    def codes_path(self) -> pathlib.Path:
        """The random episodes as this round's V sees them."""
        return self.codes_of(0)

    def codes_of(self, number: int) -> pathlib.Path:
        """Round ``number``'s episodes as this round's V sees them."""
        seer = self.vision_round
        if number < seer:
            return self.at(seer).home / 'vision/codes' / f'{number:02d}'
        if not number:
            return self.source / 'vision/codes'
        return self.at(number).home / 'codes'

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
        """The episodes played for this round: at 0, the random ones."""
        home = self.home if self.round else self.source
        return RolloutStore(home / 'rollouts')

    def split(
        self, episodes: Iterable[int], held_out: float, seed: int
    ) -> tuple[list[int], list[int]]:
        """Episodes to train on, and held-out ones: the same for V and M.

        With another run's V they are held out as that run did, else M would
        be judged by episodes that V was trained on.

        Args:
            held_out, seed: the run's own share and seed.
        """
        if self.source != self.folder:
            saved = files.read_json(self.source / 'config.json')
            held_out, seed = saved['held_out'], saved['seed']
        return split_episodes(sorted(episodes), held_out, seed)

    def latents(self) -> JoinedLatents:
        """The codes of all episodes up to this round's."""
        numbers = range(self.round + 1)
        return JoinedLatents([Latents(self.codes_of(n)) for n in numbers])

    def vision(self) -> ConvVAE:
        """V, trained."""
        return vae.load(self.vision_path, self.device)

    def model(self) -> MDNRNN:
        """M, trained."""
        return mdn_rnn.load(self.model_path, self.device)

    def new_controller(self, network: MDNRNN) -> LinearController:
        """C for an M, with one action and no bias."""
        width = world_model.features_width(network, self.features)
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
        return Dream(self.model(), self.latents().first(), tau, max_steps=max_steps)

    def agent_maker(self, theta: np.ndarray | None = None) -> Callable[[], Any]:
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


def _load_agent(parts: Parts, theta: np.ndarray, **options: Any) -> world_model.WorldModelAgent:
    network = parts.model()
    controller = parts.new_controller(network)
    controller.set_theta(theta)
    return world_model.WorldModelAgent(
        parts.vision(), network, controller, parts.features, **options
    )


def _load_candidates(parts: Parts) -> world_model.WorldModelAgent:
    search = CMAES.load(parts.search_path)
    return _load_agent(parts, search.mean, draw=lambda rng: search.sample(rng, 1)[0])
