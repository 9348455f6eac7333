"""Strided convolutions and their adjoints on the CPU, channels last.

A convolution maps a *large* picture (B, H, W, G) to a *small* one
(B, h, w, S) with weights (S, G, k, k), Chainer's layout. A transposed
convolution is its adjoint, and the same three operations serve both:

    convolution            transposed convolution    operation
    forward                gradient of its input     ``shrink``
    gradient of its input  forward                   ``grow``
    gradient of weights    gradient of weights       ``weight_gradient``

``shrink`` and ``weight_gradient`` read the pictures in place: with the
channels last, a patch is k runs of k G contiguous numbers, and the stride is
only a table of offsets. ``grow`` makes the patches of a few pictures in a
scratch that stays in the cache and adds them where they overlap. Bias,
rectification and its mask are applied while a result is in the cache. Every
number is the same whatever the number of threads.
"""

from chainer_wm.convolution.operations import (
    Layer,
    channel_sums,
    grow,
    shrink,
    weight_gradient,
)

__all__ = ['Layer', 'channel_sums', 'grow', 'shrink', 'weight_gradient']
