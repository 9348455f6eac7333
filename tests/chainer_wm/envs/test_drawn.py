"""Pictures of rollouts that hold numbers."""

import numpy as np
import pytest

from chainer_wm.envs.drawn import as_pictures
from chainer_wm.envs.pommerman_games import PommermanGames
from chainer_wm.envs.pommerman_pictures import draw_board


def test_frames_stay_and_pommermans_numbers_become_boards():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert as_pictures('any', frames) is frames
    games = PommermanGames(1, 'ffa', 9)
    games.reset([3])
    found = as_pictures('Pommerman', games.features(0))
    np.testing.assert_array_equal(found[0], draw_board(games.snapshot()['board']))


@pytest.mark.parametrize(
    ('game', 'shape', 'words'),
    [
        ('Pommerman', (3, 371), '371.*372'),
        ('Chess', (3, 372), r'\(3, 372\).*Chess.*Pommerman'),
        ('', (3, 8, 8), 'unknown game'),
    ],
)
def test_what_cannot_be_drawn_is_named(game, shape, words):
    with pytest.raises(ValueError, match=words):
        as_pictures(game, np.zeros(shape, np.uint8))
