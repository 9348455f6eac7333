"""Settings of Take Cover: every flag, and the presets."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from chainer_wm.agents import policies
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.runs import run_folder
from chainer_wm.runs.checks import check_features
from chainer_wm.runs.command_line import FEATURES, CommonConfig, opt

#: Policies that the agent is held against.
FIXED: dict[str, Callable] = {
    'random': policies.Uniform,
    'held random': policies.HeldRandom,
    'no action': policies.NoAction,
    # to and fro at the pace that scores most of those tried (README)
    'pacing': functools.partial(policies.Pacing, 120),
}


def check_temperature(flag: str, ends: tuple[float, ...]) -> None:
    """See that it is one temperature, or a range of them.

    Raises:
        runs.RunError: it is neither.
    """
    if len(ends) not in (1, 2) or list(ends) != sorted(ends):
        raise run_folder.RunError(
            f'{flag} {" ".join(map(str, ends))}: expected one temperature, '
            'or the lower and the upper end of a range'
        )


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """ViZDoom Take Cover: collect, train V and M, evolve C in the dream."""

    summary: tuple[str, ...] = opt(
        (), 'compare these finished runs, and do nothing else', free=True
    )
    results: str = opt('', 'folder for --summary (default: experiments/results)', free=True)
    reuse: str = opt('', 'run whose rollouts, V and codes to use')
    settings: str = opt('paper', 'game settings', ('paper', 'blog'))
    episodes: int = opt(10_000, 'random episodes', extends='collect', least=2)
    hold: tuple[int, ...] = opt(
        (10,), 'longest hold of a random action; episodes draw one of several'
    )
    min_length: int = opt(100, 'shorter random episodes are played again', least=0)
    held_out: float = opt(0.05, 'share of episodes that V and M never see', above=0, below=1)
    latent_size: int = opt(64, 'latents of V')
    vision_epochs: float = opt(1.0, 'passes of V', extends='vision')
    vision_batch: int = opt(100, 'frames per update of V')
    vision_learning_rate: float = opt(1e-4, "V's Adam")
    vision_last_learning_rate: float = opt(
        1.0, "V's Adam falls to this in a straight line, if it is lower", least=0
    )
    latent_nats: float = opt(
        0.0, 'latents that carry fewer are dropped once V is trained', least=0
    )
    memory_mb: int = opt(1024, 'frames held in memory (MB)', free=True)
    hidden_size: int = opt(512, 'LSTM, or controller of the DNC')
    memory_length: int = opt(16, 'DNC: memory slots N')
    memory_width: int = opt(16, 'DNC: numbers per slot W')
    read_heads: int = opt(4, 'DNC: read heads R')
    link_sparsity: int = opt(0, 'DNC: K of the sparse link, 0 for dense', least=0)
    model_epochs: float = opt(20.0, 'passes of M', extends='model')
    model_batch: int = opt(100, 'episodes side by side in an update of M')
    window: int = opt(500, 'steps per update of M')
    model_learning_rate: float = opt(1e-3, "M's Adam")
    model_last_learning_rate: float = opt(
        1.0, "M's Adam falls to this in a straight line, if it is lower", least=0
    )
    patience: int = opt(0, 'held-out checks without progress; 0: no limit', least=0)
    untrained_model: bool = opt(False, 'control: M keeps its first weights')
    features: tuple[str, ...] = opt(('z', 'c', 'h'), 'what C sees: z c h r', FEATURES)
    temperature: tuple[float, ...] = opt((1.15,), 'tau, or its range')
    population: int = opt(64, 'candidates per generation', least=4)
    dreams: int = opt(16, 'dreams per candidate')
    generations: int = opt(200, 'of CMA-ES', extends='controller')
    sigma: float = opt(0.1, 'first step size of CMA-ES')
    separable: bool = opt(False, 'CMA-ES with a diagonal covariance')
    max_steps: int = opt(2100, 'cap of a dream')
    rounds: int = opt(0, 'of the iterative procedure', extends='evaluate', least=0)
    round_episodes: int = opt(100, 'episodes that the agents play in a round', least=2)
    round_repeats: int = opt(3, 'M sees these so often for once a random one')
    round_epochs: float = opt(4.0, 'passes of M in a round')
    round_learning_rate: float = opt(3e-4, "M's Adam in a round")
    round_last_learning_rate: float = opt(
        1.0, "there M's Adam falls to this in a straight line, if it is lower", least=0
    )
    vision_rounds: tuple[int, ...] = opt(
        (), 'rounds in which V too is trained on', extends='evaluate'
    )
    round_vision_epochs: float = opt(1.0, 'passes of V in such a round')
    round_vision_learning_rate: float = opt(3e-4, "V's Adam in such a round")
    round_generations: int = opt(10, 'of CMA-ES in a round')
    evaluate_every: int = opt(25, 'generations between scores in the game')
    evaluate_episodes: int = opt(100, 'episodes of such a score')
    choose: str = opt('last', 'mean that is kept', ('last', 'game'))
    test_episodes: int = opt(100, 'final episodes', extends='evaluate')

    def check(self) -> None:
        """See that temperatures are a range, that C's features are there, and
        that episodes are left to train on.

        Raises:
            runs.RunError: they are not.
        """
        check_temperature('--temperature', self.temperature)
        check_features(self)
        counts = {'--episodes': self.episodes}
        if self.rounds:
            counts['--round-episodes'] = self.round_episodes
        for flag, count in counts.items():
            if round(self.held_out * count) >= count:
                raise run_folder.RunError(
                    f'--held-out {self.held_out} of {flag} {count} leaves no episode to train on'
                )


# fmt: off
PRESETS = {
    'smoke': dict(
        episodes=10, vision_batch=32, vision_learning_rate=1e-3,
        latent_size=16, hidden_size=32, memory_length=8, memory_width=8,
        read_heads=2, model_epochs=6.0, model_batch=4, window=32,
        population=8, dreams=2, generations=4, max_steps=200,
        evaluate_every=4, evaluate_episodes=2, test_episodes=4),
    'laptop': dict(
        episodes=3000, hold=(10, 30, 100), vision_epochs=0.8,
        vision_learning_rate=1e-3, vision_last_learning_rate=1e-5,
        latent_nats=0.03, hidden_size=256, model_epochs=30.0, model_batch=25,
        window=50, model_last_learning_rate=1e-5, population=32,
        generations=20, round_generations=15, evaluate_every=5,
        evaluate_episodes=20),
    'paper': {},
}
# fmt: on


def new_model(config: Config, latent_size: int) -> MDNRNN:
    """M at its start, on its device, for a V of so many latents."""
    memory = {
        'memory_length': config.memory_length,
        'memory_width': config.memory_width,
        'read_heads': config.read_heads,
        'link_sparsity': config.link_sparsity or None,
    }
    network = MDNRNN(
        latent_size,
        1,
        config.hidden_size,
        core=config.model,
        predict_done=True,
        seed=config.seed,
        **(memory if config.model == 'dnc' else {}),  # type: ignore[arg-type]
    )
    network.to_device(config.device)
    return network
