"""Memory is handed out again only when nobody can still see it."""

import copy
import pickle

import numpy as np
import pytest

from chainer_wm.functions.arena import Arena


def where(array):
    return array.__array_interface__['data'][0]


def test_memory_comes_back_when_it_is_free():
    arena = Arena()
    first = arena.take((3, 5), np.float32)
    place = where(first)
    assert where(arena.take((3, 5), np.float32)) != place
    del first
    assert where(arena.take((5, 3), np.float32)) == place


@pytest.mark.parametrize('view', [lambda x: x[1:], lambda x: x.T, lambda x: x.reshape(-1)[3:4]])
def test_a_view_keeps_its_memory(view):
    arena = Arena()
    kept = view(arena.take((3, 5), float))
    kept[...] = 7
    for _ in range(3):
        arena.take((3, 5), float).fill(0)
    assert (kept == 7).all()


@pytest.mark.parametrize('shape', [(), (0,), (1,), (2, 0, 3), (33, 2), 5])
@pytest.mark.parametrize('dtype', [np.float32, 'f8', bool])
def test_arrays_are_plain_and_aligned(shape, dtype):
    array = Arena().take(shape, dtype)
    assert array.shape == np.empty(shape).shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.size == 0 or where(array) % 64 == 0


def test_any_number_of_sizes_needs_bounded_memory():
    arena = Arena()
    for n in range(1, 2000):
        arena.take(n, np.uint8)
    total = sum(b.size for blocks in arena._blocks.values() for b in blocks)
    assert total < 6000


def test_copies_start_empty():
    arena = Arena()
    array = arena.take(3, float)
    for other in (copy.copy(arena), copy.deepcopy(arena), pickle.loads(pickle.dumps(arena))):
        assert where(other.take(3, float)) != where(array)
