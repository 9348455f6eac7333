"""dSprites: the images that were published, the order of the index, the file's format."""

import pathlib

import numpy as np
import pytest

from chainer_wm.tasks import sprites
from chainer_wm.tasks.sprites import COUNTS, IMAGES, SIZE, classes_of, draw, index_of, values_of

RECORDINGS = pathlib.Path(__file__).parents[4] / 'shared/recordings'


def recorded(name):
    path = RECORDINGS / name
    if not path.exists():
        pytest.skip(f'{path} is not there: real images of dSprites, not part of the project')
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def test_the_frames_of_the_animation_are_drawn_exactly():
    real = recorded('dsprites_real_gif320.npz')
    drawn = draw(real['index_in_dsprites'])
    assert (drawn == real['imgs']).all(axis=(1, 2)).sum() == len(drawn) == 320


def test_the_figures_of_the_notebook_are_drawn_but_for_6_pixels():
    real = recorded('dsprites_real_notebook43.npz')
    wrong = (draw(index_of(real['latents_classes'][:, 1:])) != real['imgs']).sum(axis=(1, 2))
    assert (wrong == 0).sum() == 38 and wrong.sum() == 6 and len(wrong) == 43


def test_index_and_latents_are_those_of_the_data_set():
    real = recorded('dsprites_real_gif320.npz')
    classes = real['latents_classes'][:, 1:]  # without the colour
    np.testing.assert_array_equal(index_of(classes), real['index_in_dsprites'])
    np.testing.assert_array_equal(classes_of(real['index_in_dsprites']), classes)
    np.testing.assert_array_equal(values_of(classes), real['latents_values'][:, 1:])


def test_the_index_is_the_classes_times_the_published_bases():
    assert np.prod(COUNTS) == IMAGES == 737280
    index = np.random.default_rng(0).integers(IMAGES, size=(5, 40))
    classes = classes_of(index)
    assert classes.shape == (5, 40, 5)
    np.testing.assert_array_equal(classes @ [245760, 40960, 1024, 32, 1], index)
    np.testing.assert_array_equal(index_of(classes), index)


def inside(shape, u, v):
    """Whether points are inside the outline at scale 1, corner by corner."""
    if shape == 1:
        return (u / 12.766) ** 2 + (v / 7.2135) ** 2 < 1
    if shape == 0:
        return np.maximum(abs(u), abs(v)) < 9.598
    corners = sprites.outline(2)
    odd = np.zeros(u.shape, bool)
    for (u0, v0), (u1, v1) in zip(corners, np.roll(corners, -1, axis=0)):
        odd ^= ((v0 > v) != (v1 > v)) & (u < u0 + (v - v0) * (u1 - u0) / (v1 - v0))
    return odd


@pytest.mark.parametrize('shape', range(3))
def test_a_pixel_is_set_where_its_centre_is_inside(shape):
    rng = np.random.default_rng(shape)
    i, j = np.indices((SIZE, SIZE))
    for classes in rng.integers(COUNTS, size=(40, 5)):
        classes[0] = shape
        _, scale, angle, x, y = values_of(classes)
        dx, dy = j + 0.5 - 16 - 32 * x, i + 0.5 - 16 - 32 * y
        u = (np.cos(angle) * dx - np.sin(angle) * dy) / scale
        v = (np.sin(angle) * dx + np.cos(angle) * dy) / scale
        expected = inside(shape, u, v)
        np.testing.assert_array_equal(draw(index_of(classes)), expected)
        assert 40 < expected.sum() < 400


def test_images_of_any_shape_of_index_and_none():
    index = np.arange(6).reshape(2, 3) * 1000
    images = sprites.Sprites().images(index)
    assert images.shape == (2, 3, 64, 64) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[1, 2], draw(index[1, 2]))
    assert draw(np.zeros(0, int)).shape == (0, 64, 64)


def test_the_first_and_last_orientation_are_one_image():
    classes = np.tile([2, 5, 0, 9, 20], (2, 1))
    classes[1, 2] = 39
    assert np.array_equal(*draw(index_of(classes)))


@pytest.mark.parametrize('index', [-1, IMAGES])
def test_no_such_image(index):
    with pytest.raises(ValueError, match=f'expected 0 to {IMAGES - 1}'):
        draw(index)


def test_six_factors_are_refused():
    with pytest.raises(ValueError, match='is the colour still there'):
        index_of(np.zeros((3, 6), int))


def write(path, counts=(3, 1, 2, 2, 1), **changes):
    """A file like the original's, with an unreadable pickle in it."""
    total = int(np.prod(counts))
    classes = np.stack(np.unravel_index(np.arange(total), counts), axis=1)
    images = np.random.default_rng(0).integers(2, size=(total, 64, 64), dtype=np.uint8)
    arrays = {
        'imgs': images,
        'latents_classes': np.insert(classes, 0, 0, axis=1),
        'latents_values': np.zeros((total, 6)),
    }
    np.savez_compressed(path, **{**arrays, **changes})
    return images, counts


def test_the_images_of_a_file_a_bit_per_pixel(tmp_path):
    images, counts = write(tmp_path / 'a.npz')
    packed = sprites.read_file(tmp_path / 'a.npz', counts)
    assert packed.shape == (12, 512)
    np.testing.assert_array_equal(np.unpackbits(packed, axis=1).reshape(-1, 64, 64), images)


@pytest.mark.parametrize(
    'changes, said',
    [
        ({'imgs': np.zeros((12, 64, 64))}, r'imgs is float64 \(12, 64, 64\), expected uint8'),
        ({'imgs': np.zeros((11, 64, 64), np.uint8)}, r'\(11, 64, 64\), expected uint8 \(12,'),
        ({'imgs': np.full((12, 64, 64), 255, np.uint8)}, 'not of 0 and 1'),
        ({'latents_classes': np.zeros((12, 6), int)}, 'not in the order of dSprites'),
    ],
)
def test_other_arrays_are_refused(tmp_path, changes, said):
    _, counts = write(tmp_path / 'a.npz', **changes)
    with pytest.raises(ValueError, match=said):
        sprites.read_file(tmp_path / 'a.npz', counts)


def test_no_archive_and_another_archive_are_refused(tmp_path):
    (tmp_path / 'a.npz').write_bytes(b'nothing')
    np.savez(tmp_path / 'b.npz', other=np.zeros(3))
    for name in ('a.npz', 'b.npz'):
        with pytest.raises(ValueError, match='no archive in the format of dSprites'):
            sprites.read_file(tmp_path / name)


def test_a_missing_or_another_file_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match='get dsprites_ndarray.*from https://github.com'):
        sprites.Sprites(tmp_path / 'a.npz')
    write(tmp_path / 'a.npz')
    with pytest.raises(ValueError, match=f'has MD5 [0-9a-f]+, but .* has {sprites.MD5}'):
        sprites.Sprites(tmp_path / 'a.npz')


def test_a_file_is_read_by_index(tmp_path, monkeypatch):
    images, counts = write(tmp_path / 'a.npz')
    monkeypatch.setattr(sprites, '_read', lambda path: sprites.read_file(path, counts))
    source = sprites.Sprites(tmp_path / 'a.npz')
    np.testing.assert_array_equal(source.images([[3, 7]]), images[[[3, 7]]])
