import importlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from chainer_wm.envs import car_racing
from chainer_wm.envs.car_racing import CarRacing

STRAIGHT = np.array([0, 0.3, 0], np.float32)


@pytest.fixture(params=['gym', 'envpool'])
def engine(request):
    for name in {'gym': ('Box2D', 'pygame'), 'envpool': ('envpool',)}[request.param]:
        pytest.importorskip(name, reason=f'CarRacing by {request.param} needs it')
    return request.param


@pytest.fixture
def gyms_own():
    for name in ('Box2D', 'pygame'):
        pytest.importorskip(name, reason='CarRacing by gym needs it')
    return importlib.import_module('gym.envs.box2d.car_racing')


def drive(env, seed, actions):
    frames, rewards = [env.reset(seed=seed)[0]], []
    for action in actions:
        frame, reward, *_ = env.step(action)
        frames.append(frame)
        rewards.append(reward)
    return np.array(frames), np.array(rewards)


def test_a_seed_and_actions_give_the_same_game_again_and_another_seed_another(engine):
    actions = np.random.default_rng(0).uniform((-1, 0, 0), (1, 0.5, 0.1), (15, 3))
    env = CarRacing(engine)
    frames, rewards = drive(env, 3, actions)
    env.reset(seed=8)
    again, same = drive(env, 3, actions)
    np.testing.assert_array_equal(again, frames)
    np.testing.assert_array_equal(same, rewards)
    other, _ = drive(CarRacing(engine), 4, actions)
    assert (other != frames).any()


def test_what_is_seen_is_the_picture_without_its_bar_shrunk(engine):
    env = CarRacing(engine, render_mode='rgb_array')
    seen, _ = env.reset(seed=1)
    for _ in range(55):  # the camera comes down in the first second
        seen, *_ = env.step(STRAIGHT)
    whole = env.render()
    assert whole.shape == (84, 96, 3) and whole.dtype == seen.dtype == np.uint8
    small = np.array(Image.fromarray(whole).resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(seen, small)
    assert env.observation_space.contains(seen)
    # grass and road down to the last row: the bar, which is black, is cut away
    assert (whole[-1].max(axis=1) > 90).all()
    # the car's red body, low in the middle (kerbs are red too, further up)
    red = (seen[..., 0] > 100) & (seen[..., 1] < 90)
    rows, columns = np.nonzero(red[40:])
    assert 8 < rows.mean() < 18 and 28 < columns.mean() < 36


def test_a_step_costs_a_tenth_and_tiles_pay(engine):
    env = CarRacing(engine)
    _, rewards = drive(env, 2, [(0, 0, 0)] * 3 + [STRAIGHT] * 60)
    assert rewards.sum() > 0
    paid = rewards + 0.1
    tile = paid[paid > 0.01].min()  # 1000 / N, N tiles: 200 to 400
    assert 2 < tile < 5
    np.testing.assert_allclose(paid / tile, np.rint(paid / tile), atol=1e-3)


def test_the_time_limit_truncates_and_the_end_must_be_followed_by_a_reset(engine):
    env = CarRacing(engine, max_steps=3)
    with pytest.raises(RuntimeError, match='reset'):
        env.step(STRAIGHT)
    env.reset(seed=1)
    ends = [env.step(STRAIGHT)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(RuntimeError, match='reset'):
        env.step(STRAIGHT)


def test_who_reaches_no_tile_for_long_is_stopped_where_that_is_asked_for(engine):
    env = CarRacing(engine, patience=40)
    env.reset(seed=1)
    paid, ends = [], []
    for step in range(200):
        _, reward, *end, _ = env.step((0.0, 0.3 if step < 30 else 0.0, float(step > 40)))
        paid.append(reward > 0)
        ends.append(tuple(end))
        if any(end):
            break
    last = np.flatnonzero(paid).max()
    assert last > 5 and len(ends) == last + 41 and ends[-1] == (False, True)


def test_gyms_pictures_are_equal_to_the_last_bit(gyms_own):
    from chainer_wm.envs.gym_car_racing import Game

    original, game, rng = gyms_own.CarRacing(), Game(), np.random.default_rng(0)
    far = 0.0
    for seed in range(4):
        np.testing.assert_array_equal(game.reset(seed=seed)[0], original.reset(seed=seed)[0])
        game.reward = original.reward = -7.6 * seed  # the score is a part of the picture
        # the last one drives straight out of the field
        for step in range(100 if seed < 3 else 400):
            if step % 20 == 0:
                steer = rng.uniform(-0.5, 0.5) if seed < 3 else 0.0
                action = np.array([steer, rng.uniform(0.3, 1), 0.0])
            screen, *found = game.step(action)
            expected, *others = original.step(action)
            np.testing.assert_array_equal(screen, expected)
            assert found == others
            far = max(far, *np.abs(original.car.hull.position))
            if found[1]:
                break
    assert far > gyms_own.PLAYFIELD


def test_games_in_threads_do_not_draw_on_each_other(gyms_own):
    def played(seed):
        return drive(CarRacing('gym'), seed, [STRAIGHT] * 40)[0]

    alone = [played(seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as threads:
        for frames, expected in zip(threads.map(played, range(2)), alone):
            np.testing.assert_array_equal(frames, expected)


def test_both_engines_drive_alike():
    for name in ('Box2D', 'pygame', 'envpool'):
        pytest.importorskip(name, reason='both engines are compared')
    # tracks differ, but each begins straight on: off, then brake until the car stands
    actions = [(0.0, 0.4, 0.0)] * 50 + [(0.0, 0.0, 0.3)] * 40
    speeds, tiles = [], []
    for engine in car_racing.ENGINES:
        env = CarRacing(engine)
        env.reset(seed=0)
        bars, paid = [], []
        for action in actions:
            _, reward, *_ = env.step(action)
            bar = env._screen[84:, 11:14].min(axis=2)  # white, as high as the car is fast
            bars.append(np.count_nonzero(bar.max(axis=1)))
            paid.append(reward > 0)
        speeds.append(bars)
        tiles.append(np.flatnonzero(paid))
    # rows of pixels, which only EnvPool draws whole
    np.testing.assert_allclose(*speeds, atol=1)
    assert max(speeds[0]) == 3 and speeds[0][-1] == speeds[1][-1] == 0
    assert len(tiles[0]) == len(tiles[1]) > 5
    np.testing.assert_allclose(tiles[0], tiles[1], atol=2)


@pytest.mark.parametrize(
    'action', [(0, -0.1, 0), (0, 0, 1.1), (1.5, 0, 0), (0, np.nan, 0), (0, 0), (0, 0, 0, 0)]
)
def test_actions_out_of_their_ranges_are_refused(engine, action):
    env = CarRacing(engine)
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r'steering in \[-1, 1\], gas and brake in \[0, 1\]'):
        env.step(np.array(action))
    env.step(STRAIGHT)


def test_gyms_game_is_made_anew_now_and_then_and_the_game_does_not_show_it(engine, monkeypatch):
    if engine != 'gym':
        pytest.skip('only the game of gym keeps what it made')
    one = [drive(CarRacing('gym'), seed, [STRAIGHT] * 2)[0] for seed in range(3)]
    monkeypatch.setattr(car_racing, 'RENEW', 2)
    env, games = CarRacing('gym'), set()
    for seed in range(3):
        np.testing.assert_array_equal(drive(env, seed, [STRAIGHT] * 2)[0], one[seed])
        games.add(env._game)
    assert len(games) == 2


def test_what_is_missing_is_named(monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError(f'No module named {name!r}')

    monkeypatch.setattr(importlib, 'import_module', refuse)
    with pytest.raises(ImportError, match='pip install envpool'):
        CarRacing('envpool')
    with pytest.raises(ImportError, match='pip install .*box2d.* pygame-ce'):
        CarRacing('gym')


def test_settings_are_checked():
    with pytest.raises(ValueError, match="no engine 'unity'"):
        CarRacing('unity')
    with pytest.raises(ValueError, match='max_steps is 0'):
        CarRacing(max_steps=0)
