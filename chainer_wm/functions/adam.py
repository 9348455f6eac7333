"""Adam in one pass over memory on the CPU."""

from __future__ import annotations

from typing import Any

import chainer
import numba
import numpy as np
from chainer.optimizers import adam

from dnc.kernel_cache import cached_njit

_BLOCK = 1 << 15  # numbers one core works on at a time
_SHARED = 1 << 17  # fewer numbers than this are not worth a second core


class AdamRule(adam.AdamRule):
    """Chainer's rule; on the CPU its steps are taken in a single pass.

    AMSGrad, AdaBound, half precision and parameters that are not contiguous take Chainer's own
    steps, as does every other device.
    """

    def __init__(self, *args: Any, gradient_clip: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gradient_clip = gradient_clip

    def update_core_cpu(self, param: chainer.Parameter) -> None:
        if param.grad is None:
            return
        hp, state = self.hyperparam, self.state
        arrays = param.array, param.grad, state['m'], state['v']
        if hp.amsgrad or hp.adabound or not _plain(arrays):
            self._clip(np, param.grad)
            super().update_core_cpu(param)
            return
        real = param.dtype.type
        self._check_eps(real)
        clip = np.inf if self.gradient_clip is None else self.gradient_clip
        step = _step if param.size < _SHARED else _shared_step
        step(
            *(array.reshape(-1) for array in arrays),
            *map(
                real,
                (
                    clip,
                    1.0 - hp.beta1,
                    1.0 - hp.beta2,
                    self.alpha_t,
                    hp.eps,
                    1.0 - hp.eta * hp.weight_decay_rate,
                    hp.eta,
                ),
            ),
        )

    def update_core_gpu(self, param: chainer.Parameter) -> None:
        if param.grad is not None:
            self._clip(param.device.xp, param.grad)
        super().update_core_gpu(param)

    def _clip(self, xp: Any, grad: Any) -> None:
        if self.gradient_clip is not None:
            xp.clip(grad, -self.gradient_clip, self.gradient_clip, out=grad)


class Adam(adam.Adam):
    """``chainer.optimizers.Adam``, the same numbers in less time.

    Args:
        gradient_clip: gradients are clipped to +- this, element by element,
            as by the hook ``GradientHardClipping``; None leaves them. (``param.grad`` itself may
            or may not be clipped.)
        others: as for ``chainer.optimizers.Adam``. Snapshots are interchangeable.

    Raises:
        ValueError: if ``gradient_clip`` is not positive.
    """

    def __init__(self, *args: Any, gradient_clip: float | None = None, **kwargs: Any) -> None:
        if gradient_clip is not None and not gradient_clip > 0:
            raise ValueError(
                f'gradient_clip is {gradient_clip} but must be positive: use None for no clipping'
            )
        super().__init__(*args, **kwargs)
        self.gradient_clip = gradient_clip

    def create_update_rule(self) -> AdamRule:
        return AdamRule(self.hyperparam, gradient_clip=self.gradient_clip)


def _plain(arrays: tuple[Any, ...]) -> bool:
    return all(
        isinstance(array, np.ndarray)
        and array.flags.c_contiguous
        and array.dtype == arrays[0].dtype
        and array.itemsize >= 4
        for array in arrays
    )


@cached_njit(nogil=True, error_model='numpy')
def _step(param, grad, m, v, clip, rate1, rate2, alpha, eps, keep, eta):
    """Chainer's operations in Chainer's order, so that no bit differs."""
    for i in range(param.size):
        g = grad[i]
        g = clip if g > clip else -clip if g < -clip else g
        m[i] += rate1 * (g - m[i])  # m_t = beta1 m_{t-1} + (1 - beta1) g
        v[i] += rate2 * (g * g - v[i])  # v_t = beta2 v_{t-1} + (1 - beta2) g^2
        step = alpha / (np.sqrt(v[i]) + eps) * m[i]  # alpha_t corrects the bias of m and v
        param[i] = keep * param[i] - eta * step


@cached_njit(nogil=True, parallel=True)
def _shared_step(param, grad, m, v, clip, rate1, rate2, alpha, eps, keep, eta):
    for block in numba.prange(-(-param.size // _BLOCK)):
        i, j = block * _BLOCK, min(param.size, (block + 1) * _BLOCK)
        _step(param[i:j], grad[i:j], m[i:j], v[i:j], clip, rate1, rate2, alpha, eps, keep, eta)
