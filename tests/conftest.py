"""Prepares Chainer before any test imports it; GPU tests need a GPU."""

import dnc.runtime  # noqa: F401

import chainer
import numpy as np
import pytest

from chainer_wm import devices


def pytest_collection_modifyitems(items):
    asked = [item for item in items if item.get_closest_marker('gpu')]
    if not asked:
        return
    try:
        devices.get_device('@cupy:0')
    except devices.DeviceError as reason:
        for item in asked:
            item.add_marker(pytest.mark.skip(reason=str(reason)))


@pytest.fixture(autouse=True)
def single_precision():
    """Scripts that run in the test's process may choose another one."""
    with chainer.using_config('dtype', np.float32):
        yield
