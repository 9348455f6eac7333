"""The iterative procedure: joined codes, the split, the inherited search."""

import functools

import numpy as np
import pytest

from chainer_wm import files
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.rollouts import Rollout
from chainer_wm.rollouts.latents import JoinedLatents, Latents, LatentWriter
from chainer_wm.rollouts.splits import split_episodes
from chainer_wm.training import evolution, rounds

RANDOM, PLAYED = (5, 3, 4, 6), (2, 7)


def encode(folder, lengths, first, source='v'):
    """Rows that carry their number, counted from ``first``."""
    with LatentWriter(folder, 2, 1, {'vision': source}) as writer:
        for episode, length in enumerate(lengths):
            mu = np.repeat(np.arange(first, first + length), 2).reshape(-1, 2)
            writer.add(episode, mu, -mu, mu[:, :1] / 7, episode % 2 == 0)
            first += length
        writer.finish()
    return Latents(folder)


@pytest.fixture
def saved(tmp_path):
    saved = SavedAgent(tmp_path)
    encode(saved.codes_of(0), RANDOM, 0)
    encode(saved.at(1).home / 'codes', PLAYED, sum(RANDOM))
    return saved


def a_quarter(episodes):
    return split_episodes(episodes, 0.25, 3)


def test_joined_codes_are_those_of_the_parts_in_order(saved):
    joined = saved.at(1).latents()
    np.testing.assert_array_equal(joined.mu[:, 0], np.arange(27))
    np.testing.assert_array_equal(joined.ln_var, -joined.mu)
    np.testing.assert_array_equal(joined.lengths, RANDOM + PLAYED)
    np.testing.assert_array_equal(joined.starts, [0, 5, 8, 12, 18, 20])
    np.testing.assert_array_equal(joined.terminated, [True, False] * 3)
    np.testing.assert_array_equal(joined.first()[0][:, 0], joined.starts)
    assert [joined.number(0, 2), joined.number(1, 0)] == [2, 4]
    with pytest.raises(KeyError, match='episode 6 is not among 6'):
        joined.position(6)
    with pytest.raises(KeyError, match='2'):
        joined.number(1, 2)


def test_a_round_knows_only_the_episodes_before_it(saved):
    assert len(saved.latents()) == 4
    assert len(saved.at(1).latents()) == 6
    with pytest.raises(FileNotFoundError, match='02'):
        saved.at(2).latents()


def test_codes_of_two_visions_do_not_mix(saved, tmp_path):
    other = encode(tmp_path / 'other', (3,), 0, 'another v')
    with pytest.raises(ValueError, match=r'another v.*trained again'):
        JoinedLatents([Latents(saved.codes_of(0)), other])


def rows(sequences, epochs=1):
    steps = int(np.ceil(epochs * sequences.windows_per_epoch))
    return np.concatenate([sequences.batch(n).mu[:-1, :, 0].ravel() for n in range(steps)])


def test_the_agents_episodes_are_seen_more_often(saved):
    train, test = rounds.windows(saved.at(1), a_quarter, 1, 1, 3, repeats=3)
    counts = np.bincount(rows(train).astype(int), minlength=27)
    held_out = np.bincount(rows(test).astype(int), minlength=27)
    assert set(counts[:18]) == {0, 1} and set(counts[18:]) == {0, 3}
    np.testing.assert_array_equal(held_out, counts == 0)
    lengths = [held_out[:18].sum(), held_out[18:].sum()]
    assert lengths[0] in RANDOM and lengths[1] in PLAYED


def rewarded(length, ends):
    """An episode whose rewards are 1, 2, 3 and so on."""
    terminated = np.arange(length) == (length - 1 if ends else length)
    return Rollout(
        np.zeros((length, 64, 64, 3), np.uint8),
        np.zeros((length, 1), np.float32),
        1 + np.arange(length, dtype=np.float32),
        terminated,
        np.zeros(length, bool),
    )


def test_the_rewards_of_steps_that_end_an_episode_can_stay_unknown(saved):
    for episode, length in enumerate(RANDOM):
        saved.store().add(episode, rewarded(length, ends=episode % 2 == 0))
    expected = np.concatenate([1 + np.arange(length) for length in RANDOM]).astype(float)
    for end_rewards in (True, False):
        for windows in rounds.windows(
            saved, a_quarter, 1, 1, 3, rewards=True, end_rewards=end_rewards
        ):
            np.testing.assert_array_equal(windows.rewards, expected)
        expected[[4, 11]] = np.nan  # episodes 0 and 2


def test_what_was_held_out_stays_held_out_in_later_rounds(saved):
    unseen = [set(rows(rounds.windows(saved.at(n), a_quarter, 1, 1, 3)[1])) for n in (0, 1)]
    assert unseen[0] < unseen[1]


def test_v_never_sees_what_m_is_judged_by(saved):
    now = saved.at(1)
    for one, lengths in ((saved, RANDOM), (now, PLAYED)):
        for episode, length in enumerate(lengths):
            one.store().add(episode, rewarded(length, ends=False))
    _, seen, unseen = rounds.recorded(now, a_quarter)
    train, test = rounds.windows(now, a_quarter, 1, 1, 3)
    joined = now.latents()
    seen, unseen = ({joined.number(*episode) for episode in side} for side in (seen, unseen))
    judged = set(joined.episodes[test.positions])
    assert len(judged) == 2 and not seen & judged
    assert seen == set(joined.episodes[train.positions]) and unseen == judged


def test_rounds_have_streams_of_their_own():
    seeds = [rounds.seed_of(7, round) for round in range(20)]
    assert seeds[0] == 7 and len(set(seeds)) == 20
    assert rounds.seed_of(8, 1) != seeds[1]


def test_a_search_is_inherited_once(tmp_path):
    before, after = tmp_path / 'before', tmp_path / 'after'
    search = CMAES(np.zeros(4), 0.5, 6, seed=1)
    search.tell(search.ask(), np.arange(6.0))
    search.save(before / 'cma_es.npz')
    table = {'generations': [{'generation': 1, 'mean': 2.5}], 'evaluations': []}
    files.write_json(before / 'history.json', table)
    evolution.inherit(before, after)
    found = CMAES.load(after / 'cma_es.npz')
    np.testing.assert_array_equal(found.mean, search.mean)
    assert evolution.read_history(after) == (table['generations'], [])
    (after / 'cma_es.npz').unlink()  # killed before it was there
    evolution.inherit(before, after)
    found.tell(found.ask(), np.arange(6.0))
    found.save(after / 'cma_es.npz')
    evolution.inherit(before, after)
    assert CMAES.load(after / 'cma_es.npz').generation == 2


def test_samples_leave_the_search_as_it_was():
    search, twin = (CMAES(np.ones(3), 0.5, 6, seed=1) for _ in range(2))
    found = search.sample(np.random.default_rng(0), 4000)
    np.testing.assert_allclose(found.mean(axis=0), 1, atol=0.04)
    np.testing.assert_allclose(found.std(axis=0), 0.5, atol=0.03)
    np.testing.assert_array_equal(search.ask(), twin.ask())


def test_a_run_with_another_seed_holds_out_what_its_vision_never_saw(saved):
    """The codes are the source's; M of any seed is judged by its held-out."""
    files.write_json(saved.folder / 'config.json', {'seed': 3, 'held_out': 0.25})
    unseen = set(rows(rounds.windows(saved, a_quarter, 1, 1, 3)[1]))
    for seed in range(8):
        other = SavedAgent(saved.folder.parent / f'other-{seed}', reuse=saved.folder.name)
        split = functools.partial(other.split, held_out=0.5, seed=seed)
        train, test = rounds.windows(other, split, 1, 1, seed)
        assert set(rows(test)) == unseen
        assert not set(rows(train)) & unseen


def test_a_run_of_its_own_holds_out_by_its_own_seed_and_share(saved):
    assert saved.split([3, 0, 2, 1], 0.25, 3) == a_quarter(range(4))
