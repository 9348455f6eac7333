"""A recurrent core and one linear layer over its outputs."""

from __future__ import annotations

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import initializers

from chainer_wm.devices import to_cpu
from chainer_wm.links.recurrent import OverCore, make_core
from chainer_wm.tasks.sequence_tasks import Batch


class SequenceNet(OverCore):
    """Reads a sequence and answers at every step.

    Args:
        input_size, output_size: X and Y.
        hidden_size: H of the LSTM, or of the DNC's controller.
        core: 'lstm' or 'dnc'.
        seed: of the initial weights.
        engine: 'fused' or 'reference', see ``recurrent.LSTM``.
        core_options: of the core, see ``recurrent.make_core``.

    Attributes:
        core, head: the links: the recurrent core and one linear layer.
        output_size: Y.
        config: the constructor's arguments, for ``SequenceNet(**config)``.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_size: int,
        core: str = 'lstm',
        seed: int = 0,
        engine: str = 'fused',
        **core_options,
    ) -> None:
        super().__init__(
            input_size=input_size,
            output_size=output_size,
            hidden_size=hidden_size,
            core=core,
            seed=seed,
            engine=engine,
            **core_options,
        )
        self.output_size = output_size
        core_seed, head_seed = np.random.SeedSequence(seed).generate_state(2)
        draw = initializers.LeCunNormal(rng=np.random.RandomState(head_seed))
        with self.init_scope():
            self.core = make_core(
                core, input_size, hidden_size, int(core_seed), engine, **core_options
            )
            self.head = L.Linear(self.core.output_size, output_size, initialW=draw)

    def with_memory_length(self, length: int) -> SequenceNet:
        """A DNC with the same weights and another number of memory slots.

        Raises:
            ValueError: the core is an LSTM, which has no slots.
        """
        if self._config['core'] != 'dnc':
            raise ValueError(
                f'memory_length is {length}, but the core is '
                f'{self._config["core"]!r} and has no memory slots'
            )
        other = SequenceNet(**{**self._config, 'memory_length': length})
        other.to_device(self.device)
        other.copyparams(self)
        return other

    def forward(self, inputs):
        """Answers (T, B, Y) of inputs (T, B, X), from a state of zeros."""
        state = self.core.initial_state(inputs.shape[1])
        ys, _ = self.core.sequence(inputs, state)
        return self.head(ys, n_batch_axes=2)

    def answers(self, inputs: np.ndarray) -> np.ndarray:
        """Answers (T, B, Y) as NumPy arrays, without gradients."""
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            outputs = self(self.send(inputs))
        return to_cpu(outputs)

    def loss(self, batch: Batch):
        """Squared error of a sequence, summed over its steps, a scalar.

        The mean over lanes and columns, as published; padded steps count for nothing. Reports
        'loss'.
        """
        inputs, targets, mask = map(self.send, batch[:3])
        errors = F.square(self(inputs) - targets)
        mask = self.xp.broadcast_to(mask[..., None], errors.shape)
        loss = F.sum(errors * mask) / (inputs.shape[1] * targets.shape[2])
        chainer.report({'loss': loss}, self)
        return loss


def matched_hidden_size(parameters: int, input_size: int, output_size: int) -> int:
    """H of the LSTM whose net comes closest to a number of parameters.

    Raises:
        ValueError: even one unit has more.
    """

    def count(hidden: int) -> int:
        core = 4 * hidden * (hidden + input_size + 1)
        return core + (hidden + 1) * output_size

    if parameters < count(1):
        raise ValueError(
            f'{parameters} parameters are asked for, but an LSTM of one unit has {count(1)}'
        )
    hidden = 1
    while count(hidden + 1) <= parameters:
        hidden += 1
    over, under = count(hidden + 1) - parameters, parameters - count(hidden)
    return hidden + (over < under)
