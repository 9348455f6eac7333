"""Settings of the pendulum: every flag, the presets, and M by them."""

from __future__ import annotations

import dataclasses

from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.runs.checks import check_features
from chainer_wm.runs.command_line import FEATURES, CommonConfig, opt

NAME = 'pendulum_swing_up'


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """Pendulum from pixels: play, train V and M, evolve C in M, repeat."""

    iterations: int = opt(5, 'rounds of the procedure', extends='report')
    first_episodes: int = opt(100, 'random episodes of the first iteration', least=10)
    episodes: int = opt(40, 'episodes that each later iteration adds')
    frame_skip: int = opt(4, 'game steps of 0.05 s per action')
    hold: tuple[int, ...] = opt((5,), 'longest hold of a random action')
    noise: float = opt(0.2, 'deviation of the noise on explored actions', least=0)
    curiosity: float = opt(0.0, "explorers' reward per nat of M's own loss", least=0)
    latent_size: int = opt(3, 'latents of V')
    vision_epochs: float = opt(3.0, 'passes of V in the first iteration')
    refine_epochs: float = opt(0.2, 'passes of V in each later one')
    vision_batch: int = opt(16, 'frames per update of V')
    vision_learning_rate: float = opt(1e-3, "V's Adam")
    memory_mb: int = opt(512, 'frames held in memory (MB)', free=True)
    hidden_size: int = opt(64, 'LSTM, or controller of the DNC')
    memory_length: int = opt(16, 'DNC: memory slots N')
    memory_width: int = opt(16, 'DNC: numbers per slot W')
    read_heads: int = opt(2, 'DNC: read heads R')
    reward_scale: float = opt(4.0, "unit of the reward's error in M's loss")
    model_epochs: float = opt(100.0, 'passes of M in each iteration')
    model_batch: int = opt(16, 'episodes side by side in an update of M')
    window: int = opt(25, 'steps per update of M')
    model_learning_rate: float = opt(3e-3, "M's Adam")
    features: tuple[str, ...] = opt(('z', 'h'), 'what C sees: z c h r', FEATURES)
    hidden_units: int = opt(16, 'of C; 0 for a linear one', least=0)
    population: int = opt(64, 'candidates per generation', least=4)
    dreams: int = opt(16, 'dreams per candidate')
    generations: int = opt(120, 'of CMA-ES in each iteration')
    sigma: float = opt(0.5, 'first step size of CMA-ES')
    separable: bool = opt(True, 'CMA-ES with a diagonal covariance')
    test_episodes: int = opt(20, 'episodes of every score')
    summary: tuple[str, ...] = opt(
        (), 'sum up these runs (glob patterns) and do nothing else', free=True
    )
    results: str = opt(f'experiments/results/{NAME}', 'folder of the summary', free=True)

    def check(self) -> None:
        """See that C's features are there.

        Raises:
            runs.RunError: they are not.
        """
        check_features(self)


# fmt: off
PRESETS = {
    'smoke': dict(
        iterations=2, first_episodes=20, episodes=10, vision_epochs=1.0,
        refine_epochs=0.2, hidden_size=16, hidden_units=4, memory_length=4,
        memory_width=4, model_epochs=4.0, model_batch=4, population=8,
        dreams=2, generations=4, test_episodes=4),
    'laptop': {},
    'paper': dict(iterations=20, generations=200),
}
# fmt: on


def new_model(config: Config) -> MDNRNN:
    """M at its start, on its device."""
    memory = {
        'memory_length': config.memory_length,
        'memory_width': config.memory_width,
        'read_heads': config.read_heads,
    }
    network = MDNRNN(
        config.latent_size,
        1,
        config.hidden_size,
        core=config.model,
        predict_done=True,
        predict_reward=True,
        reward_scale=config.reward_scale,
        seed=config.seed,
        **(memory if config.model == 'dnc' else {}),  # type: ignore[arg-type]
    )
    network.to_device(config.device)
    return network
