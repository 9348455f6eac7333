"""Prepares Chainer before any test imports it; GPU tests need a GPU."""

import dnc.runtime  # noqa: F401

import chainer
import numpy as np
import pytest

from chainer_wm import devices

# What takes longest begins, the DNC's kernels in one process beside whole runs in the other:
# where both need a kernel at once, both compile it. What is short fills up the end.
FIRST = (
    'test_fused.py',
    'test_doom_take_cover.py',
    'test_take_cover_variants.py',
    'test_take_cover_rounds.py',
)


def _place(item):
    name = item.path.name
    if name in FIRST:
        return FIRST.index(name)
    return len(FIRST) + ('experiments' not in item.path.parts)


def pytest_collection_modifyitems(items):
    items.sort(key=_place)
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
