"""Single episodes as pictures; paths and episodes that are not there."""

import numpy as np
import pytest
from inspector_case import alter, ask, make_store, run, store
from PIL import Image

from chainer_wm.inspector import pictures

__all__ = ['run', 'store']  # fixtures

# -- pictures --------------------------------------------------------------


def test_a_contact_sheet_shows_each_nth_step_and_the_last(store, capsys, tmp_path, monkeypatch):
    seen = {}
    real = pictures.plots.contact_sheet

    def catch(path, frames, **options):
        seen.update(options, frames=frames)
        real(path, frames, **options)

    monkeypatch.setattr(pictures.plots, 'contact_sheet', catch)
    out = tmp_path / 'sheet.png'
    status, said, _ = ask(
        capsys, store.path, '--frames', 2, '--out', out, '--every', 4, '--columns', 2
    )
    assert status == 0
    assert str(out) in said
    rollout = store.read(2)
    assert seen['captions'] == ['t 0', 't 4', 't 8', 't 9']
    assert seen['marks'] == ['', '', '', 'game over']
    assert '10 steps, return 10, seed 102' in seen['title']
    assert seen['notes'][0].endswith('+1')
    np.testing.assert_array_equal(seen['frames'], rollout.observations[[0, 4, 8, 9]])
    with Image.open(out) as picture:
        assert picture.width == 2 * (128 + 8) + 8


def test_a_long_episode_fits_on_a_sheet_by_itself(tmp_path, capsys):
    store = make_store(tmp_path / 'store', lengths=[700])
    out = tmp_path / 'sheet.png'
    assert ask(capsys, store.path, '--frames', 0, '--out', out)[0] == 0
    with Image.open(out) as picture:
        assert picture.height < 1500


def test_a_gif_of_an_episode(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = ask(capsys, run, '--gif', 1, '--scale', 2)
    assert status == 0
    assert 'episode-000001.gif (5 frames' in out
    with Image.open('episode-000001.gif') as picture:
        assert picture.n_frames == 5
        assert picture.width == 128


def test_actions_in_words():
    words = [pictures.action_words(np.array([a])) for a in (-0.4, 0.3, 0.4)]
    assert words == ['◀', '●', '▶']
    assert pictures.action_words(np.array([0.25, -1])) == '0.2 -1.0'


# -- errors ----------------------------------------------------------------


def test_an_absent_episode_is_told_with_those_there_are(store, capsys):
    for flag in ('--frames', '--gif'):
        status, _, error = ask(capsys, store.path, flag, 99)
        assert status == 2
        assert 'episode 99 is not in' in error
        assert 'it has 0 to 2; is it still being collected?' in error


def test_a_damaged_episode_is_not_drawn(store, capsys, tmp_path):
    alter(store, store.path / 'episodes' / '000001.npz')
    out = tmp_path / 'a.gif'
    status, _, error = ask(capsys, store.path, '--gif', 1, '--out', out)
    assert status == 2
    assert 'episode 1' in error and 'altered' in error
    assert not out.exists()


@pytest.mark.parametrize(
    ('flags', 'said'),
    [
        (('--frames', 0, '--gif', 1, '--out', 'x'), '--out names one file'),
        (('--frames', 0, '--every', 0), '--every 0'),
        (('--frames', 0, '--columns', 0), '--columns 0'),
        (('--gif', 0, '--fps', 0), '--fps 0'),
        (('--gif', 0, '--scale', 0), '--scale 0'),
    ],
)
def test_flags_out_of_range(store, capsys, flags, said):
    status, _, error = ask(capsys, store.path, *flags)
    assert status == 2
    assert said in error


def test_paths_that_are_nothing(tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('')
    for name, said in (
        ('absent', 'does not exist'),
        ('file', 'is a file'),
        ('empty', 'neither a rollout store'),
    ):
        status, _, error = ask(capsys, tmp_path / name)
        assert status == 2
        assert said in error


def test_several_stores_are_named(run, capsys):
    make_store(run / 'evaluation' / 'films', [2])
    status, _, error = ask(capsys, run, '--gif', 0)
    assert status == 2
    assert 'evaluation/films' in error and 'smoke-dnc/rollouts' in error
