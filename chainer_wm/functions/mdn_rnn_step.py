"""One step of a dream on the CPU: LSTM, head and sample in one pass.

Lanes go through in groups that stay in the cache: the gates and the mixtures of a group are used
up where they were computed. The weights are rearranged once, for all the steps of a dream.
"""

from __future__ import annotations

import numba
import numpy as np

from chainer_wm.functions.arena import Arena
from chainer_wm.functions.elementary import OPTIONS
from chainer_wm.functions.lstm_kernels import _forward_row, _product, pack
from chainer_wm.functions.mixture_kernels import _sample_row
from dnc.kernel_cache import cached_njit

CHUNK = 112  # lanes of a group


class PackedStep:
    """``MDNRNN.sample`` for an LSTM, with weights as they were when made.

    Args:
        W: (4H, H + X + 1) of the LSTM.
        head, bias: (O, H) and (O,) of the head, O = 3KZ, plus 1 if death is predicted.
        latents: Z.
        mixtures: K.
    """

    def __init__(self, W, head, bias, latents: int, mixtures: int) -> None:
        self._arena = Arena()
        self._panels = pack(W, self._arena)
        self._head = pack(head, self._arena)
        self._bias = bias.copy()
        self._depth = W.shape[1]
        self._mixed = 3 * mixtures * latents

    def __call__(self, z, a, c, h, restart, noise, stream, temperature):
        """Arrays of the weights' dtype; see ``MDNRNN.sample``.

        Args:
            z: (B, Z). a: (B, A). c, h: (B, H).
            restart: (B,) flags, or None where M does not read them.
            noise, stream, temperature: as for ``MDNRNN.sample``.

        Returns:
            (z, done_logit, c, h); done_logit (B,) is None where death is not predicted.
        """
        take, dtype, lanes = self._arena.take, z.dtype, len(z)
        parts = max(1, min(numba.get_num_threads(), lanes // 4))
        ends = len(self._bias) > self._mixed
        flags = [] if restart is None else [restart[:, None]]
        x = np.concatenate((z, a, *flags, np.ones((lanes, 1), dtype)), 1)
        after = z_after, c_after, h_after, logit = (
            np.empty_like(z),
            np.empty_like(c),
            np.empty_like(h),
            np.empty(lanes if ends else 0, dtype),
        )
        staged = take((parts, CHUNK, self._depth), dtype)
        gates, out = (
            take((parts, CHUNK, len(panels) * panels.shape[2]), dtype)
            for panels in (self._panels, self._head)
        )
        c, h = np.ascontiguousarray(c), np.ascontiguousarray(h)
        _step(
            *(x, c, h, staged, self._panels, gates),
            *(self._head, self._bias, self._mixed, out),
            *(*noise, stream, temperature, *after),
        )
        return z_after, logit if ends else None, c_after, h_after


@cached_njit(parallel=True, **OPTIONS)
def _step(
    x, c, h, staged, panels, gates, head, bias, mixed, out,
    u, eps, stream, tau, z_after, c_after, h_after, logit,
):  # fmt: skip
    lanes, inputs = x.shape
    parts, depth = len(gates), staged.shape[2]
    size, stride, width = c.shape[1], gates.shape[2], out.shape[2]
    one, ones = c.dtype.type(1), np.ones(size, c.dtype)
    flat_staged, flat_h = staged.reshape(-1), h_after.reshape(-1)
    flat_gates, flat_out = gates.reshape(-1), out.reshape(-1)
    latents = z_after.shape[1]
    for part in numba.prange(parts):
        low, high = part * lanes // parts, (part + 1) * lanes // parts
        scratch = np.empty((4 + mixed // (3 * latents), latents), c.dtype)
        for first in range(low, high, CHUNK):
            rows = min(CHUNK, high - first)
            for r in range(rows):
                row = staged[part, r]
                for j in range(size):
                    row[j] = h[first + r, j]
                for j in range(inputs):
                    row[size + j] = x[first + r, j]
            _product(
                *(flat_staged, part * CHUNK * depth, panels),
                *(flat_gates, part * CHUNK * stride, (depth, stride), rows),
            )
            for r in range(rows):
                n = first + r
                _forward_row(
                    *(gates[part, r], c[n], one, one, ones),
                    *(c_after[n], h_after[n], staged[part, r]),
                )
            _product(
                *(flat_h, first * size, head),
                *(flat_out, part * CHUNK * width, (size, width), rows),
            )
            for r in range(rows):
                n = first + r
                mixture, noise = out[part, r], stream[n]
                if len(logit):
                    logit[n] = mixture[mixed] + bias[mixed]
                _sample_row(
                    *(mixture, bias[:mixed], u[noise], eps[noise], tau[n]), *(z_after[n], scratch)
                )
