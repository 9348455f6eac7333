"""V, M and C on disk: the agent of a run after some round, or of a few small files."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from chainer_wm import files
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import (
    CHOICES,
    Controller,
    HiddenController,
    LinearController,
    load_controller,
)
from chainer_wm.agents.world_model import WorldModelAgent, features_width
from chainer_wm.dream.places import Places, places_along
from chainer_wm.dream.simulator import FEATURES, Dream
from chainer_wm.dream.variants import CuriousDream
from chainer_wm.files.archives import load_link, read_archive, save_link, write_archive
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.latents import JoinedLatents, Latents
from chainer_wm.rollouts.splits import split_episodes

STARTS = 'starts/1'  # kind of the archive of a packed agent's first frames
#: The controllers of World Models' first table: what C sees, and its hidden units.
CONTROLLERS: dict[str, tuple[tuple[str, ...], int]] = {
    'z': (('z',), 0),
    'hidden': (('z',), 40),
    'zh': (('z', 'h'), 0),
}
Part = int | str  # a round, or the name of a recording


@dataclasses.dataclass(frozen=True)
class SavedAgent:
    """The agent in a run's folder, after a round of the iterative procedure.

    Round 0 lies in the folder itself and knows random episodes alone; round k lies in
    ``rounds/NN`` and knows also those that the agents of rounds 0 to
    k - 1 played.

    Attributes:
        folder: of the run.
        features: what C sees, in this order.
        device: where V and M are loaded to.
        reuse: name of the run beside this one whose random episodes, V and codes are used; empty
            for its own.
        vision_rounds: in which V too was trained on, from 1; before the first of them V is that of
            round 0.
        one_store: the episodes of all rounds lie in one rollout store, and every round trains V on
            and encodes them all anew; else a round
            has a store and codes of its own.
        hidden_units: of C's hidden layers: one number, or one for each; 0 or none for a linear C.
        bias, actions: of C, see ``Controller``.
        recordings: names of further stores of round 0, such as of a policy that paces; each has
            codes of its own.
        learn_recordings: V and M learn from them too; else dreams begin there, no more.
        round: from 0.
    """

    folder: pathlib.Path
    features: tuple[str, ...] = FEATURES
    device: str = '@numpy'
    reuse: str = ''
    vision_rounds: tuple[int, ...] = ()
    one_store: bool = False
    hidden_units: int | tuple[int, ...] = 0
    bias: bool = True
    actions: str = 'tanh'
    recordings: tuple[str, ...] = ()
    learn_recordings: bool = False
    round: int = 0

    @classmethod
    def of_run(cls, folder: pathlib.Path, config: Mapping[str, Any], **options: Any) -> SavedAgent:
        """The agent of a run after its last round.

        Args:
            config: what its config.json holds. Of a learner 'ppo' C is the policy, with biases; a
                'controller' is one of ``CONTROLLERS``.
            options: what that does not tell: 'device', 'bias' and the like.
        """
        known = ('features', 'reuse', 'vision_rounds', 'hidden_units', 'learn_recordings')
        found = {name: config[name] for name in known if name in config}
        found = {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}
        if config.get('controller') in CONTROLLERS:
            found['features'], found['hidden_units'] = CONTROLLERS[config['controller']]
        if config.get('learner') == 'ppo':
            found |= {'bias': True, 'actions': 'likeliest'}
        found['recordings'] = tuple(
            name for name in ('paced', 'played') if config.get(f'{name}_episodes')
        )
        return cls(folder, round=config.get('rounds', 0), **options | found)

    def at(self, round: int) -> SavedAgent:
        """The agent of another round."""
        return dataclasses.replace(self, round=round)

    @property
    def source(self) -> pathlib.Path:
        """Folder of the run whose random episodes, V and codes are used."""
        return self.folder.parent / self.reuse if self.reuse else self.folder

    @property
    def home(self) -> pathlib.Path:
        """Of this round's M and C."""
        return self.folder / 'rounds' / f'{self.round:02d}' if self.round else self.folder

    @property
    def vision_round(self) -> int:
        """The round whose V is this round's."""
        if self.one_store:
            return self.round
        return max((n for n in self.vision_rounds if n <= self.round), default=0)

    @property
    def vision_path(self) -> pathlib.Path:
        number = self.vision_round
        return (self.at(number).home if number else self.source) / 'vision/vision.npz'

    @property
    def model_path(self) -> pathlib.Path:
        return self.home / 'model/model.npz'

    @property
    def controller_path(self) -> pathlib.Path:
        return self.home / 'controller/controller.npz'

    @property
    def parts(self) -> list[Part]:
        """Whose stores, and codes, together hold all that V and M learn from: rounds so far."""
        learnt = self.learn_recordings
        return [part for part in self.all_parts if learnt or not isinstance(part, str)]

    @property
    def all_parts(self) -> list[Part]:
        """``parts``, and the recordings beside them."""
        first = self.round if self.one_store else 0
        return [first, *self.recordings, *range(first + 1, self.round + 1)]

    def codes_of(self, number: Part) -> pathlib.Path:
        """Episodes of ``number``, one of ``all_parts``, as this round's V sees them."""
        seer = self.vision_round
        if isinstance(number, str):
            if seer:
                return self.at(seer).home / 'vision/codes' / number
            return self.folder / 'recordings' / number / 'codes'
        if number < seer:
            return self.at(seer).home / 'vision/codes' / f'{number:02d}'
        if self.one_store or not number:
            return (self.home if number else self.source) / 'vision/codes'
        return self.at(number).home / 'codes'

    def check_source(self) -> None:
        """See that what is used of another run is there.

        Raises:
            FileNotFoundError: it has no finished codes.
        """
        if self.reuse and not (self.source / 'vision/codes/index.json').exists():
            raise FileNotFoundError(
                f'--reuse {self.reuse}: {self.source} has no codes yet; finish its encode '
                'stage first'
            )

    def store_of(self, part: Part) -> RolloutStore:
        """The episodes of one of ``all_parts``."""
        if isinstance(part, str):
            return RolloutStore(self.folder / 'recordings' / part / 'rollouts')
        return self.at(part).store()

    def store(self) -> RolloutStore:
        """The episodes played for this round: at 0, the random ones."""
        if self.one_store:
            return RolloutStore(self.folder / 'rollouts')
        return RolloutStore((self.home if self.round else self.source) / 'rollouts')

    def split(
        self, episodes: Iterable[int], held_out: float, seed: int
    ) -> tuple[list[int], list[int]]:
        """Episodes to train on, and held-out ones: the same for V and M.

        With another run's V they are held out as that run did, else M would
        be judged by episodes that V was trained on.

        Args:
            held_out, seed: the run's own share and seed.
        """
        if self.reuse:
            saved = files.read_json(self.source / 'config.json')
            held_out, seed = saved['held_out'], saved['seed']
        return split_episodes(sorted(episodes), held_out, seed)

    def latents(self) -> JoinedLatents:
        """The codes of all episodes up to this round's."""
        return JoinedLatents([Latents(self.codes_of(number)) for number in self.parts])

    def vision(self) -> ConvVAE:
        """V, trained."""
        return load_link(self.vision_path, ConvVAE, self.device)

    def model(self) -> MDNRNN:
        """M, trained."""
        return load_link(self.model_path, MDNRNN, self.device)

    def new_controller(self, network: MDNRNN) -> Controller:
        """C for an M, at its start."""
        width = features_width(network, self.features)
        options = self.bias, self.actions
        outputs = len(CHOICES) if self.actions == 'likeliest' else network.action_size
        units = self.hidden_units
        hidden = units if isinstance(units, tuple) else (units,) if units else ()
        if len(hidden) == 1:
            return HiddenController(width, outputs, hidden[0], *options)
        if hidden:
            return Controller((width, *hidden, outputs), *options)
        return LinearController(width, outputs, *options)

    def theta(self) -> np.ndarray:
        """The parameters of C, evolved."""
        return load_controller(self.controller_path).get_theta()

    def search(self, name: str = 'controller') -> CMAES:
        """The evolution of C, as it ended; ``name`` is its folder in the round's."""
        return CMAES.load(self.home / name / 'cma_es.npz')

    def places(
        self, model: MDNRNN, seed: int, random: int = 0, agents: bool = True, **options: Any
    ) -> Places:
        """Where dreams may begin in all episodes so far, those of the recordings too.

        Args:
            model: who remembers: M, or a second one beside it.
            seed: see ``places_along``.
            random: so many episodes of the first part, the random ones; 0 for all.
            agents: in what agents played, too.
            options: see ``places_along``.
        """
        blind = (0, 'paced')
        parts = [part for part in self.all_parts if agents or part in blind]
        latents = JoinedLatents([Latents(self.codes_of(part)) for part in parts])
        first = len(latents.parts[0])
        episodes = [*range(min(first, random or first)), *range(first, len(latents))]
        return places_along(model, latents, episodes, seed=seed, **options)

    def dream(
        self,
        temperature: float | tuple[float, ...],
        max_steps: int,
        curiosity: float = 0.0,
        **more: Any,
    ) -> Dream:
        """M as the game, beginning at recorded first frames.

        Args:
            temperature: tau, or the two ends of a range.
            curiosity: reward per nat of M's own loss, see ``CuriousDream``.
            more: see ``Dream``.
        """
        found = self.model(), self.latents().first()
        options: dict[str, Any] = {'temperature': temperature, 'max_steps': max_steps, **more}
        if curiosity:
            return CuriousDream(*found, curiosity, **options)
        return Dream(*found, **options)

    def agent_maker(self, theta: np.ndarray | None = None) -> Callable[[], WorldModelAgent]:
        """A picklable maker of the agent on the CPU, with these parameters of C."""
        theta = self.theta() if theta is None else theta
        return functools.partial(_load, dataclasses.replace(self, device='@numpy'), theta)

    def candidate_maker(
        self, search: str = 'controller', population: bool = False, noise: float = 0.0
    ) -> Callable[[], WorldModelAgent]:
        """A picklable maker of an agent whose C is new in every episode.

        A C that no search led to, one of PPO, plays as it is.

        Args:
            search: the evolution that it is drawn from, see ``search``.
            population: it is one of the candidates that the search asks for next; else one drawn
                from where it ended.
            noise: on the actions, see ``WorldModelAgent``.
        """
        on_cpu = dataclasses.replace(self, device='@numpy')
        return functools.partial(_load_candidates, on_cpu, search, population, noise)

    def pack(
        self,
        folder: str | os.PathLike,
        core: str,
        temperature: tuple[float, ...],
        origin: Mapping[str, Any],
        starts: int = 100,
        done_threshold: float = 0.5,
        dropout: float = 0.0,
    ) -> None:
        """Write a few small files that ``PackedAgent.load`` reads, V and M in float16.

        Args:
            folder: gets ``vision.npz``, and a folder named by ``core``. Where another core there
                lives on another V, this one's V goes into its own folder.
            origin: whatever should be known of the run, JSON-able.
            starts: first frames whose posteriors are kept, at most.
            done_threshold, dropout: of the dream in which C grew up.
        """
        folder = pathlib.Path(folder)
        _pack_vision(self.vision(), folder, core)
        save_link(folder / core / 'model.npz', self.model(), np.float16)
        load_controller(self.controller_path).save(folder / core / 'controller.npz')
        mu, ln_var = (part[:starts] for part in self.latents().first())
        write_archive(
            folder / core / 'starts.npz',
            STARTS,
            {
                'features': self.features,
                'temperature': temperature,
                'done_threshold': done_threshold,
                'dropout': dropout,
                'origin': dict(origin),
            },
            {'mu': mu.astype(np.float16), 'ln_var': ln_var.astype(np.float16)},
        )


def _load(saved: SavedAgent, theta: np.ndarray | None, **options: Any) -> WorldModelAgent:
    network = saved.model()
    controller = saved.new_controller(network)
    if theta is not None:
        controller.set_theta(theta)
    return WorldModelAgent(saved.vision(), network, controller, saved.features, **options)


def _load_candidates(
    saved: SavedAgent, name: str, population: bool, noise: float
) -> WorldModelAgent:
    if not (saved.home / name / 'cma_es.npz').exists():
        return _load(saved, saved.theta(), noise=noise)
    search = saved.search(name)
    candidates = search.ask() if population else None

    def draw(rng: np.random.Generator) -> np.ndarray:
        if candidates is None:
            return search.sample(rng, 1)[0]
        return candidates[rng.integers(len(candidates))]

    return _load(saved, None, draw=draw, noise=noise)


def _pack_vision(vision: ConvVAE, folder: pathlib.Path, core: str) -> None:
    """V for all cores if they share it, else for this one alone."""
    shared, own = folder / 'vision.npz', folder / core / 'vision.npz'
    save_link(own, vision, np.float16)
    others = [
        path.parent
        for path in folder.glob('*/starts.npz')
        if path.parent.name != core and not (path.parent / 'vision.npz').exists()
    ]
    same = shared.exists() and _same_arrays(shared, own)
    if same or not others:
        own.replace(shared)


def _same_arrays(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two npz files hold the same, however they were compressed."""
    with np.load(one, allow_pickle=False) as a, np.load(other, allow_pickle=False) as b:
        return set(a.files) == set(b.files) and all(
            np.array_equal(a[name], b[name]) for name in a.files
        )


class PackedAgent(NamedTuple):
    """V, M and C as ``SavedAgent.pack`` wrote them, and where a dream may begin."""

    vision: ConvVAE
    model: MDNRNN
    controller: Controller
    starts: tuple[np.ndarray, np.ndarray]  # mu, ln_var of first frames (N, Z)
    settings: dict[str, Any]  # 'features', 'temperature', and what was told

    @classmethod
    def load(cls, folder: str | os.PathLike, core: str) -> PackedAgent:
        """Read a packed agent, onto the CPU.

        Raises:
            FileNotFoundError: a file is not there.
            ValueError: a file is damaged.
        """
        folder = pathlib.Path(folder)
        settings, starts = read_archive(folder / core / 'starts.npz', STARTS)
        own = folder / core / 'vision.npz'
        return cls(
            load_link(own if own.exists() else folder / 'vision.npz', ConvVAE),
            load_link(folder / core / 'model.npz', MDNRNN),
            load_controller(folder / core / 'controller.npz'),
            (starts['mu'], starts['ln_var']),
            settings,
        )

    def agent(self) -> WorldModelAgent:
        """The agent, for the game."""
        return WorldModelAgent(self.vision, self.model, self.controller, self.settings['features'])

    def dream(self, max_steps: int) -> Dream:
        """The dream in which C grew up, from its first frames."""
        return Dream(
            self.model,
            self.starts,
            self.settings['temperature'],
            max_steps=max_steps,
            done_threshold=self.settings.get('done_threshold', 0.5),
            dropout=self.settings.get('dropout', 0.0),
        )


class Teacher(NamedTuple):
    """Whose V and M another run takes over, untouched."""

    vision: ConvVAE
    model: MDNRNN
    make_agent: Callable[[], WorldModelAgent]  # picklable; on the CPU


def is_run(folder: str | os.PathLike, core: str) -> bool:
    """Whether this is the folder of a run, not one of packed agents.

    Args:
        folder: one of the two.
        core: which of the packed agents must be there.

    Raises:
        FileNotFoundError: neither.
    """
    path, model = pathlib.Path(folder), f'{core}/model.npz'
    run = (path / 'config.json').exists()
    if not run and not (path / model).exists():
        raise FileNotFoundError(
            f'{path} holds neither the config.json of a run nor the packed {model}; give the '
            f'folder of a run, or the one in which {core}/ lies'
        )
    return run


def load_teacher(folder: str | os.PathLike, core: str, device: str = '@numpy') -> Teacher:
    """V and M of a run after its last round, or of a packed agent.

    Args:
        folder: of the run, or of packed agents.
        core: which of the packed agents.

    Raises:
        FileNotFoundError: a file is not there.
    """
    folder = pathlib.Path(folder)
    if is_run(folder, core):
        config = files.read_json(folder / 'config.json')
        # a linear C of CMA-ES has no biases
        saved = SavedAgent.of_run(folder, config, device=device, bias=False)
        return Teacher(saved.vision(), saved.model(), saved.agent_maker())
    packed = PackedAgent.load(folder, core)
    for link in (packed.vision, packed.model):
        link.to_device(device)
    return Teacher(packed.vision, packed.model, functools.partial(_unpack, folder, core))


def _unpack(folder: pathlib.Path, core: str) -> WorldModelAgent:
    return PackedAgent.load(folder, core).agent()
