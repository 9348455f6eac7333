"""The cross-entropy of binary images against Chainer's, and its gradient."""

from __future__ import annotations

import chainer
import chainer.functions as F
import numpy as np
import pytest
from chainer import gradient_check

from chainer_wm.functions.binary_cross_entropy import BinaryCrossEntropy


def example(dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=8, size=(5, 33)).astype(dtype)
    logits[0, :6] = 0, 100, -100, 1e-6, -1e-6, 500
    targets = rng.integers(2, size=logits.shape).astype(np.uint8)
    return logits, targets, np.array([True, False, True, True, False])


@pytest.mark.parametrize(('dtype', 'rtol'), [('f', 2e-6), ('d', 1e-14)])
@pytest.mark.parametrize('some', [False, True])
def test_it_is_chainers_cross_entropy(dtype, rtol, some):
    logits, targets, counts = example(dtype)
    ours, theirs = chainer.Variable(logits), chainer.Variable(logits.astype(np.float64))
    (total,) = BinaryCrossEntropy(targets, counts if some else None).apply((ours,))
    wanted = targets.astype(np.int32)
    if some:
        wanted[~counts] = -1
    expected = F.sigmoid_cross_entropy(theirs, wanted, normalize=False) * len(logits)
    (total * 0.5).backward()
    (expected * 0.5).backward()
    assert total.dtype == ours.grad.dtype == np.dtype(dtype)
    np.testing.assert_allclose(total.array, expected.array, rtol=rtol)
    np.testing.assert_allclose(ours.grad, theirs.grad, rtol=rtol, atol=rtol)


def test_the_gradient_is_that_of_finite_differences():
    logits, targets, counts = example('d')
    logits = logits[:, 6:] / 4

    def total(x):
        return BinaryCrossEntropy(targets[:, 6:], counts).apply((x,))[0]

    gradient_check.check_backward(total, logits, None, atol=1e-6, rtol=1e-6, dtype='d')


def test_targets_of_other_images_are_refused():
    logits, targets, _ = example('f')
    with pytest.raises(chainer.utils.type_check.InvalidType):
        BinaryCrossEntropy(targets[:, 1:]).apply((logits,))
