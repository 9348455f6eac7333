"""Random Network Distillation: a reward for what was rarely seen.

Burda et al., 2018. A fixed network with random weights maps an observation to features; a second
one learns to predict them. Where it fails, the observation
is new: its error is the intrinsic reward of the step that LED there. One round
with PPO, in the order of the authors' code::

    experience = collector.collect(128)
    following = experience.following(rnd.channels)
    intrinsic = rnd.rewards(following)
    rnd.observe(following)
    ppo.update(experience, {'extrinsic': ..., 'intrinsic': intrinsic}, rng)
    rnd.update(following, rng)

Two things differ from that code, both on purpose: after the last step of an episode the reward is
for its last observation, not for the first one of the next episode; and minibatches are drawn
among all steps, not lane by lane.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import chainer
import chainer.functions as F
import numpy as np

from chainer_wm.agents.ppo.networks import Body
from chainer_wm.agents.ppo.returns import check_time_batch, forward_discounted
from chainer_wm.agents.running_statistics import RunningStatistics
from chainer_wm.devices import to_cpu

CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""(filters, kernel, stride) in the paper, for pictures of 84x84."""

_CHUNK = 1024  # observations at a time


class FeatureNet(Body):
    """Convolutions and layers with leaky ReLU, then linear ones with ReLU.

    Args:
        shape: of one observation; (H, W, C) where there are convolutions.
        convolutions: (filters, kernel, stride) of each.
        layers: widths of linear layers after them, with leaky ReLU.
        head: widths of the last linear layers: ReLU between them, nothing after the last.
        rng: for the orthogonal initial weights (scale sqrt 2, biases 0).
    """

    def __init__(
        self,
        shape: Sequence[int],
        convolutions: Sequence[tuple[int, int, int]],
        layers: Sequence[int],
        head: Sequence[int],
        rng: np.random.RandomState,
    ) -> None:
        super().__init__(shape, convolutions, layers, 'leaky_relu', rng)
        with self.init_scope():
            self.head = chainer.ChainList()
        self._append(self.head, self.output_size, head, rng)

    def forward(self, x):
        """(N, *shape) floats -> (N, head[-1])."""
        x = super().forward(x)
        *inner, last = self.head
        for layer in inner:
            x = F.relu(layer(x))
        return last(x)


class RND(chainer.Chain):
    """Target, predictor, and the scales of what goes in and comes out.

    The defaults are the paper's. There the target is convolutions and one linear layer of 512, the
    predictor the same with two more of 512 between.

    Args:
        observation_shape: of one observation: (H, W, C), or any shape where there are no
            convolutions.
        frames: how many of the last channels are looked at: 1 is the last picture of a stack of
            grey ones. None looks at all.
        convolutions: of both networks.
        layers: of both, after the convolutions; without convolutions at least one is needed (a
            target without a kink is learned at once).
        features: width of the output.
        hidden: of the predictor alone, between convolutions and output.
        discount: of the filter whose deviation scales the rewards.
        clip: largest absolute value of a whitened number.
        keep: probability that a step trains the predictor in an epoch: 0.25 for 128 environments
            (32 / environments keeps it as slow as with 32).
        learning_rate: of the predictor's Adam.
        epochs, minibatches: passes over what was seen, and parts of each.
        seed: of the initial weights.
    """

    def __init__(
        self,
        observation_shape: Sequence[int],
        *,
        frames: int | None = 1,
        convolutions: Sequence[tuple[int, int, int]] = CONVOLUTIONS,
        layers: Sequence[int] = (),
        features: int = 512,
        hidden: Sequence[int] = (512, 512),
        discount: float = 0.99,
        clip: float = 5.0,
        keep: float = 0.25,
        learning_rate: float = 1e-4,
        epochs: int = 4,
        minibatches: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not convolutions and not layers:
            raise ValueError(
                'neither convolutions nor layers: a linear target tells new '
                'from old no better than the mean does'
            )
        if not 0 < keep <= 1:
            raise ValueError(f'keep is {keep}, expected a probability above 0')
        self.channels = slice(None if frames is None else -frames, None)
        shape = np.empty(observation_shape)[..., self.channels].shape
        self.shape = shape
        self.discount, self.clip, self.keep = discount, clip, keep
        self.epochs, self.minibatches = epochs, minibatches
        rng = np.random.RandomState(seed)
        with self.init_scope():
            self.target = FeatureNet(shape, convolutions, layers, (features,), rng)
            self.predictor = FeatureNet(shape, convolutions, layers, (*hidden, features), rng)
        self.optimizer = chainer.optimizers.Adam(learning_rate)
        self.optimizer.setup(self.predictor)
        self.seen = RunningStatistics(shape)
        self.spread = RunningStatistics()
        self._filter: np.ndarray | None = None

    def observe(self, observations: np.ndarray) -> None:
        """Count observations (..., *shape) into the whitening.

        The paper begins with 128 * 50 steps of a random policy.
        """
        flat = self._flat(observations)
        for start in range(0, len(flat), _CHUNK):
            self.seen.update(flat[start : start + _CHUNK])

    def bonus(self, following: np.ndarray) -> np.ndarray:
        """The predictor's mean squared error, (T, B).

        Args:
            following: (T, B, *shape), what each step led to; all frames of a stack may be there,
                the last ones are looked at.
        """
        flat = self._flat(following)
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            parts = [
                to_cpu(self._errors(flat[start : start + _CHUNK]))
                for start in range(0, len(flat), _CHUNK)
            ]
        return np.concatenate(parts).reshape(following.shape[:2])

    def rewards(self, following: np.ndarray) -> np.ndarray:
        """Intrinsic rewards, (T, B): bonus / its running deviation.

        The deviation is that of a return that looks back (see ``returns.forward_discounted``),
        over all calls so far and this one. Nothing is subtracted.
        """
        return self.scaled(self.bonus(following))

    def scaled(self, bonus: np.ndarray) -> np.ndarray:
        """Divide (T, B) by the running deviation, which they move first."""
        check_time_batch(bonus=bonus)
        bonus = np.asarray(bonus, np.float64)
        filtered, self._filter = forward_discounted(bonus, self.discount, self._filter)
        self.spread.update(filtered.ravel())
        return bonus / (self.spread.std() + 1e-8)  # i_t / std of R_t = gamma R_{t-1} + i_t

    def update(self, following: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
        """Teach the predictor what was seen; call it after ``observe``.

        Args:
            following: (T, B, *shape), as for ``bonus``.
            rng: draws the minibatches and which steps are kept.

        Returns:
            'predictor_loss', the mean over the minibatches.
        """
        flat = self._flat(following)
        losses = []
        for chosen in self._parts(len(flat), rng):
            loss = F.mean(self._errors(flat[chosen]))
            self.predictor.cleargrads()
            loss.backward()
            self.optimizer.update()
            losses.append(float(loss.array))
        return {'predictor_loss': float(np.mean(losses)) if losses else 0.0}

    def _parts(self, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        for _ in range(self.epochs):
            order = rng.permutation(count)
            for part in np.array_split(order, self.minibatches):
                kept = part[rng.random(len(part)) < self.keep]
                if kept.size:
                    yield kept

    def serialize(self, serializer: Any) -> None:
        """Save or load everything: weights, optimizer, scales, filter."""
        super().serialize(serializer)
        self.optimizer.serialize(serializer['optimizer'])
        self.seen.serialize(serializer['seen'])
        self.spread.serialize(serializer['spread'])
        if isinstance(serializer, chainer.Deserializer):
            saved = serializer('filter', None)
            self._filter = saved if saved is not None and saved.size else None
        else:
            empty = np.zeros(0) if self._filter is None else self._filter
            serializer('filter', empty)

    def _flat(self, observations: np.ndarray) -> np.ndarray:
        """(..., *S) of whole or of cut observations -> (N, *shape)."""
        kept = observations[..., self.channels]
        lead = kept.ndim - len(self.shape)
        if lead < 1 or kept.shape[lead:] != self.shape:
            raise ValueError(
                f'observations have shape {observations.shape}, expected (..., *{self.shape})'
            )
        return kept.reshape(-1, *self.shape)

    def _errors(self, observations: np.ndarray):
        """Mean squared error of each of (N, *shape), (N,) Variable."""
        dtype = self.predictor.head[0].W.dtype
        # clip((x - mean) / deviation, -5, 5)
        white = self.seen.normalize(observations.astype(dtype), clip=self.clip)
        x = self.device.send(white)
        with chainer.no_backprop_mode():
            wanted = self.target(x).array
        return F.mean((self.predictor(x) - wanted) ** 2, axis=1)  # |f^(x) - f(x)|^2 / features
