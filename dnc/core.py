"""The DNC as a Chainer link: an LSTM controller around the memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import initializers

from dnc import addressing
from dnc.access import AccessState, Addresses, Interface, access, interface_size, parse_interface
from dnc.addressing import EPSILON, Array
from dnc.checks import check_sequence, check_sizes, checked_engine
from dnc.controller import deep_lstm
from dnc.engine.backends import has_kernels
from dnc.engine.memory import Options
from dnc.engine.sequence import fused_sequence
from dnc.engine.tape import Arenas
from dnc.engine.trace import traced_sequence
from dnc.state import DNCState, reset_state
from dnc.trace import Record


class DNC(chainer.Chain):
    """Differentiable Neural Computer (Graves et al., Nature 2016).

    Args:
        input_size: X, numbers in one input.
        output_size: Y, numbers in one output nu + W_r r; None makes the
            output [h; r], of width layers * hidden_size + R * W, for a head
            of the caller's own.
        memory_length: N, slots.
        memory_width: W, numbers in a slot.
        read_heads: R.
        hidden_size: H, units of each controller layer.
        link_sparsity: K of the sparse temporal link; None is the dense link.
        layers: controller layers; each sees [x; r], its own h of the step before and the lower
            layer's h of this step.
        link_scaling: sparse link only: let the weights entering it sum to min(1, their sum) and
            not to 1 (our choice, see `addressing.sharpened`).
        epsilon: added to the squared norms of the content addressing.
        engine: 'fused' or 'reference', how `sequence` runs unless told. Fused kernels exist for
            NumPy and CuPy, up to 32,768 slots; elsewhere 'fused' runs the reference.
        recompute: fused engine only: keep M and L of every S-th step alone
            and run the steps between again in the backward pass, S about sqrt(T). True needs about
            2 sqrt(T) B N (W + N) numbers, False
            T B N (W + N), None decides: False up to one gibibyte. A sparse
            link does not count: N (W + N) is N W then.
        seed: of the initial weights; the same in float32 and float64.

    The controller's one weight per layer has LSTM gates in the order input, forget, output,
    candidate, and a forget bias of 1. As in the paper, the maps from h to nu and xi and from r to
    the output have no bias.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int | None,
        memory_length: int,
        memory_width: int,
        read_heads: int,
        hidden_size: int,
        link_sparsity: int | None = None,
        layers: int = 1,
        link_scaling: bool = False,
        epsilon: float = EPSILON,
        engine: str = 'fused',
        recompute: bool | None = None,
        seed: int = 0,
    ):
        super().__init__()
        check_sizes(
            input_size=input_size,
            memory_length=memory_length,
            memory_width=memory_width,
            read_heads=read_heads,
            hidden_size=hidden_size,
            layers=layers,
            output_size=1 if output_size is None else output_size,
            link_sparsity=1 if link_sparsity is None else link_sparsity,
        )
        self.input_size = input_size
        self.memory_length, self.memory_width = memory_length, memory_width
        self.read_heads, self.hidden_size = read_heads, hidden_size
        self.layers = layers
        self.link_sparsity, self.link_scaling = link_sparsity, link_scaling
        self.epsilon = epsilon
        self.engine = checked_engine(engine)
        self.recompute = recompute
        self._arenas = Arenas()
        read_size = read_heads * memory_width
        units = layers * hidden_size
        self.output_size = units + read_size if output_size is None else output_size
        init = initializers.LeCunNormal(rng=np.random.default_rng(seed))
        with self.init_scope():
            self.gates = _new_layers(input_size + read_size, hidden_size, layers, init)
            self.interface = L.Linear(
                units, interface_size(read_heads, memory_width), nobias=True, initialW=init
            )
            if output_size is not None:
                self.output = L.Linear(units, output_size, nobias=True, initialW=init)
                self.read_output = L.Linear(read_size, output_size, nobias=True, initialW=init)

    def initial_state(self, batch: int) -> DNCState:
        """All zeros, in the parameters' dtype, on the link's device."""
        n, w, r = self.memory_length, self.memory_width, self.read_heads
        units = self.layers * self.hidden_size
        shapes = DNCState(
            c=(units,),
            h=(units,),
            memory=(n, w),
            usage=(n,),
            precedence=(n,),
            link=(n, n),
            write_weights=(n,),
            read_weights=(r, n),
            read_vectors=(r, w),
        )
        dtype = self.interface.W.dtype
        return DNCState(*(self.xp.zeros((batch, *shape), dtype) for shape in shapes))

    def step(self, x: Array, state: DNCState) -> tuple[Array, DNCState]:
        """x (B, X) -> y (B, Y), and the state for the next step."""
        if not chainer.config.enable_backprop and self._runs_fused(self.engine):
            ys, state = self.sequence(x[None], state)
            return ys[0], state
        y, state, _, _ = self._step(x, state)
        return y, state

    def sequence(
        self,
        xs: Array,
        state: DNCState | None = None,
        reset: Any = None,
        engine: str | None = None,
    ) -> tuple[Array, DNCState]:
        """Run a whole sequence.

        Args:
            xs: (T, B, X).
            state: to start from; None is all zeros.
            reset: (T, B) of 0 and 1: 1 sets the whole state of lane b to
                zero before step t; None never does.
            engine: overrides the link's own.
        Returns:
            ys (T, B, Y) and the state after the last step.
        """
        state, reset = self._checked(xs, state, reset)
        if self._runs_fused(engine or self.engine):
            return self._fused(xs, state, reset)
        ys = []
        for t, x in enumerate(xs):
            if reset is not None:
                state = reset_state(state, reset[t])
            y, state, _, _ = self._step(x, state)
            ys.append(y)
        return F.stack(ys), state

    def _runs_fused(self, engine: str) -> bool:
        fused = checked_engine(engine) == 'fused'
        return fused and has_kernels(self.xp, self.memory_length)

    def _fused(self, xs, state, reset):
        out, state = fused_sequence(
            self._options(), self._arenas, xs, state, reset, self._weights()
        )
        return self._answers(out), state

    def _options(self) -> Options:
        return Options(self.link_sparsity, self.link_scaling, self.epsilon, self.recompute)

    def _weights(self) -> tuple[chainer.Parameter, ...]:
        """In the order of the fused engine."""
        layers = (p for linear in self.gates for p in (linear.W, linear.b))
        return (*layers, self.interface.W)

    def _answers(self, out: Array) -> Array:
        """(T, B, Y) of [h; r] of every step."""
        if not hasattr(self, 'output'):
            return out
        weight = F.concat([self.output.W, self.read_output.W])
        return F.linear(out, weight, n_batch_axes=2)

    def trace(
        self,
        xs: Any,
        state: DNCState | None = None,
        reset: Any = None,
        engine: str | None = None,
        names: Sequence[str] | None = None,
        steps: Any = None,
    ) -> dict[str, np.ndarray]:
        """Every internal of a sequence, or some of them, without gradients.

        The fused engine runs in short pieces and what is asked for is copied off its tape: beside
        what is returned this takes no more memory than a piece.

        Args:
            xs, state, reset, engine: as for `sequence`; xs may be (T, X), one lane, with reset
                (T,).
            names: of `dnc.trace.NAMES`; None is all. The link is B N N numbers a step.
            steps: which of the T steps are kept: a slice, or their numbers, -1 the last; None is
                all.
        Returns:
            NumPy arrays by name, each (steps kept, B, ...), or (steps kept, ...) for xs
            (T, X): the fields of DNCState after each step, of Interface and
            of Addresses, and 'output'.
        Raises:
            ValueError: a name is unknown, or a step is not among the T; or as for `sequence`.
        """
        single = xs.ndim == 2
        if single:
            xs = xs[:, None]
            reset = None if reset is None else reset[:, None]
        state, reset = self._checked(xs, state, reset)
        record = Record(names, len(xs), steps)
        fused = self._runs_fused(engine or self.engine)
        run = self._fused_trace if fused else self._reference_trace
        with chainer.using_config('enable_backprop', False):
            for start, arrays in run(xs, state, reset, record.names):
                record.add(start, arrays)
        return {k: v[:, 0] if single else v for k, v in record.arrays.items()}

    def _reference_trace(self, xs, state, reset, names):
        for t, x in enumerate(xs):
            if reset is not None:
                state = reset_state(state, reset[t])
            y, state, xi, addresses = self._step(x, state)
            named = {'output': y, **state._asdict(), **xi._asdict(), **addresses._asdict()}
            yield t, {name: named[name][None] for name in names}

    def _fused_trace(self, xs, state, reset, names):
        xs, *state = map(chainer.as_array, (xs, *state))
        weights = [p.array for p in self._weights()]
        for start, arrays in traced_sequence(
            self._options(), self._arenas, xs, DNCState(*state), reset, weights, 'link' in names
        ):
            if 'output' in names:
                arrays['output'] = self._answers(arrays['output'])
            yield start, arrays

    def _step(self, x: Array, state: DNCState) -> tuple[Array, DNCState, Interface, Addresses]:
        batch = len(state.h)
        # chi_t = [x_t; r_{t-1}^1; ..; r_{t-1}^R]
        chi = F.concat([x, F.reshape(state.read_vectors, (batch, -1))])
        c, h = deep_lstm(self.gates, chi, state.c, state.h)
        # xi_t = W_xi [h_t^1; ..; h_t^L]
        xi = parse_interface(self.interface(h), self.read_heads, self.memory_width)
        r, memory, addresses = access(
            xi, AccessState(*state[2:-1]), self._link_update(), self.epsilon
        )
        flat = F.reshape(r, (batch, -1))
        if hasattr(self, 'output'):
            y = self.output(h) + self.read_output(flat)  # y_t = nu_t + W_r [r_t^1; ..; r_t^R]
        else:
            y = F.concat([h, flat])
        return y, DNCState(c, h, *memory, r), xi, addresses

    def _link_update(self):
        if self.link_sparsity is None:
            return addressing.temporal_link
        return functools.partial(
            addressing.sparse_temporal_link,
            k=self.link_sparsity,
            scaled=self.link_scaling,
            epsilon=self.epsilon,
        )

    def _checked(self, xs, state, reset):
        lanes = None if state is None else state.memory.shape[0]
        check_sequence(xs, reset, lanes, self.input_size, self.interface.W.dtype)
        state = state or self.initial_state(xs.shape[1])
        return state, None if reset is None else self.xp.asarray(reset)


def _new_layers(input_size: int, hidden_size: int, layers: int, init: Any) -> chainer.ChainList:
    """The deep LSTM's weights: layer 0 has no lower layer's h to read."""
    bias = np.zeros(4 * hidden_size)
    bias[hidden_size : 2 * hidden_size] = 1  # forget gate
    return chainer.ChainList(
        *(
            L.Linear(
                input_size + hidden_size * (1 + (layer > 0)),
                4 * hidden_size,
                initialW=init,
                initial_bias=bias,
            )
            for layer in range(layers)
        )
    )
