"""Archives of arrays and settings: what was written, whatever order it came in."""

import numpy as np

from chainer_wm.files.archives import read_archive, write_archive


def test_the_same_arrays_make_the_same_bytes(tmp_path):
    arrays = {name: np.random.default_rng(n).random(3) for n, name in enumerate('cab')}
    one, other = tmp_path / 'one.npz', tmp_path / 'other.npz'
    write_archive(one, 'thing/1', {'size': 3}, arrays)
    write_archive(other, 'thing/1', {'size': 3}, dict(reversed(arrays.items())))
    assert one.read_bytes() == other.read_bytes()
    settings, found = read_archive(other, 'thing/1')
    assert settings['size'] == 3 and set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
