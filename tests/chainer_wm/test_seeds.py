"""Random streams: named, and no run's are another's."""

import numpy as np
import pytest

from chainer_wm.seeds import derived_seed, stream


def first(*name):
    return stream(*name).random()


def test_the_same_name_gives_the_same_numbers_and_no_other_does():
    names = [
        (seed, purpose, *numbers)
        for seed in (0, 1)
        for purpose in ('score', 'report')
        for numbers in ((), (0,), (1,), (0, 0), (0, 1))
    ]
    found = [first(*name) for name in names]
    assert found == [first(*name) for name in names]
    assert len(set(found)) == len(names)


def test_a_derived_seed_is_no_other_run_s():
    found = [
        derived_seed(seed, purpose, number)
        for seed in range(5)
        for purpose in ('a', 'b')
        for number in range(5)
    ]
    assert len(set(found)) == 50
    assert min(found) > 1000 and max(found) < 2**31
    np.random.RandomState(max(found))  # takes it


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match=r'\(-1, 0\)'):
        stream(-1, 'a', 0)
    with pytest.raises(ValueError, match=r'\(0, -2\)'):
        derived_seed(0, 'a', -2)
