"""The dream: M in the place of the game, many lanes at once.

A controller acts on what M believed before the step, M consumes (z, a) and says what comes next
and whether the episode ends (World Models, Ha and Schmidhuber 2018, section 4). The reward is the
one that M predicts, or else one per step survived, the dying one included.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.dream.places import Places, put
from chainer_wm.functions.dropout import Masks, check_rate

Streams = np.random.Generator | Sequence[np.random.Generator]


class Noise:
    """Float64 noise for E streams, drawn on the CPU.

    Args:
        rng: one generator for all streams, or a sequence of E, one each.
        streams: E.

    Raises:
        ValueError: the sequence has not E generators.
    """

    def __init__(self, rng: Streams, streams: int) -> None:
        self._rng = rng
        self._streams = streams
        if not isinstance(rng, np.random.Generator) and len(rng) != streams:
            raise ValueError(f'{len(rng)} generators for {streams} lanes')

    def draw(self, method: str, *shape: int, only=None) -> np.ndarray:
        """(E, *shape) numbers of a method of Generator; ``only`` some rows."""
        rows = range(self._streams) if only is None else only
        if isinstance(self._rng, np.random.Generator):
            return getattr(self._rng, method)(size=(len(rows), *shape))
        return np.stack([getattr(self._rng[n], method)(size=shape) for n in rows])


#: What the controller of World Models sees of an LSTM's M; any other choice is an argument.
FEATURES = ('z', 'c', 'h')
SEEABLE = (*FEATURES, 'r')  # r: the read vectors of a DNC


class DreamStep(NamedTuple):
    """What one step brought, one entry per lane.

    Fields:
        z: the next latent picture, (B, Z), on M's device.
        reward: (B,) float64, M's if it predicts rewards, or else 1 each.
        terminated: (B,) bool: M predicts the end of the episode.
        truncated: (B,) bool: the cap of steps is reached.
    """

    z: Any
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def done(self) -> np.ndarray:
        """(B,) bool: the episode is over, for either reason."""
        return self.terminated | self.truncated


#: What ``Dream.reset`` makes.
_BEGUN = frozenset(
    ('_noise', '_sample', '_stream', '_tau', '_ages', '_state', '_z', '_place', '_masks')
)


class Dream:
    """M as a simulator of B lanes that step together.

    Args:
        model: a trained ``MDNRNN``; without predicted death, only the cap
            ends an episode.
        starts: (mu, ln_var), each (N, Z): posteriors of V for first frames
            of recorded episodes. An episode starts at a sample of one.
        temperature: tau > 0, or (low, high): every episode then draws its own from the uniform
            distribution between them.
        max_steps: cap of one episode.
        done_threshold: the episode ends where P(end) exceeds it.
        places: moments of recorded episodes at which dreams begin, with what M remembers there;
            None lets all begin at ``starts``.
        first_share: of the dreams that begin at ``starts`` all the same.
        dropout: rate at which M's z and h are dropped, by masks that every dream draws anew and
            keeps to its end: another M for each. What C sees is whole.

    Raises:
        ValueError: starts do not fit the model, the temperature is not positive, or the dropout no
            rate.
    """

    def __init__(
        self,
        model,
        starts,
        temperature=1.0,
        *,
        max_steps: int,
        done_threshold: float = 0.5,
        places: Places | None = None,
        first_share: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        self.model = model
        self.dropout = check_rate(dropout)
        self.max_steps = max_steps
        mu, ln_var = (np.asarray(part, np.float64) for part in starts)
        if mu.ndim != 2 or mu.shape != ln_var.shape or not len(mu):
            raise ValueError(
                f'starts must be two arrays (N, Z), not {mu.shape} and {ln_var.shape}'
            )
        if mu.shape[1] != model.latent_size:
            raise ValueError(
                f'starts have {mu.shape[1]} dims but M predicts '
                f'{model.latent_size}: was M trained on another VAE?'
            )
        self._mu, self._sigma = mu, np.exp(0.5 * ln_var)
        if places is not None and places.mu.shape[1] != model.latent_size:
            raise ValueError(
                f'places have {places.mu.shape[1]} dims but M predicts {model.latent_size}: '
                'was M trained on another VAE?'
            )
        if not 0 <= first_share <= 1:
            raise ValueError(f'first_share is {first_share}, but must lie between 0 and 1')
        self.places, self._first_share = places, first_share
        low, high = np.broadcast_to(temperature, 2).astype(float)
        if not 0 < low <= high:
            raise ValueError(
                f'temperature must be positive, or a range (low, '
                f'high) of positive numbers, not {temperature}'
            )
        self._temperatures = low, high
        if not 0 < done_threshold < 1:
            raise ValueError(f'done_threshold is {done_threshold}, but must lie between 0 and 1')
        self._done_logit = np.log(done_threshold / (1 - done_threshold))

    def __getstate__(self) -> dict[str, Any]:
        """As it was made: what ``reset`` began does not travel to a worker, and could not."""
        return {name: value for name, value in vars(self).items() if name not in _BEGUN}

    @property
    def lanes(self) -> int:
        """B, the lanes that are stepped."""
        return len(self._stream)

    @property
    def ages(self) -> np.ndarray:
        """(B,) steps that each lane's episode has lasted."""
        return self._ages

    def reset(self, lanes: int, rng: Streams, repeats: int = 1) -> None:
        """Start an episode in every lane, with M as it is now.

        Args:
            lanes: E, the streams of noise.
            rng: one generator for all, or a sequence of E, one each (then a lane's numbers do not
                depend on the number of lanes).
            repeats: P copies of the E lanes that share start, temperature and noise: lane p * E +
                e is copy p of stream e.
        """
        self._noise = Noise(rng, lanes)
        self._sample = self.model.sampler()
        self._stream = np.tile(np.arange(lanes), repeats)
        self._tau = np.ones(lanes * repeats)
        self._ages = np.zeros(lanes * repeats, np.int64)
        self._state = self.model.initial_state(lanes * repeats)
        z, tau, place = self._draw_starts()
        self._z = self._send(z[self._stream])
        self._tau = tau[self._stream]
        self._place = place[self._stream]
        self._masks = self._draw_masks() if self.dropout else None
        if self.places is not None:
            self._remember(self._state, self.places.state)

    def restart(self, index) -> None:
        """Start a new episode in some lanes; the others are as they were.

        Args:
            index: integers, the lanes. Needs ``reset`` with repeats 1. With one generator for all
                lanes, what they dream from here on depends on which ones they are.
        """
        index = np.asarray(index)
        z, tau, place = self._draw_starts(self._stream[index])
        self._z = self._z.copy()  # the caller may hold the old one
        self._tau[index] = tau
        self._ages[index] = 0
        self._place[index] = place
        sent = self.model.device.send(index)
        self._z[sent] = self._send(z)
        for field in self._state:
            field[sent] = 0
        if self._masks is not None:
            rows = self.model.device.send(self._stream[index])
            for kept, new in zip(self._masks, self._draw_masks(self._stream[index])):
                kept[rows] = new
        if self.places is not None:
            self._remember(self._state, self.places.state, index)

    def features(self) -> dict[str, Any]:
        """What C may see now, by name: 'z', 'c', 'h' (and 'r' for a DNC)."""
        return self.model.features(self._state, self._z)

    def observe(self, names: Sequence[str] = FEATURES):
        """The named features side by side, (B, F), on M's device."""
        found = self.features()
        xp = chainer.backend.get_array_module(self._z)
        return xp.concatenate([found[name] for name in names], axis=1)

    def step(self, actions) -> DreamStep:
        """Let M consume (z, a) and draw what comes next.

        Args:
            actions: (B, A).

        Raises:
            FloatingPointError: M predicts a number that is not finite.
        """
        z_size = self.model.latent_size
        noise = (self._noise.draw('random', z_size), self._noise.draw('standard_normal', z_size))
        # z_{t+1}, d_{t+1} ~ P(z_{t+1}, d_{t+1} | a_t, z_t, h_t) at temperature tau
        self._z, logit, self._state = self._sample(
            *(self._z, self._send(actions), self._state),
            self._send(self._first_steps()),
            noise=tuple(self._send(part) for part in noise),
            stream=self.model.device.send(self._stream),
            temperature=self._send(self._tau),
            **({} if self._masks is None else {'masks': self._masks}),
        )
        self._ages = self._ages + 1
        terminated = self._ends(logit)
        self._check_finite()
        reward = self._reward()
        if self.model.end_reward is not None:
            reward[terminated] = self.model.end_reward
        return DreamStep(self._z, reward, terminated, self._ages >= self.max_steps)

    def keep(self, index) -> None:
        """Drop all lanes but some; their noise stays what it would have been.

        Args:
            index: integers or a (B,) bool mask: the lanes to keep.
        """
        index = np.asarray(index)
        self._stream, self._tau, self._ages, self._place = (
            part[index] for part in (self._stream, self._tau, self._ages, self._place)
        )
        index = self.model.device.send(index)
        self._z = self._z[index]
        self._state = type(self._state)(*(field[index] for field in self._state))

    def _draw_starts(self, only=None):
        """z_0, temperature and place (-1: a first frame) of each new episode."""
        draw = self._noise.draw
        u = draw('random', only=only)
        eps = draw('standard_normal', self._mu.shape[1], only=only)
        low, high = self._temperatures
        tau = low + (high - low) * draw('random', only=only)
        chosen = (u * len(self._mu)).astype(int)
        mu, sigma = self._mu[chosen], self._sigma[chosen]
        place = np.full(len(u), -1)
        if self.places is not None:
            inside = draw('random', only=only) >= self._first_share
            place[inside] = (u[inside] * len(self.places.first)).astype(int)
            mu[inside] = self.places.mu[place[inside]]
            sigma[inside] = np.exp(0.5 * self.places.ln_var[place[inside]])
        return mu + sigma * eps, tau, place  # z_0 ~ N(mu, sigma^2)

    def _draw_masks(self, only=None) -> Masks:
        """Of dropout for new episodes, (E, ...), by their streams."""
        draw = functools.partial(self._noise.draw, 'random', only=only)
        return self.model.draw_masks(draw, self.dropout)

    def _remember(self, state, kept, lanes=None) -> None:
        """Let lanes (all, or some) that begin at places know what came before."""
        lanes = np.arange(self.lanes) if lanes is None else lanes
        lanes = lanes[self._place[lanes] >= 0]
        put(state, lanes, kept, self._place[lanes], self.model.device)

    def _first_steps(self) -> np.ndarray:
        """(B,) bool: where M is told that an episode begins."""
        begins = self._ages == 0
        if self.places is not None:
            begins &= (self._place < 0) | self.places.first[self._place]
        return begins

    def _send(self, array):
        array = chainer.backend.get_array_module(array).asarray(array, self.model.dtype)
        return self.model.device.send(array)

    def _reward(self) -> np.ndarray:
        """(B,) float64, of the step that led to M's state."""
        head = self.model.reward_head
        if not head:
            return np.ones(self.lanes)
        with chainer.no_backprop_mode():
            reward = head(self.model.output(self._state)).array
        return to_cpu(reward).astype(np.float64)

    def _ends(self, logit) -> np.ndarray:
        if logit is None:
            return np.zeros(self.lanes, bool)
        logit = to_cpu(logit)
        if not np.isfinite(logit).all():
            raise FloatingPointError(self._not_finite('P(end)'))
        return logit > self._done_logit  # P(d = 1) > threshold

    def _check_finite(self) -> None:
        xp = chainer.backend.get_array_module(self._z)
        if not bool(xp.isfinite(self._z).all()):
            raise FloatingPointError(self._not_finite('z'))

    def _not_finite(self, what: str) -> str:
        return (
            f'M predicts a {what} that is not finite, after '
            f'{self._ages.min()} to {self._ages.max()} steps of a dream: '
            f'did its training diverge?'
        )


def evaluate_population(
    dream: Dream,
    act: Callable,
    candidates: np.ndarray,
    episodes: int = 16,
    *,
    rng: np.random.Generator,
    features: Sequence[str] = FEATURES,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Returns of every candidate controller, all dreamt as one batch.

    Common random numbers: episode e has the same start, temperature and noise for every candidate,
    so that candidates differ by their actions alone.

    Args:
        dream: the simulator; it is reset.
        act: (features (B, F), theta (B, n)) -> actions (B, A), for instance
            ``LinearController.act``.
        candidates: (P, n) parameters.
        episodes: E per candidate.
        rng: made from (seed, stage, generation): the same one gives the same returns.
        features: what act sees, in this order.
        progress: called with (steps done, lanes alive) after every step.

    Returns:
        (P, E) float64 returns.
    """
    candidates = np.asarray(candidates)
    population = len(candidates)
    dream.reset(episodes, rng, repeats=population)
    send = dream.model.device.send
    theta = np.repeat(candidates.astype(dream.model.dtype), episodes, axis=0)
    theta = send(theta)
    lane = np.arange(population * episodes)
    alive = np.ones(len(lane), bool)
    returns = np.zeros(len(lane))
    steps = 0
    while alive.any():
        result = dream.step(act(dream.observe(features), theta))  # a_t = C(z_t, h_t)
        steps += 1
        returns[lane[alive]] += result.reward[alive]
        alive &= ~result.done
        if progress is not None:
            progress(steps, int(alive.sum()))
        if alive.any() and alive.sum() <= 0.95 * len(alive):
            dream.keep(alive)
            theta = theta[send(alive)]
            lane, alive = lane[alive], alive[alive]
    return returns.reshape(population, episodes)


def rollout(
    dream: Dream, policy, rngs: Sequence[np.random.Generator], features: Sequence[str] = FEATURES
) -> np.ndarray:
    """Lengths of one dreamt episode per generator, played by a policy.

    Args:
        dream: the simulator; it is reset.
        policy: ``start(rngs) -> state`` and ``act(observations, state) -> (actions, state)``, both
            over all lanes.
        rngs: one per lane; the dream and the policy each get a child of it,
            so that every policy meets the same dream.

    Returns:
        (B,) steps until death or the cap.
    """
    children = [rng.spawn(2) for rng in rngs]
    dream.reset(len(rngs), [pair[0] for pair in children])
    state = policy.start([pair[1] for pair in children])
    lengths = np.zeros(len(rngs), np.int64)
    alive = np.ones(len(rngs), bool)
    while alive.any():
        actions, state = policy.act(dream.observe(features), state)
        result = dream.step(actions)
        lengths += alive
        alive &= ~result.done
    return lengths
