"""What the experiments share that train V and M on recorded episodes."""

from __future__ import annotations

import dataclasses

from chainer_wm.runs.command_line import MemoryConfig, ParallelConfig, opt


@dataclasses.dataclass(frozen=True)
class WorldModelConfig(MemoryConfig, ParallelConfig):
    """How V and M of World Models are trained."""

    reuse: str = opt('', 'run whose rollouts, V and codes to use')
    held_out: float = opt(0.05, 'share of episodes that V and M never see', above=0, below=1)
    latent_size: int = opt(64, 'latents of V')
    vision_epochs: float = opt(1.0, 'passes of V', extends='vision')
    vision_batch: int = opt(100, 'frames per update of V')
    vision_learning_rate: float = opt(1e-4, "V's Adam")
    vision_last_learning_rate: float = opt(
        1.0, "V's Adam falls to this in a line, if lower", least=0
    )
    memory_mb: int = opt(1024, 'frames held in memory (MB)', free=True)
    hidden_size: int = opt(512, 'LSTM, or controller of the DNC')
    model_epochs: float = opt(20.0, 'passes of M', extends='model')
    model_batch: int = opt(100, 'episodes side by side in an update of M')
    window: int = opt(500, 'steps per update of M')
    model_learning_rate: float = opt(1e-3, "M's Adam")
    model_last_learning_rate: float = opt(
        1.0, "M's Adam falls to this in a line, if lower", least=0
    )
    model_dropout: float = opt(
        0.0, 'rate at which M, an LSTM, loses z and h as it learns', least=0, below=1
    )
    untrained_model: bool = opt(False, 'control: M keeps its first weights')
