"""Ordered keys: what linear probes read off a model of pixels about the game's true state.

The order of the keys is shown in the first pictures only. Until a key is taken, no later picture
and nothing that a random player does tells it, so whoever knows it then remembers it; once a key
is gone, the picture tells which one was first. The controls: the same model with its first
weights, the picture alone, and the most frequent answer.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.seeds import stream
from chainer_wm.tasks import probes
from chainer_wm.tasks.probes import Samples

#: Steps since the last picture that showed the order, at which probes are scored.
AGES = (0, 1, 2, 5, 10, 20)
#: Kinds of features, by the names of a DNC's internals.
WORDS = {
    'h': 'hidden state',
    'c': 'cell state',
    'read_vectors': 'read vectors',
    'memory': 'full memory',
}
PICTURE = 'picture alone'
UNTRAINED = 'untrained: '


class KeyEpisodes(NamedTuple):
    """B episodes of at most T steps, side by side.

    Fields:
        pictures: (T, B, H, W, 3) uint8, before each action; after an end, the last one.
        actions: (T, B) int64.
        cell: (T, B) int64, where the agent is: row * columns + column.
        taken: (T, B) int64, how many keys it has.
        order: (T, B) int64, which of the n! orders of n keys, sorted by their names.
        ago: (T, B) int64, steps since the last picture that showed the order; below 0: not all of
            it was shown.
        played: (T, B) bool, False after the end.
    """

    pictures: np.ndarray
    actions: np.ndarray
    cell: np.ndarray
    taken: np.ndarray
    order: np.ndarray
    ago: np.ndarray
    played: np.ndarray


def play_randomly(env: Any, rngs: Sequence[np.random.Generator]) -> KeyEpisodes:
    """Episodes of uniformly random actions.

    Args:
        env: an ``OrderedKeys``, whose true state is noted.
        rngs: one per episode; gives the game's seed and the actions.
    """
    orders = list(itertools.permutations(sorted(env.keys)))
    columns = env.walls.shape[1]
    lanes = []
    for rng in rngs:
        picture, _ = env.reset(seed=int(rng.integers(2**31)))
        rows: list[tuple] = []
        over = False
        while not over:
            action = int(rng.integers(env.action_space.n))
            row, column = env.position
            truth = (row * columns + column, env.found, orders.index(env.order))
            rows.append((picture.copy(), action, *truth, len(rows) - len(env.keys) + 1, True))
            picture, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        lanes.append(rows)
    longest = max(map(len, lanes))
    for rows in lanes:
        rows += [(*rows[-1][:-1], False)] * (longest - len(rows))
    by_step = list(zip(*lanes))  # step, episode, field
    fields = [[[rows[n] for rows in step] for step in by_step] for n in range(len(by_step[0][0]))]
    return KeyEpisodes(*map(np.array, fields))


def held(model: PixelModel, episodes: KeyEpisodes) -> dict[str, np.ndarray]:
    """What a model holds after it has read each picture and action, as NumPy arrays.

    Args:
        model: that knows all colours of the pictures.

    Returns:
        Of ``WORDS``: 'hidden state' and 'cell state' (T, B, H); of a DNC also 'read vectors'
        (T, B, R W) and 'full memory' (T, B, N W).
    """
    shape = episodes.actions.shape
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        codes = model.palette.encode(episodes.pictures)
        xs, state = model.inputs(codes, episodes.actions).array, model.initial_state(shape[1])
        if hasattr(model.core, 'trace'):
            found = model.core.trace(xs, state, names=tuple(WORDS))
        else:
            found = _states(model, xs, state)
    return {word: found[name].reshape(*shape, -1) for name, word in WORDS.items() if name in found}


def _states(model: PixelModel, xs: Any, state: Any) -> dict[str, np.ndarray]:
    """h and c (T, B, H) of an LSTM after each step."""
    kept: dict[str, list] = {'h': [], 'c': []}
    for x in xs:
        _, state = model.core.step(x, state)
        for name, rows in kept.items():
            rows.append(to_cpu(getattr(state, name)))
    return {name: np.stack(rows) for name, rows in kept.items()}


def every_features(model: PixelModel, episodes: KeyEpisodes) -> dict[str, np.ndarray]:
    """Name -> (T, B, D): of the model, of it with its first weights, and the picture alone."""
    model = copy.deepcopy(model)  # it learns the colours that it never met
    model.palette.learn(episodes.pictures)
    first = PixelModel(**model.config)
    first.to_device(model.device)
    codes = model.palette.encode(episodes.pictures)
    return {
        **held(model, episodes),
        **{UNTRAINED + name: found for name, found in held(first, episodes).items()},
        PICTURE: np.eye(model.palette.capacity, dtype=np.float32)[codes].reshape(
            *codes.shape[:2], -1
        ),
    }


def samples(
    features: np.ndarray, episodes: KeyEpisodes, asked: np.ndarray, *labels: str
) -> Samples:
    """The moments ``asked`` (T, B) of features (T, B, D), and these fields of the episodes.

    A group is an episode.

    Raises:
        ValueError: nothing is asked.
    """
    if not asked.any():
        raise ValueError(
            f'none of the {episodes.played.sum()} steps of {asked.shape[1]} episodes are asked '
            f'about {", ".join(labels)}: do all of them end too early?'
        )
    groups = np.broadcast_to(np.arange(asked.shape[1]), asked.shape)[asked]
    named = {name: getattr(episodes, name)[asked] for name in labels}
    return Samples(features[asked], {}, named, groups)


def read_off(
    learnt: np.ndarray,
    train: KeyEpisodes,
    shown: np.ndarray,
    new: KeyEpisodes,
    rng: np.random.Generator,
) -> dict[str, dict[str, dict[str, float]]]:
    """Ridge probes fitted on episodes, and scored on new ones.

    The order is asked until the first key is taken, from the last picture that shows it on, by one
    probe for all these steps; cell and keys taken at all later steps.

    Args:
        learnt, shown: features (T, B, D) of the episodes ``train`` and ``new``.
        rng: of the probes.

    Returns:
        'order' -> 'AGE' of ``AGES`` (those that were met) and 'later' (all above 0), 'cell' and
        'taken' -> 'all'; of each 'accuracy', 'chance' (the most frequent answer of ``train``) and
        'samples'.
    """

    def untaken(episodes: KeyEpisodes) -> np.ndarray:
        return episodes.played & (episodes.taken == 0) & (episodes.ago >= 0)

    ages = {str(age): untaken(new) & (new.ago == age) for age in AGES}
    ages['later'] = untaken(new) & (new.ago > 0)
    found = _accuracies(
        samples(learnt, train, untaken(train), 'order'),
        {age: samples(shown, new, at, 'order') for age, at in ages.items() if at.any()},
        rng,
    )
    for label in ('cell', 'taken'):
        found |= _accuracies(
            samples(learnt, train, train.played & (train.ago > 0), label),
            {'all': samples(shown, new, new.played & (new.ago > 0), label)},
            rng,
        )
    return found


def _accuracies(
    train: Samples, scored: Mapping[str, Samples], rng: np.random.Generator
) -> dict[str, dict[str, dict]]:
    found = probes.probe(train, scored, 'ridge', rng)
    return {
        label: {
            name: {
                'accuracy': 1 - found[name][label]['error'],
                'chance': 1 - probes.constant(train, each)[label]['error'],
                'samples': len(each.features),
            }
            for name, each in scored.items()
        }
        for label in train.labels
    }


def study(model: PixelModel, env: Any, episodes: int, seed: int) -> dict[str, dict]:
    """Name of ``every_features`` -> ``read_off``, on so many episodes to fit and as many new.

    Args:
        env: an ``OrderedKeys`` of two keys or more.
    """
    train, new = (
        play_randomly(env, [stream(seed, purpose, number) for number in range(episodes)])
        for purpose in ('states to fit', 'states to score')
    )
    learnt, shown = every_features(model, train), every_features(model, new)
    rng = stream(seed, 'state probes')
    return {name: read_off(learnt[name], train, shown[name], new, rng) for name in learnt}


def as_text(found: Mapping[str, dict]) -> str:
    """A line for each kind of features: accuracies; the last line is chance."""

    def line(name: str, told: Mapping[str, dict], kind: str) -> str:
        order = ', '.join(f'{age}: {each[kind]:.2f}' for age, each in told['order'].items())
        cell, taken = (told[label]['all'][kind] for label in ('cell', 'taken'))
        return f'  {name}: order by steps ago {order}; cell {cell:.2f}, keys taken {taken:.2f}'

    lines = [line(name, told, 'accuracy') for name, told in found.items()]
    return '\n'.join([*lines, line('chance', found[PICTURE], 'chance')])


def curves(found: Mapping[str, dict]) -> tuple[dict, dict]:
    """Name -> (ages, accuracies) of the order: of the model, and of the controls."""
    own: dict[str, tuple] = {}
    controls: dict[str, tuple] = {}
    for name, told in found.items():
        ages = [age for age in told['order'] if age != 'later']
        curve = [*map(int, ages)], [told['order'][age]['accuracy'] for age in ages]
        (controls if name == PICTURE or name.startswith(UNTRAINED) else own)[name] = curve
    return own, controls
