"""Prepares Chainer before any test imports it."""

import dnc.runtime  # noqa: F401

import chainer
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def single_precision():
    """Scripts that run in the test's process may choose another one."""
    with chainer.using_config('dtype', np.float32):
        yield
