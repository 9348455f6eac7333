"""Proximal policy optimisation (Schulman et al., 2017), several rewards.

As in Random Network Distillation (Burda et al., 2018): each reward stream has a value head, a
discount and a coefficient of its own, and the advantages are
added up: A = 2 A_extrinsic + A_intrinsic there. Losses are strictly (T, B): nothing is broadcast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import numpy as np

from chainer_wm.agents.ppo.experience import Experience
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.ppo.returns import Advantages, check_time_batch, generalized_advantages


def clipped_objective(log_probs, old_log_probs, advantages, clip: float):
    """min(ratio A, clip(ratio) A), to be made large; no reduction.

    Args:
        log_probs: (T, B) Variable, of the policy that learns.
        old_log_probs: (T, B), of the policy that acted.
        advantages: (T, B).
        clip: how far the ratio may leave 1.

    Returns:
        (T, B) Variable.

    Raises:
        ValueError: the shapes are not one (T, B).
    """
    check_time_batch(log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages)
    ratio = F.exp(log_probs - old_log_probs)  # r_t = pi(a_t | s_t) / pi_old(a_t | s_t)
    # L^CLIP, eq. 7 of Schulman et al.: min(r A, clip(r, 1 - eps, 1 + eps) A)
    return F.minimum(ratio * advantages, F.clip(ratio, 1 - clip, 1 + clip) * advantages)


def value_loss(values, returns):
    """0.5 (V - R)^2, summed over streams, mean over steps: a scalar.

    Args:
        values: (T, B, V) Variable.
        returns: (T, B, V).
    """
    if values.shape != returns.shape or values.ndim != 3:
        raise ValueError(
            f'values {values.shape} and returns {returns.shape} must both be '
            '(T, B, V): nothing is broadcast'
        )
    steps = values.shape[0] * values.shape[1]
    return F.sum((values - returns) ** 2) / (2 * steps)


class Stream(NamedTuple):
    """A kind of reward.

    Fields:
        name: by which ``PPO.update`` is given its rewards.
        discount: gamma.
        coefficient: of its advantages in the sum.
        episodic: whether it ends with the episode; see ``returns``.
    """

    name: str = 'extrinsic'
    discount: float = 0.99
    coefficient: float = 1.0
    episodic: bool = True


RND_STREAMS = (Stream('extrinsic', 0.999, 2.0, True), Stream('intrinsic', 0.99, 1.0, False))
"""As in the paper of Random Network Distillation (its code's default for the
extrinsic discount is 0.99; the authors' command line passes 0.999)."""


class Batch(NamedTuple):
    """What one minibatch is made of; axes are (T, B) first."""

    observations: Any
    reset: Any
    actions: Any
    log_probs: Any
    advantages: Any
    returns: Any  # (T, B, V)


class PPO:
    """Improves an ActorCritic by what was collected.

    The defaults are those of Random Network Distillation.

    Args:
        network: with one value head per stream, in their order.
        streams: the kinds of reward.
        learning_rate: of Adam.
        epochs, minibatches: passes over the experience, and parts of each. With a memory a part is
            a set of lanes, from first step to last; without, any set of steps.
        clip: of the probability ratio.
        entropy: coefficient of the entropy bonus.
        value: coefficient of the value loss (which has a 1/2 of its own).
        decay: lambda of the advantages.
        normalize: subtract the mean of the advantages and divide by their deviation. The code of
            Random Network Distillation does NOT:
            its rewards have a known scale. Others commonly do.
        max_gradient: norm to which gradients are clipped; None does not.
        epsilon: of Adam.

    Raises:
        ValueError: streams and value heads differ in number.
    """

    def __init__(
        self,
        network: ActorCritic,
        streams: Sequence[Stream] = (Stream(),),
        *,
        learning_rate: float = 1e-4,
        epochs: int = 4,
        minibatches: int = 4,
        clip: float = 0.1,
        entropy: float = 0.001,
        value: float = 1.0,
        decay: float = 0.95,
        normalize: bool = False,
        max_gradient: float | None = None,
        epsilon: float = 1e-8,
    ) -> None:
        if len(streams) != network.values:
            raise ValueError(
                f'{len(streams)} reward streams but the network has {network.values} value heads'
            )
        self.network = network
        self.streams = tuple(streams)
        self.epochs, self.minibatches = epochs, minibatches
        self.clip, self.entropy, self.value = clip, entropy, value
        self.decay, self.normalize = decay, normalize
        self.optimizer = chainer.optimizers.Adam(learning_rate, eps=epsilon)
        self.optimizer.setup(network)
        if max_gradient is not None:
            self.optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(max_gradient))

    def targets(
        self, experience: Experience, rewards: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Advantages (T, B), and what the values should be, (T, B, V).

        Args:
            rewards: (T, B) for each stream, by name.

        Raises:
            ValueError: names or shapes do not fit, or not finite.
        """
        names = [stream.name for stream in self.streams]
        if set(names) != set(rewards):
            raise ValueError(f'rewards of {sorted(rewards)} for the streams {names}')
        found = [self._advantages(experience, n, rewards[name]) for n, name in enumerate(names)]
        # A = sum over streams of coefficient A_stream
        total = sum(
            stream.coefficient * one.advantages for stream, one in zip(self.streams, found)
        )
        if self.normalize:
            total = (total - total.mean()) / (total.std() + 1e-8)
        return total, np.stack([one.returns for one in found], axis=-1)

    def _advantages(self, experience: Experience, n: int, rewards: np.ndarray) -> Advantages:
        """Of stream n alone."""
        stream = self.streams[n]
        rewards = np.asarray(rewards, np.float64)
        if not np.isfinite(rewards).all():
            raise ValueError(f'{stream.name} rewards are not all finite')
        ends: dict[str, Any] = {}
        if stream.episodic:
            ends['terminated'] = experience.terminated
            ends['truncated'] = experience.truncated
            ends['cut_values'] = experience.cut_values[..., n]
        return generalized_advantages(
            rewards,
            experience.values[:-1, :, n],
            experience.values[-1, :, n],
            stream.discount,
            self.decay,
            **ends,
        )

    def update(
        self, experience: Experience, rewards: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, float]:
        """Learn from T * B steps.

        Args:
            experience: of the network as it is now.
            rewards: (T, B) for each stream, by name.
            rng: for the order of the minibatches.

        Returns:
            Means over the minibatches: 'policy_loss', 'value_loss',
            'entropy', 'ratio_clipped' (share of ratios beyond the clip) and 'kl' (estimate of
            KL(old || new), nats); and of the whole: 'advantage_std', 'explained_<stream>' (1 -
            Var(R - V) / Var(R)).
        """
        advantages, returns = self.targets(experience, rewards)
        batch = Batch(
            experience.observations[:-1],
            experience.reset,
            experience.actions,
            experience.log_probs,
            advantages,
            returns,
        )
        found: list[dict[str, float]] = []
        for part, state in self._parts(batch, experience.state, rng):
            found.append(self._improve(part, state))
        metrics = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        metrics['advantage_std'] = float(advantages.std())
        for n, stream in enumerate(self.streams):
            metrics[f'explained_{stream.name}'] = _explained(
                experience.values[:-1, :, n], returns[..., n]
            )
        return metrics

    def serialize(self, serializer: Any) -> None:
        """Save or load network and optimizer."""
        self.network.serialize(serializer['network'])
        self.optimizer.serialize(serializer['optimizer'])

    def _parts(
        self, batch: Batch, state: Any, rng: np.random.Generator
    ) -> Iterator[tuple[Batch, Any]]:
        """Minibatches, epoch after epoch, on the network's device."""
        if not self.network.recurrent:  # every step may stand alone
            batch = Batch(*(a.reshape(1, -1, *a.shape[2:]) for a in batch))
        lanes = batch.advantages.shape[1]
        if self.minibatches > lanes:
            raise ValueError(
                f'{self.minibatches} minibatches of {lanes} lanes: more '
                'environments or fewer minibatches are needed'
            )
        send = self.network.device.send
        for _ in range(self.epochs):
            order = rng.permutation(lanes)
            for chosen in np.array_split(order, self.minibatches):
                part = Batch(*(send(a[:, chosen]) for a in batch))
                yield part, type(state)(*(f[send(chosen)] for f in state))

    def _improve(self, batch: Batch, state: Any) -> dict[str, float]:
        network = self.network
        output, _ = network.sequence(batch.observations, state, batch.reset)
        dtype = output.values.dtype
        log_probs = output.policy.log_prob(batch.actions)
        objective = F.mean(
            clipped_objective(
                log_probs, batch.log_probs, batch.advantages.astype(dtype), self.clip
            )
        )
        error = value_loss(output.values, batch.returns.astype(dtype))
        entropy = F.mean(output.policy.entropy())
        # -(L^CLIP - c_1 L^VF + c_2 S), their eq. 9
        loss = self.value * error - objective - self.entropy * entropy
        network.cleargrads()
        loss.backward()
        self.optimizer.update()
        change = log_probs.array - batch.log_probs
        ratio = network.xp.exp(change)
        return {
            'policy_loss': -float(objective.array),
            'value_loss': float(error.array),
            'entropy': float(entropy.array),
            'ratio_clipped': float((abs(ratio - 1) > self.clip).mean()),
            'kl': float((ratio - 1 - change).mean()),  # KL(old || new) = E[r - 1 - ln r]
        }


def _explained(values: np.ndarray, returns: np.ndarray) -> float:
    variance = returns.var()
    if variance == 0:
        return 0.0
    return float(1 - (returns - values).var() / variance)
