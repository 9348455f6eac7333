"""Who knows the order of two keys: the guide, the measure, the script."""

import json

import chainer
import numpy as np
import pytest
from PIL import Image

from chainer_wm.links.pixel_model import Prediction
from chainer_wm.training import levels, lifelong
from experiments import key_order


@pytest.fixture
def without_chance(monkeypatch):
    monkeypatch.setattr(key_order, 'EXPLORATION', (0.0,))


def test_the_guide_goes_to_either_key_and_on_if_it_was_right(without_chance):
    found = key_order.played(0, 'test', 40)
    keys = key_order.first_keys(found)
    assert len(keys) == 40
    assert 8 < keys[:, 2].sum() < 32
    for (_, step, in_turn), one in zip(keys, found):
        assert levels.succeeded(one) == in_turn
        assert len(one) == (one.info['shortest'] if in_turn else step + 1)


def test_first_keys_by_hand(without_chance):
    (one,) = key_order.played(0, 'test', 1)
    for rewards, wanted in (
        ([-0.1, 0.9, -0.1, 0.9], [[0, 1, 1]]),
        ([-0.1, -0.1, -5.1], [[0, 2, 0]]),
        ([-0.1] * 3, []),
    ):
        one.rewards.resize(len(rewards), refcheck=False)
        one.rewards[:] = rewards
        assert key_order.first_keys([one]).tolist() == wanted


class Knowing:
    """Says of every step what it is told, whatever the model's weights."""

    def __init__(self, model, scores):
        self.outcomes, self.palette = model.outcomes, model.palette
        self.initial_state = model.initial_state
        self.scores = scores

    def sequence(self, codes, *_):
        scores = np.broadcast_to(self.scores, (*codes.shape[:2], 8))
        return Prediction(*map(chainer.Variable, (scores, scores))), None


def test_who_always_says_the_same_is_right_about_its_share(without_chance):
    found = key_order.played(0, 'test', 40)
    model = key_order.new_model('lstm', 0)
    lifelong.episodes_of(found, model)
    share = key_order.first_keys(found)[:, 2].mean()
    for reward, wanted in ((0.9, share), (-5.1, 1 - share)):
        sure = [np.isclose(known[0], reward) * 5.0 for known in model.outcomes.known]
        scores = np.array(sure + [0.0] * (8 - len(sure)))
        right = key_order.right_about_order(Knowing(model, scores), found)
        assert right == pytest.approx(wanted)


def test_what_only_new_episodes_bring_is_never_expected(without_chance):
    found = key_order.played(0, 'test', 40)
    in_turn = key_order.first_keys(found)[:, 2]
    share = in_turn.mean()
    good = [found[n] for n in np.flatnonzero(in_turn)]
    bad = [found[n] for n in np.flatnonzero(1 - in_turn)]
    for learnt, wanted in ((good, share), (bad, 1 - share), ([], 0)):
        model = key_order.new_model('lstm', 0)
        if learnt:
            lifelong.episodes_of(learnt, model)
        known = list(model.outcomes.known)
        assert 0 <= len(known) < 4
        right = key_order.right_about_order(model, found)
        assert right == pytest.approx(wanted)
        assert model.outcomes.known == known


def test_script(tmp_path):
    key_order.script(
        [
            *('--data', str(tmp_path), '--run', 'tiny', '--models', 'dnc'),
            *('--usual', 'lstm', '--updates', '2'),
        ]
    )
    folder = tmp_path / 'key_order/tiny'
    rows = json.loads((folder / 'results.json').read_text())['rows']
    assert [(row['model'], row['episodes']) for row in rows] == [
        ('dnc', 4),
        ('dnc', 8),
        ('lstm, trained as usual', 4),
        ('lstm, trained as usual', 8),
    ]
    assert all(0 <= row['new'] <= 1 for row in rows)
    for name in ('key_order.png', 'memory.png'):
        with Image.open(folder / 'figures' / name) as picture:
            assert min(picture.size) > 300
