"""Film strips, contact sheets and GIFs: what they show."""

import numpy as np
import pytest
from PIL import Image, ImageSequence
from plots_case import BLUE, GREEN, RED, charts, film, lines, noise, pixels

from chainer_wm import plots
from chainer_wm.plots import films, frames

__all__ = ['charts']  # a fixture

# -- strips ----------------------------------------------------------------


def test_reconstructions_show_every_pixel_of_both(tmp_path):
    plots.reconstructions(tmp_path / 'a.png', film(5, RED), film(5, GREEN), columns=2, scale=2)
    each = (16 * 2 * 2) ** 2  # scale 2, on a page of twice the pixels
    assert pixels(tmp_path / 'a.png', RED) == 5 * each
    assert pixels(tmp_path / 'a.png', GREEN) == 5 * each


def test_reconstructions_must_match(tmp_path):
    with pytest.raises(ValueError, match=r'\(2, .*\(3, '):
        plots.reconstructions(tmp_path / 'a.png', noise(2), noise(3))


def test_the_dream_is_shown_from_the_end_of_its_context(tmp_path):
    plots.open_loop(tmp_path / 'a.png', film(8, RED), film(8, BLUE), film(8, GREEN), 5)
    each = (16 * 2) ** 2
    assert pixels(tmp_path / 'a.png', RED) == 8 * each
    assert pixels(tmp_path / 'a.png', BLUE) == 7 * each  # not the first
    assert pixels(tmp_path / 'a.png', GREEN) == 3 * each  # steps 5, 6, 7


def test_a_dream_without_its_context_draws_the_same(tmp_path):
    truth, dream = noise(8), noise(8, seed=1)
    plots.open_loop(tmp_path / 'a.png', truth, truth, dream, 5)
    plots.open_loop(tmp_path / 'b.png', truth, truth, dream[5:], 5)
    assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()


def test_errors_of_a_strip_are_those_of_its_rows(tmp_path, charts):
    plots.open_loop(
        tmp_path / 'a.png',
        film(6, (10, 10, 10)),
        film(6, (13, 13, 13)),
        film(6, (30, 10, 10)),
        2,
        done={'open-loop': [0.1, 0.2, 0.3, 0.4]},
        first_step=100,
    )
    axes = next(a for a in charts[0].axes if 'error' in a.get_ylabel())
    x, one_step = axes.lines[0].get_data()
    assert x.tolist() == list(range(100, 106))
    assert np.isnan(one_step[0])
    np.testing.assert_allclose(one_step[1:], 3)
    dream = axes.lines[1].get_ydata()
    assert np.isnan(dream[:2]).all()
    np.testing.assert_allclose(dream[2:], (400 / 3) ** 0.5)
    _, chance = lines(charts[0], 'open-loop')
    np.testing.assert_array_equal(chance, [np.nan] * 2 + [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize('context', [0, 4])
def test_a_dream_needs_a_context_and_a_future(tmp_path, context):
    with pytest.raises(ValueError, match=f'{context} of 4'):
        plots.open_loop(tmp_path / 'a.png', noise(4), noise(4), noise(4), context)


def test_a_longer_p_done_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'5 steps.* 4'):
        plots.open_loop(tmp_path / 'a.png', *[noise(4)] * 3, 2, done={'one-step': np.zeros(5)})


def test_a_sheet_needs_as_many_words_as_frames(tmp_path):
    with pytest.raises(ValueError, match='2 captions for 3'):
        plots.contact_sheet(tmp_path / 'a.png', noise(3), ['a', 'b'])
    with pytest.raises(ValueError, match='1 marks for 3'):
        plots.contact_sheet(tmp_path / 'a.png', noise(3), ['a'] * 3, marks=['died'])


# -- films -----------------------------------------------------------------


def shown(path):
    """Frames of a GIF as (T, H, W, 3), and its length in milliseconds."""
    with Image.open(path) as picture:
        parts = [
            (np.asarray(part.convert('RGB')), part.info['duration'])
            for part in ImageSequence.Iterator(picture)
        ]
    return np.stack([part for part, _ in parts]), sum(d for _, d in parts)


def test_a_gif_plays_all_frames_at_the_speed_of_the_game(tmp_path):
    written = plots.gif(tmp_path / 'a.gif', noise(20), fps=35, scale=3)
    played, milliseconds = shown(tmp_path / 'a.gif')
    assert played.shape == (20, 48, 48, 3)
    assert milliseconds == 20 * 30  # 35 fps in hundredths of a second
    size = (tmp_path / 'a.gif').stat().st_size
    assert written == plots.Animation(20, 1, size)


def test_a_gif_keeps_colours_and_pixels(tmp_path):
    frame = film(3, (70, 60, 50))
    frame[1, 5, 7] = (255, 255, 90)  # a fireball far away
    frame[2] = (30, 90, 30)
    plots.gif(tmp_path / 'a.gif', frame, scale=2)
    played, _ = shown(tmp_path / 'a.gif')
    error = np.abs(played.astype(int) - frames.enlarged(frame, 2))
    assert error.max() <= 2


def test_a_big_film_leaves_out_frames_but_keeps_its_length(tmp_path):
    whole = plots.gif(tmp_path / 'a.gif', noise(40))
    small = plots.gif(tmp_path / 'b.gif', noise(40), max_bytes=whole.size // 3)
    assert small.size <= whole.size // 3
    assert small.every >= 3
    assert small.frames == -(-40 // small.every)
    _, full = shown(tmp_path / 'a.gif')
    _, thin = shown(tmp_path / 'b.gif')
    assert abs(thin - full) <= 0.1 * full + 30 * small.every


def test_captions_stand_below_the_frames(tmp_path):
    plots.gif(tmp_path / 'a.gif', film(3, RED, 32), captions='game')
    played, _ = shown(tmp_path / 'a.gif')
    below = played[:, 32 * 4 :]
    assert below.shape[1] > 10
    assert below.max() > 200  # ink on black
    assert np.median(below) == 0
    with pytest.raises(ValueError, match='2 captions for 3 frames'):
        plots.gif(tmp_path / 'a.gif', film(3, RED), captions=['a', 'b'])


def test_of_two_films_the_shorter_one_stays_dimmed(tmp_path):
    plots.side_by_side(tmp_path / 'a.gif', film(6, RED, 32), film(3, GREEN, 32), scale=2)
    played, milliseconds = shown(tmp_path / 'a.gif')
    assert milliseconds == 6 * 30
    assert played.shape[2] == 2 * 64 + 2
    left, right = played[:, :64, :64], played[:, :64, 66:]
    assert np.abs(left.astype(int) - RED).max() <= 3
    assert np.abs(right[0].astype(int) - GREEN).max() <= 3
    assert 80 < right[-1, ..., 1].max() < 140
    assert (played[:, :, 64:66] < 10).all()


def test_films_in_a_row_have_words_of_their_own(tmp_path):
    three = [film(4, colour, 32) for colour in (RED, GREEN, RED)]
    plots.gif_row(tmp_path / 'a.gif', three, ['one', ['a', 'b', 'c', 'd'], 'three'], scale=2)
    played, _ = shown(tmp_path / 'a.gif')
    assert played.shape[0] == 4 and played.shape[2] == 3 * 64 + 2 * 2
    assert np.abs(played[:, :64, 66:130].astype(int) - GREEN).max() <= 3
    below = played[:, 64:]
    assert (below[0, :, 66:130] != below[1, :, 66:130]).any()  # another letter
    assert below[0, :, 132:].max() > 100
    with pytest.raises(ValueError, match='2 captions for 3 films'):
        plots.gif_row(tmp_path / 'a.gif', three, ['one', 'two'])


def test_films_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match='of one size'):
        plots.side_by_side(tmp_path / 'a.gif', noise(2), noise(2, 8))
    with pytest.raises(ValueError, match='fps 0'):
        plots.gif(tmp_path / 'a.gif', noise(2), fps=0)


def test_a_film_in_memory_has_at_most_so_many_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(films, 'MAX_FRAMES', 10)
    assert plots.gif(tmp_path / 'a.gif', noise(35)).every == 4
