"""The pixel model: a picture and an action in, what follows out, as classes.

A game of cells has few colours and few rewards. ``Palette`` numbers the colours, ``Outcomes`` the
pairs of reward and end; ``PixelModel`` gives each of them a score at each step, and ``choose``
draws what happens from the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import initializers

from chainer_wm.links.recurrent import make_core

RARE = 0.1
"""What is less likely than this never happens in a dream."""
STAY = 4.0
"""Head start of a pixel's own colour over the others, in nats: most stay."""


class Palette:
    """Pictures (H, W, 3) uint8 <-> codes (H * W,) uint8, which colour where.

    Colours get their number when they are first seen (``learn``): what a network learnt about
    number 2 stays true when a later game adds a colour.

    Args:
        height, width: of the pictures.
        capacity: how many colours there may ever be.
        colours: those known already, (n, 3).

    Raises:
        ValueError: too many colours.
    """

    def __init__(
        self, height: int, width: int, capacity: int, colours: Sequence[Sequence[int]] = ()
    ) -> None:
        self.height, self.width, self.capacity = height, width, capacity
        self._colours = np.zeros((0, 3), np.uint8)
        self._add(np.asarray(colours, np.uint8).reshape(-1, 3))

    @property
    def colours(self) -> list[list[int]]:
        """Those known, by number, each [red, green, blue]."""
        return self._colours.tolist()

    def __len__(self) -> int:
        """How many colours were seen so far."""
        return len(self._colours)

    @property
    def pixels(self) -> int:
        """H * W."""
        return self.height * self.width

    def learn(self, frames: np.ndarray) -> None:
        """Number the colours of (..., H, W, 3) that are new, as they come."""
        self._check(frames)
        flat = np.ascontiguousarray(frames).reshape(-1, 3)
        values, first = np.unique(_packed(flat), return_index=True)
        new = first[~np.isin(values, _packed(self._colours))]
        self._add(flat[np.sort(new)])

    def _add(self, colours: np.ndarray) -> None:
        together = np.concatenate([self._colours, colours])
        if len(together) > self.capacity:
            raise ValueError(
                f'{len(together)} colours, but there is room for '
                f'{self.capacity}: are these pictures of a game of flat '
                'colours, and all of the same one?'
            )
        self._colours = together

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """(..., H, W, 3) uint8 -> (..., H * W) uint8.

        Raises:
            ValueError: a colour that was never learnt.
        """
        self._check(frames)
        packed = _packed(frames).reshape(*frames.shape[:-3], self.pixels)
        codes = np.full(packed.shape, len(self), np.uint8)
        for number, colour in enumerate(_packed(self._colours)):
            codes[packed == colour] = number
        if (codes == len(self)).any():
            raise ValueError(
                f'the pictures hold a colour that is not among the '
                f'{len(self)} known ones: call learn() first'
            )
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(..., H * W) integers -> (..., H, W, 3) uint8."""
        shape = (*codes.shape[:-1], self.height, self.width, 3)
        return self._colours[codes].reshape(shape)

    def numbers(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """(..., H * W) -> (..., H * W * 3): the pixels in [0, 1], white is 0.

        0 for white, because most of these pictures is pale floor.
        """
        table = (255 - self._colours.astype(dtype)) / dtype.type(255)
        return table[codes].reshape(*codes.shape[:-1], -1)

    def _check(self, frames: np.ndarray) -> None:
        wanted = (self.height, self.width, 3)
        if frames.shape[-3:] != wanted or frames.dtype != np.uint8:
            raise ValueError(
                f'pictures are {frames.dtype} {frames.shape}, expected uint8 '
                f'(..., {self.height}, {self.width}, 3)'
            )


def _packed(colours: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) one integer per colour."""
    return colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


class Outcomes:
    """What a step can bring: (reward, end) <-> a number.

    A game of cells knows few rewards, and an end has a reward of its own. Predicted as one class,
    no reward comes out that the game does not give
    (a policy would find the places where a mean is a little too high and stay there), and no goal
    without its end.

    Args:
        capacity: how many there may ever be.
        known: those seen already, (n, 2): reward, and 0 or 1 for the end.
    """

    def __init__(self, capacity: int, known: Sequence[Sequence[float]] = ()) -> None:
        self.capacity = capacity
        self.known: list[list[float]] = []
        self._add([list(map(float, one)) for one in known])

    def learn(self, rewards: np.ndarray, ends: np.ndarray) -> None:
        """Number the pairs of (N,) and (N,) that are new, as they come."""
        pairs = _pairs(rewards, ends)
        _, first = np.unique(pairs, axis=0, return_index=True)
        found = pairs[np.sort(first)].tolist()
        self._add([one for one in found if one not in self.known])

    def _add(self, new: list[list[float]]) -> None:
        if len(self.known) + len(new) > self.capacity:
            raise ValueError(
                f'{len(self.known) + len(new)} pairs of reward and end, but '
                f'there is room for {self.capacity}: does this game give '
                'rewards of any size?'
            )
        self.known += new

    def encode(self, rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """(N,) rewards and (N,) ends -> (N,) int32.

        Raises:
            ValueError: a pair that was never learnt.
        """
        found = [
            self.known.index(pair) if pair in self.known else -1
            for pair in _pairs(rewards, ends).tolist()
        ]
        if -1 in found:
            at = found.index(-1)
            raise ValueError(
                f'reward {rewards[at]} with end {bool(ends[at])} is not among '
                f'the {len(self.known)} known outcomes: call learn() first'
            )
        return np.array(found, np.int32)

    def decode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(...) numbers -> rewards (...) float64 and ends (...) bool."""
        table = np.array(self.known).reshape(-1, 2)
        return table[numbers, 0], table[numbers, 1] > 0


def _pairs(rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(N, 2) float64, rewards as float32 holds them."""
    return np.stack([np.float32(rewards), np.float32(ends)], 1).astype(float)


class Prediction(NamedTuple):
    """What follows each step, as scores: the chances are their softmax.

    Fields:
        colours: (T, B, H * W, K), of each pixel of the next picture.
        outcome: (T, B, K), of reward and end.
    """

    colours: Any
    outcome: Any


class Losses(NamedTuple):
    """Means over steps, scalar Variables."""

    picture: Any  # nats per picture
    outcome: Any  # nats of reward and end

    def total(self, weight: float = 1.0) -> Any:
        """The sum, with this weight for the outcome."""
        return self.picture + weight * self.outcome


class PixelModel(chainer.Chain):
    """Predicts the next picture, and reward and end, of a game.

    Encoder, recurrent core, decoder: x = relu(picture), y = core([x, action]), d = two relu layers
    of y; from d, linearly, a score for each colour at each pixel and for each outcome. Nothing
    leads past the core. Colours and outcomes are classes, so what is drawn from the model is as
    sharp as the game. A pixel's own colour has a head start of ``STAY`` nats: like a residual
    connection, the network has to say only what changes.

    Args:
        height, width: of the pictures.
        actions: A, how many there are.
        capacity: K, how many colours there may ever be, and how many
            outcomes.
        encoded: numbers of x; hidden_size: of the core; decoded: of each
            layer of the decoder.
        core: 'lstm' or 'dnc'.
        seed: of the initial weights.
        engine: of the core.
        colours, outcomes: known already, see ``Palette``, ``Outcomes``.
        core_options: of a DNC.

    Attributes:
        palette: the ``Palette``.
        outcomes: the ``Outcomes``.
    """

    def __init__(
        self,
        height: int,
        width: int,
        actions: int,
        *,
        capacity: int = 8,
        encoded: int = 64,
        hidden_size: int = 128,
        decoded: int = 256,
        core: str = 'lstm',
        seed: int = 0,
        engine: str = 'fused',
        colours: Any = (),
        outcomes: Any = (),
        **core_options: Any,
    ) -> None:
        super().__init__()
        self.actions = actions
        self.palette = Palette(height, width, capacity, colours)
        self.outcomes = Outcomes(capacity, outcomes)
        self._settings = {
            **dict(height=height, width=width, actions=actions),
            **dict(capacity=capacity, encoded=encoded, decoded=decoded),
            **dict(hidden_size=hidden_size, core=core, seed=seed),
            **dict(engine=engine, **core_options),
        }
        rng = np.random.RandomState(seed)
        core_seed = rng.randint(2**31)

        def linear(inputs, outputs, scale=1.0):
            init = initializers.LeCunNormal(scale, rng=rng)
            return L.Linear(inputs, outputs, initialW=init)

        with self.init_scope():
            self.encoder = linear(self.palette.pixels * 3, encoded)
            self.core = make_core(
                core, encoded + actions, hidden_size, core_seed, engine, **core_options
            )
            self.first = linear(self.core.output_size, decoded, 2**0.5)
            self.second = linear(decoded, decoded, 2**0.5)
            self.colours = linear(decoded, self.palette.pixels * capacity)
            self.outcome = linear(decoded, capacity)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as they are now."""
        return {**self._settings, 'colours': self.palette.colours, 'outcomes': self.outcomes.known}

    @property
    def dtype(self) -> np.dtype:
        return self.encoder.W.dtype

    def initial_state(self, batch: int) -> Any:
        """The state of before an episode."""
        return self.core.initial_state(batch)

    def sequence(
        self, codes: np.ndarray, actions: np.ndarray, state: Any, reset: Any
    ) -> tuple[Prediction, Any]:
        """Predict what follows each step.

        Args:
            codes: (T, B, H * W) uint8, pictures before each action.
            actions: (T, B) integers.
            state: of before the first step.
            reset: (T, B) of 0 and 1: 1 forgets before step t.

        Returns:
            (Prediction, state after the last step).
        """
        time, batch = self._check(codes, actions)
        xs = self.inputs(codes, actions)
        ys, state = self.core.sequence(xs, state, self._send(reset))
        d = F.relu(self.first(F.reshape(ys, (time * batch, -1))))
        d = F.relu(self.second(d))
        shape = (*codes.shape, self.palette.capacity)
        stay = STAY * _one_hot(codes, self.palette.capacity)
        colours = F.reshape(self.colours(d), shape)
        colours += self._send(stay).reshape(shape)
        outcome = F.reshape(self.outcome(d), (time, batch, -1))
        return Prediction(colours, outcome), state

    def inputs(self, codes: np.ndarray, actions: np.ndarray) -> Any:
        """What the core reads, (T, B, X): the encoded picture, and which action was taken."""
        time, batch = self._check(codes, actions)
        flat = codes.reshape(time * batch, -1)
        x = F.relu(self.encoder(self._send(self._numbers(flat))))
        x = F.concat((x, self._send(_one_hot(actions, self.actions))))
        return F.reshape(x, (time, batch, -1))

    def step(self, codes: np.ndarray, actions: np.ndarray, state: Any) -> tuple[Prediction, Any]:
        """One step of B lanes; fields (B, ...)."""
        reset = np.zeros((1, len(codes)))
        found, state = self.sequence(codes[None], actions[None], state, reset)
        return Prediction(*(field[0] for field in found)), state

    def loss(self, batch: Any, state: Any) -> tuple[Losses, Any]:
        """How far the predictions are from what followed.

        Args:
            batch: a ``rollouts.pixel_episodes.PixelBatch``.
            state: of before its first step.
        """
        found, state = self.sequence(batch.codes, batch.actions, state, batch.reset)
        losses = Losses(
            self._nats(found.colours, batch.following, batch.seen),
            self._nats(found.outcome, batch.outcomes, batch.played),
        )
        return losses, state

    def _nats(self, scores, wanted, weight) -> Any:
        """Cross-entropy per step, mean over the steps whose weight is 1."""
        nats = F.softmax_cross_entropy(
            F.reshape(scores, (-1, scores.shape[-1])),
            self.device.send(wanted.reshape(-1).astype(np.int32)),
            reduce='no',
        )
        share = weight.reshape(-1, 1) / max(1.0, weight.sum())
        nats = F.reshape(nats, (len(share), -1))
        return F.sum(nats * self.xp.broadcast_to(self._send(share), nats.shape))

    def _numbers(self, codes: np.ndarray) -> np.ndarray:
        return self.palette.numbers(codes, self.dtype)

    def _send(self, array: np.ndarray) -> Any:
        return self.device.send(np.ascontiguousarray(array, self.dtype))

    def _check(self, codes, actions) -> tuple[int, int]:
        pixels = self.palette.pixels
        if codes.ndim != 3 or codes.shape[2] != pixels:
            raise ValueError(f'codes have shape {codes.shape}, expected (T, B, {pixels})')
        if actions.shape != codes.shape[:2]:
            raise ValueError(
                f'actions have shape {actions.shape}, but the pictures are '
                f'(T, B) = {codes.shape[:2]}'
            )
        return codes.shape[:2]


def choose(scores: np.ndarray, chance: np.ndarray | float, known: int) -> np.ndarray:
    """Draw a class from each row of scores, rare ones left out.

    The classes whose softmax is at least ``RARE``, and the likeliest in any case, divide [0, 1)
    between them in the order of their numbers; the one in whose share ``chance`` falls is taken.
    So a picture whose pixels all get
    the same chance is of one piece: a door of which the model knows that it will be red or yellow
    becomes all red or all yellow, and what the model is nearly sure of is not speckled by the
    rest.

    Args:
        scores: (..., K).
        chance: in [0, 1), broadcast to (...).
        known: classes from this number on do not exist yet.

    Returns:
        (...) integers.
    """
    scores = scores[..., :known].astype(np.float64)
    top = scores.max(axis=-1, keepdims=True)
    shares = np.exp(scores - top)
    total = shares.sum(axis=-1, keepdims=True)
    shares[(shares < RARE * total) & (scores < top)] = 0
    edges = shares.cumsum(axis=-1)
    at = np.broadcast_to(chance, scores.shape[:-1])[..., None]
    return (at * edges[..., -1:] >= edges[..., :-1]).sum(axis=-1)


def _one_hot(numbers: np.ndarray, count: int) -> np.ndarray:
    """(...) integers -> (n, count), float32."""
    return np.eye(count, dtype=np.float32)[numbers.reshape(-1)]
