"""A model of a world whose states are vectors of integers, with an LSTM or a DNC as its core.

It reads s_t and a_t and predicts s_{t+1}, D integers from 0 to K - 1, either as a mixture of
Gaussians for each component that is rounded to integers, or as one categorical distribution for
each. The likelihoods of both can be compared: the mixture learns from s_{t+1} + u with u uniform
over [-1/2, 1/2), and its mean negative log-likelihood is then no less than that of the rounded
mixture (Theis, van den Oord and Bethge 2016, "A note on the evaluation of generative models").
"""

from __future__ import annotations

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import initializers

from chainer_wm.functions.mixture import Mixture, MixtureLoss, nll_weight, sample_mixture
from chainer_wm.links.recurrent import OverCore, make_core

HEADS = ('mixture', 'categorical')
IGNORED = -1
STAYS = 0.95  # chance of a component to stay as it is, before anything is learnt


class StateModel(OverCore):
    """Predicts the next state of integers.

    Args:
        state_size: D, components of a state.
        values: K; a component is one of 0 to K - 1.
        action_size: A, of an action's vector.
        hidden_size: H of the LSTM, or of the DNC's controller.
        head: 'mixture' or 'categorical'.
        planes: so many components, from the first on, are read as one of K; the others as numbers
            in [0, 1].
        change: the prediction starts from s_t: means of a mixture are added to it, and a
            categorical has for each component a weight of staying.
        mixtures: Gaussians per component.
        core: 'lstm' or 'dnc'.
        seed: of the initial weights.
        engine: 'fused' or 'reference', see ``recurrent.LSTM``.
        core_options: of the core, see ``recurrent.make_core``.

    Attributes:
        core, head: the links: the recurrent core and one linear layer.
        stay: (D,), what is added to the logits of the values in s_t, with a categorical and
            ``change`` alone; at first every component stays with a chance of 0.95.
        input_size, output_size: of the core's input, and of the head.
        config: the constructor's arguments, for ``StateModel(**config)``.

    Raises:
        ValueError: an unknown head, or more planes than components.
    """

    def __init__(
        self,
        state_size: int,
        values: int,
        action_size: int,
        hidden_size: int,
        head: str = 'mixture',
        planes: int = 0,
        change: bool = False,
        mixtures: int = 5,
        core: str = 'lstm',
        seed: int = 0,
        engine: str = 'fused',
        **core_options,
    ) -> None:
        super().__init__(
            state_size=state_size,
            values=values,
            action_size=action_size,
            hidden_size=hidden_size,
            head=head,
            planes=planes,
            change=change,
            mixtures=mixtures,
            core=core,
            seed=seed,
            engine=engine,
            **core_options,
        )
        if head not in HEADS or not 0 <= planes <= state_size:
            raise ValueError(
                f'head is {head!r} and planes {planes}, expected one of {HEADS} and 0 to '
                f'{state_size}'
            )
        self.state_size, self.values, self.planes = state_size, values, planes
        self.kind, self.change, self.mixtures = head, change, mixtures
        self.input_size = planes * values + state_size - planes + action_size
        self.output_size = state_size * (3 * mixtures if head == 'mixture' else values)
        core_seed, head_seed = np.random.SeedSequence(seed).generate_state(2).tolist()
        draw = initializers.LeCunNormal(rng=np.random.RandomState(head_seed))
        with self.init_scope():
            self.core = make_core(
                core, self.input_size, hidden_size, core_seed, engine, **core_options
            )
            self.head = L.Linear(self.core.output_size, self.output_size, initialW=draw)
            if head == 'categorical' and change:
                # softmax: 0.95 for the value of before, as long as nothing is known
                odds = np.log(STAYS / (1 - STAYS) * (values - 1))
                self.stay = chainer.Parameter(np.full(state_size, odds, chainer.get_dtype()))

    def inputs(self, s, a):
        """What the core reads of states (..., D) and actions (..., A): (..., X)."""
        if s.shape[-1] != self.state_size or a.shape[-1] != self._config['action_size']:
            raise ValueError(
                f's has {s.shape[-1]} components and a {a.shape[-1]}, but M takes '
                f'{self.state_size} and {self._config["action_size"]}: was M trained on another '
                'game?'
            )
        rest = s[..., self.planes :] * self.dtype.type(1 / (self.values - 1))
        parts = [rest.astype(self.dtype), a]
        if self.planes:
            coded = self._one_hot(s[..., : self.planes])
            parts.insert(0, coded.reshape((*s.shape[:-1], self.planes * self.values)))
        return self.xp.concatenate(parts, axis=-1)

    def sequence(self, s, a, state, reset=None):
        """The core's outputs over all steps.

        Args:
            s: (T, B, D) integers, as the model's floats. a: (T, B, A).
            state: of before the first step.
            reset: (T, B) of 0 and 1: an episode starts at t.

        Returns:
            (ys, state): (T, B, Y), and the state of after the last step.
        """
        return self.core.sequence(self.inputs(s, a), state, reset)

    def loss(self, s, a, s_next, mask, state, reset=None, noise=None):
        """The mean negative log-likelihood of a sequence, in nats per component.

        Args:
            s, a, state, reset: as in ``sequence``.
            s_next: targets, (T, B, D).
            mask: (T, B); 0 where s_next is unknown.
            noise: (T, B, D) in [-1/2, 1/2), added to the targets of a mixture.

        Returns:
            (loss, state); reports 'loss'.
        """
        ys, state = self.sequence(s, a, state, reset)
        if self.kind == 'mixture':
            target = s_next - s if self.change else s_next
            target = target if noise is None else target + noise
            weight = nll_weight(mask, self.state_size, self.dtype)
            (loss,) = MixtureLoss(target, weight).apply((ys, self.head.W, self.head.b))
        else:
            known = mask[..., None] != 0
            target = self.xp.where(known, s_next, IGNORED).astype(np.int32)
            logits = self.logits(s, ys)
            loss = F.softmax_cross_entropy(
                logits.reshape((-1, self.values)), target.reshape(-1), ignore_label=IGNORED
            )
        chainer.report({'loss': loss}, self)
        return loss, state

    def logits(self, s, ys):
        """Of the categoricals, (..., D, K)."""
        out = self.head(ys, n_batch_axes=ys.ndim - 1)
        out = out.reshape((*s.shape, self.values))
        if not self.change:
            return out
        stay = F.broadcast_to(self.stay[:, None], out.shape)
        return out + stay * self._one_hot(s)

    def mixture(self, ys) -> Mixture:
        """Of Gaussians, every field (..., M, D)."""
        out = self.head(ys, n_batch_axes=ys.ndim - 1)
        shape = (*ys.shape[:-1], self.mixtures, self.state_size)
        size = self.mixtures * self.state_size
        return Mixture(*(out[..., n * size : (n + 1) * size].reshape(shape) for n in range(3)))

    def predict(self, s, ys, noise=None):
        """The next state, in integers.

        Args:
            s: (..., D), the states that were read. ys: (..., Y), the core's outputs.
            noise: (u, eps), each (..., D), see ``mixture.draw_noise``, draws it; None takes the
                likeliest value, of a mixture the mean of its heaviest Gaussian, rounded.

        Returns:
            (..., D) of the model's dtype; values below 0 and above K - 1 are left as they are.
        """
        with chainer.no_backprop_mode():
            if self.kind == 'categorical':
                return self._chosen(self.logits(s, ys).array, noise)
            mixture = Mixture(*(field.array for field in self.mixture(ys)))
        xp = self.xp
        if noise is None:
            heaviest = mixture.logits.argmax(axis=-2)[..., None, :]
            z = xp.take_along_axis(mixture.mu, heaviest, axis=-2)[..., 0, :]
        else:
            z = sample_mixture(mixture, noise=noise)
        return xp.rint(z + s if self.change else z).astype(self.dtype)

    def _chosen(self, logits, noise):
        xp = self.xp
        if noise is None:
            return logits.argmax(axis=-1).astype(self.dtype)
        weights = xp.exp(logits - logits.max(axis=-1, keepdims=True))
        cumulative = xp.cumsum(weights, axis=-1)
        u = xp.asarray(noise[0], self.dtype)[..., None] * cumulative[..., -1:]
        return (cumulative[..., :-1] <= u).sum(axis=-1).astype(self.dtype)

    def _one_hot(self, s):
        """(..., n) integers as (..., n, K) of 0 and 1."""
        return (s[..., None] == self.xp.arange(self.values)).astype(self.dtype)
