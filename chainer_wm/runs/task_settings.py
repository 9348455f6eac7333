"""What the experiments on sequence tasks share: settings, and the network built from them."""

from __future__ import annotations

import dataclasses
from typing import Any

from chainer_wm.runs.command_line import TrainingConfig, opt
from chainer_wm.runs.matching import MatchConfig, as_large_as_dnc
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import Task


@dataclasses.dataclass(frozen=True)
class TaskConfig(MatchConfig, TrainingConfig):
    """The network, and how it is trained."""

    width: int = opt(6, 'numbers in a row of a sequence')
    memory_length: int = opt(256, 'DNC: memory slots N')
    memory_width: int = opt(64, 'DNC: numbers per slot W')
    batch: int = opt(1, 'sequences per update')
    learning_rate: float = opt(1e-4, 'of Adam')
    clip: float = opt(0.0, 'largest norm of the gradient, 0 for no limit', least=0)
    measure_every: int = opt(500, 'updates between held-out scores')
    held_out: int = opt(200, 'sequences of such a score')


def new_net(config: TaskConfig, task: Task) -> SequenceNet:
    """The net at its start, on its device.

    With ``match`` an LSTM has as many parameters as the DNC of these sizes, whatever
    ``hidden_size``.
    """
    sizes = task.input_size, task.output_size

    def build(core: str, hidden: int, **memory: Any) -> SequenceNet:
        return SequenceNet(*sizes, hidden, core, config.seed, **memory)

    matched = config.match and config.model == 'lstm'
    hidden = as_large_as_dnc(config, build) if matched else config.hidden_size
    net = build(config.model, hidden, **config.core_options())
    net.to_device(config.device)
    return net


def describe(net: SequenceNet) -> dict[str, Any]:
    """The net's size, for results.json."""
    return {'parameters': net.count_params(), **net.config}
