"""Recurrent cores: state goes in, state comes out. Here is the LSTM.

A core (this LSTM, or ``dnc.DNC``) has ``initial_state``, ``step`` and ``sequence``, and keeps no
state of its own, so that one can take the place of the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import numpy as np
from chainer import initializers

from chainer_wm.functions.arena import Arena
from chainer_wm.functions.lstm import LSTMSequence
from dnc import DNC
from dnc.checks import check_sequence, checked_engine
from dnc.state import State, reset_state

CORES = ('lstm', 'dnc')


class LSTMState(NamedTuple):
    """What an LSTM remembers.

    Fields:
        c: cell, (B, H).
        h: output, (B, H).
    """

    c: Any
    h: Any


def detach(state: State) -> State:
    """The same state as arrays: gradients stop here, numbers do not."""
    return type(state)(*(chainer.as_array(field) for field in state))


class LSTM(chainer.Chain):
    """One layer of long short-term memory with one bias and no peepholes.

    Equations (Hochreiter and Schmidhuber 1997, with the forget gate of Gers
    et al. 2000); the rows of W are those of i, f, o, g::

        i, f, o = sigmoid(W [h; x; 1]),  g = tanh(W [h; x; 1])
        c' = f c + i g,  h' = o tanh(c')

    Args:
        input_size: X, features of one input.
        hidden_size: H, features of the output.
        seed: of the initial weights: LeCun normal for h and for x, biases 0, and 1 for the forget
            gate.
        engine: 'fused' (analytic backward over the whole sequence) or 'reference' (the composed
            functions); both give the same numbers
            to rounding. Only the reference has a second derivative.
        recompute: fused engine only: do not keep the gates for the backward pass (4H of 7H + X + 1
            numbers per step and lane), compute them again.

    Attributes:
        W: (4H, H + X + 1), the only parameter; the last column is the bias.
        input_size, hidden_size, output_size: X, H and H.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        seed: int = 0,
        engine: str = 'fused',
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = self.output_size = hidden_size
        self.engine = checked_engine(engine)
        self.recompute = recompute
        self._arena = Arena()
        rng = np.random.RandomState(seed)
        W = np.zeros((4 * hidden_size, hidden_size + input_size + 1), chainer.get_dtype())
        draw = initializers.LeCunNormal(rng=rng)
        draw(W[:, :hidden_size])
        draw(W[:, hidden_size:-1])
        W[hidden_size : 2 * hidden_size, -1] = 1
        with self.init_scope():
            self.W = chainer.Parameter(W)

    def initial_state(self, batch: int) -> LSTMState:
        """All zeros: c and h, each (batch, H), dtype and device of W."""
        shape = (batch, self.hidden_size)
        return LSTMState(self.xp.zeros(shape, self.W.dtype), self.xp.zeros(shape, self.W.dtype))

    def step(self, x, state: LSTMState):
        """One step of time.

        Args:
            x: (B, X).
            state: from ``initial_state`` or the step before.

        Returns:
            (y, state): y is h of the new state, (B, H).
        """
        if self.engine == 'fused':
            ys, state = self._fused(x[None], state)
            return ys[0], state
        one = self.xp.ones((len(x), 1), self.W.dtype)
        gates = F.linear(F.concat((state.h, x, one)), self.W)
        size = self.hidden_size
        i, f, o = F.split_axis(F.sigmoid(gates[:, : 3 * size]), 3, axis=1)
        c = f * state.c + i * F.tanh(gates[:, 3 * size :])  # c' = f c + i g
        h = o * F.tanh(c)  # h' = o tanh c'
        return h, LSTMState(c, h)

    def sequence(self, xs, state: LSTMState, reset=None, mask=None):
        """All steps of a sequence.

        Args:
            xs: (T, B, X).
            state: of before the first step.
            reset: (T, B) of 0 and 1, or None; 1 zeroes the lane's state
                BEFORE step t, because an episode starts there.
            mask: (B, H) of dropout, or None: what the gates see of h in every step is multiplied
                by it; ys and the state are whole.

        Returns:
            (ys, state): ys (T, B, H), and the state of after the last step.

        Raises:
            ValueError: the shapes do not fit.
        """
        check_sequence(xs, reset, len(state.c), self.input_size, self.W.dtype)
        if self.engine == 'fused':
            return self._fused(xs, state, reset, mask)
        ys = []
        for t in range(xs.shape[0]):
            if reset is not None:
                state = reset_state(state, reset[t])
            seen = state if mask is None else state._replace(h=state.h * mask)
            y, state = self.step(xs[t], seen)
            ys.append(y)
        return F.stack(ys), state

    def _fused(self, xs, state: LSTMState, reset=None, mask=None):
        ys, c, h = LSTMSequence(self._arena, reset, self.recompute, mask).apply(
            (xs, state.c, state.h, self.W)
        )
        return ys, LSTMState(c, h)


def make_core(core: str, input_size: int, hidden_size: int, seed: int, engine: str, **options):
    """A recurrent core by its name.

    Args:
        core: 'lstm', or 'dnc' with the output [h; r].
        input_size, hidden_size, seed, engine: of the link.
        options: for 'dnc' memory_length=16, memory_width=16, read_heads=4, link_sparsity=None and
            others of ``dnc.DNC``; for 'lstm' recompute=False.

    Raises:
        ValueError: the name is unknown, or an LSTM is given a DNC's options.
    """
    if core == 'lstm':
        foreign = sorted(set(options) - {'recompute'})
        if foreign:
            raise ValueError(f'an LSTM has no options {foreign}: was core="dnc" meant?')
        return LSTM(input_size, hidden_size, seed=seed, engine=engine, **options)
    if core == 'dnc':
        sizes = {'memory_length': 16, 'memory_width': 16, 'read_heads': 4}
        return DNC(
            input_size,
            None,
            hidden_size=hidden_size,
            seed=seed,
            engine=engine,
            **(sizes | options),
        )
    raise ValueError(f'core is {core!r}, but must be one of {CORES}')


class OverCore(chainer.Chain):
    """A network over a recurrent core.

    Attributes:
        core, head: the links: the core, and one linear layer.
        config: the constructor's arguments, JSON-able: ``type(net)(**net.config)``.
    """

    core: Any
    head: Any

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self._config = config

    @property
    def config(self) -> dict[str, Any]:
        return dict(self._config)

    @property
    def dtype(self) -> np.dtype:
        """Of the parameters, and so of all that goes in and comes out."""
        return self.head.W.dtype

    def initial_state(self, batch: int) -> Any:
        """The core's state at an episode's start: zeros."""
        return self.core.initial_state(batch)

    def send(self, array: np.ndarray) -> Any:
        """A NumPy array in the net's precision, on its device."""
        return self.device.send(np.ascontiguousarray(array, self.dtype))
