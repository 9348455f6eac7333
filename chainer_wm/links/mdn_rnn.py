"""M, the model of the world: an MDN-RNN whose core is an LSTM or a DNC.

It reads the latent picture z, the action a and, where it predicts death, a flag for the first step
of an episode; it predicts a mixture for the next z, p(z_{t+1} | z_t, a_t, h_t), and, if asked, the
episode's end and the reward
(Ha and Schmidhuber 2018). The reward of a step is read from the core's output
after it consumed (z, a): the state of before the step and the action are both in there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import backend, initializers

from chainer_wm.devices import to_cpu
from chainer_wm.functions import mixture_kernels
from chainer_wm.functions.dropout import Masks, draw_masks
from chainer_wm.functions.mdn_rnn_step import PackedStep
from chainer_wm.functions.mixture import (
    Mixture,
    MixtureLoss,
    check_targets,
    composed_loss,
    entropy_weight,
    nll_weight,
    sample_mixture,
)
from chainer_wm.links.recurrent import LSTM, OverCore, detach, make_core


class Prediction(NamedTuple):
    """What M says about the next step.

    Fields:
        mixture: of the next z, every field (..., K, Z).
        done_logit: logit of "the episode ends here", (...), or None.
        reward: of this step, (...), or None.
    """

    mixture: Mixture
    done_logit: Any
    reward: Any = None


def p_done(logit: Any) -> np.ndarray:
    """P(d = 1) of its logit, float64 on the CPU."""
    return 1 / (1 + np.exp(-to_cpu(logit).astype(np.float64)))


class Scale(NamedTuple):
    """By what each mean of the loss is multiplied, where others have the rest of the batch."""

    nll: float
    done: float
    reward: float


def split_mixture(out, mixtures: int, latent_size: int) -> Mixture:
    """The first 3KZ columns of a head's output (..., >= 3KZ) as a mixture."""
    shape = (*out.shape[:-1], mixtures, latent_size)
    size = mixtures * latent_size
    # logits of pi, mu, ln sigma
    fields = (F.reshape(out[..., n * size : (n + 1) * size], shape) for n in range(3))
    return Mixture(*fields)


def _dropped(z, state, masks: Masks | None, stream):
    """z and state as a core reads them under dropout; each lane has the masks of its stream."""
    if masks is None:
        return z, state
    return z * masks.z[stream], state._replace(h=state.h * masks.h[stream])


class RewardHead(L.Linear):
    """The mean of a Gaussian over a step's reward, linear in M's output.

    Args:
        input_size: Y, of the core's output.
        scale: standard deviation of the Gaussian, in the reward's units.
        seed: of the initial weights.

    Raises:
        ValueError: the scale is not positive.
    """

    def __init__(self, input_size: int, scale: float, seed: int) -> None:
        if not scale > 0:
            raise ValueError(f'reward_scale is {scale}, but must be positive')
        rng = np.random.RandomState(seed)
        super().__init__(input_size, 1, initialW=initializers.LeCunNormal(rng=rng))
        self.scale = scale

    def forward(self, ys):
        """Rewards (...) in the game's units of outputs ys (..., Y)."""
        return super().forward(ys, ys.ndim - 1)[..., 0] * self.scale

    def loss(self, ys, reward):
        """Half the mean squared error in units of ``scale``, a scalar.

        It is the negative log-likelihood of the Gaussian less its constant.

        Args:
            ys: (T, B, Y).
            reward: (T, B); what is not a number is not known, and left out.

        Raises:
            ValueError: the shapes do not fit.
        """
        if reward.shape != ys.shape[:-1]:
            raise ValueError(f'reward has shape {reward.shape} but (T, B) is {ys.shape[:-1]}')
        xp = backend.get_array_module(reward)
        known = xp.isfinite(reward)
        target = xp.where(known, reward, 0).astype(ys.dtype)
        error = (self(ys) - target) / self.scale * known.astype(ys.dtype)
        # -ln N(r; mu, scale) = ((mu - r) / scale)^2 / 2 + constant
        return 0.5 * F.sum(F.square(error)) / max(int(known.sum()), 1)


class MDNRNN(OverCore):
    """Predicts the next latent picture, and the end of the episode.

    Args:
        latent_size: Z, dims of z.
        action_size: A, dims of a.
        hidden_size: H of the LSTM, or of the DNC's controller.
        mixtures: K, components per latent dimension.
        core: 'lstm' or 'dnc'.
        predict_done: predict death too; the input then has the restart flag.
        predict_reward: predict the reward of the step too.
        reward_scale: unit in which the reward's error counts in the loss.
        end_reward: of the step that ends an episode, where the game's rules tell it: M then
            learns all others, see ``rounds.windows``, and a dream pays this one. A rare one that
            is far from the rest would bend what M predicts everywhere.
        seed: of the initial weights.
        engine: 'fused' or 'reference', see ``recurrent.LSTM``.
        core_options: for a DNC: memory_length=16, memory_width=16, read_heads=4,
            link_sparsity=None. For an LSTM: recompute=False.

    Attributes:
        core, head: the links: the recurrent core and one linear layer.
        reward_head: a third link, or False where no reward is predicted.
        output_size: outputs of both heads together.
        config: the constructor's arguments, for ``MDNRNN(**config)``.
    """

    def __init__(
        self,
        latent_size: int,
        action_size: int,
        hidden_size: int,
        mixtures: int = 5,
        core: str = 'lstm',
        predict_done: bool = False,
        seed: int = 0,
        engine: str = 'fused',
        predict_reward: bool = False,
        reward_scale: float = 1.0,
        end_reward: float | None = None,
        **core_options,
    ) -> None:
        super().__init__(
            latent_size=latent_size,
            action_size=action_size,
            hidden_size=hidden_size,
            mixtures=mixtures,
            core=core,
            predict_done=predict_done,
            seed=seed,
            engine=engine,
            predict_reward=predict_reward,
            reward_scale=reward_scale,
            end_reward=end_reward,
            **core_options,
        )
        self.latent_size = latent_size
        self.action_size = action_size
        self.mixtures = mixtures
        self.predict_done = predict_done
        self.end_reward = end_reward
        self.engine = engine
        inputs = latent_size + action_size + predict_done
        outputs = 3 * mixtures * latent_size + predict_done
        self.output_size = outputs + predict_reward
        seeds = np.random.SeedSequence(seed).generate_state(3).tolist()
        with self.init_scope():
            self.core = make_core(core, inputs, hidden_size, seeds[0], engine, **core_options)
            self.head = L.Linear(
                self.core.output_size,
                outputs,
                initialW=initializers.LeCunNormal(rng=np.random.RandomState(seeds[1])),
            )
            self.reward_head = predict_reward and RewardHead(
                self.core.output_size, reward_scale, seeds[2]
            )

    @property
    def feature_sizes(self) -> dict[str, int]:
        """Width of each feature that a controller may see, by name."""
        found = self.features(self.initial_state(1))
        return {'z': self.latent_size} | {name: value.shape[1] for name, value in found.items()}

    def draw_masks(self, draw: Callable[[int], np.ndarray], rate: float) -> Masks:
        """Masks of dropout, of M's dtype and on its device, see ``dropout.draw_masks``."""
        found = draw_masks(draw, rate, self.latent_size, self.initial_state(1).h.shape[1])
        return Masks(*(self.device.send(part.astype(self.dtype)) for part in found))

    def features(self, state, z=None) -> dict[str, Any]:
        """What a controller may see, by name, each (B, ...).

        Args:
            state: of the core, from BEFORE it consumes z.
            z: (B, Z), or None to leave it out.

        Returns:
            'z' if given, 'c' and 'h', and for a DNC 'r', the read vectors of all heads side by
            side.
        """
        found = {} if z is None else {'z': z}
        found.update(c=state.c, h=state.h)
        if hasattr(state, 'read_vectors'):
            reads = state.read_vectors
            found['r'] = reads.reshape((reads.shape[0], -1))
        return found

    def step(self, z, a, state, restart=None):
        """One step of time.

        Args:
            z: (B, Z). a: (B, A). state: of before the step.
            restart: (B,) flags that M reads iff it predicts death: 1 on an episode's first step;
                None means all 0. The state is NOT
                zeroed by it.

        Returns:
            (Prediction, state); the mixture's fields are (B, K, Z).
        """
        y, state = self.core.step(self.inputs(z, a, restart), state)
        return self.predict(y), state

    def follow(self, z, a, state, restart=None):
        """``step`` without the prediction: the new state, of arrays."""
        return detach(self.core.step(self.inputs(z, a, restart), state)[1])

    def sequence(self, z, a, state, reset=None):
        """All steps of a sequence.

        Args:
            z: (T, B, Z). a: (T, B, A). state: of before the first step.
            reset: (T, B) of 0 and 1: an episode starts at t; it zeroes the lane's state before
                step t, and is the restart flag there.

        Returns:
            (Prediction, state); the mixture's fields are (T, B, K, Z).
        """
        ys, state = self.core.sequence(self.inputs(z, a, reset), state, reset)
        return self.predict(ys), state

    def sample(self, z, a, state, restart, noise, stream, temperature, masks=None):
        """One step of a dream: draw the next z. Arrays, without gradients.

        Args:
            z, a, state, restart: as in ``step``.
            noise: (u, eps), each (E, Z), see ``mixture.draw_noise``.
            stream: (B,) integers: the row of the noise that each lane uses.
            temperature: (B,).
            masks: of dropout, (E, ...) and the rows that lanes use those of the noise; or None.

        Returns:
            (z, done_logit, state): (B, Z), (B,) or None, and the new state.
        """
        z, state = _dropped(z, state, masks, stream)
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            inputs = self.inputs(z, a, restart)
            y, state = self.core.step(inputs, state)
        y, state = chainer.as_array(y), detach(state)
        if self.engine == 'fused':
            W, b = self.head.W.array, self.head.b.array
            out = y @ W.T
            u, eps = noise
            z = mixture_kernels.sample_mixture(out, b, u, eps, stream, temperature)
            return z, out[:, -1] + b[-1] if self.predict_done else None, state
        mixture, logit, _ = self.predict(y)
        noise = tuple(part[stream] for part in noise)
        z = sample_mixture(mixture, temperature=temperature, noise=noise)
        return z, None if logit is None else logit.array, state

    def sampler(self) -> Callable:
        """``sample`` with the weights as they are now, for many steps.

        On the CPU, an LSTM's weights are arranged once for all the steps.
        """
        if not self._packs():
            return self.sample
        W, head, bias = (parameter.array for parameter in (self.core.W, self.head.W, self.head.b))
        step = PackedStep(W, head, bias, self.latent_size, self.mixtures)

        def sample(z, a, state, restart, noise, stream, temperature, masks=None):
            self._check(z, a)
            z, state = _dropped(z, state, masks, stream)
            if not self.predict_done:
                restart = None
            z, logit, c, h = step(
                *(z, a, state.c, state.h, restart), *(noise, stream, temperature)
            )
            return z, logit, type(state)(c, h)

        return sample

    def output(self, state):
        """What the core gave out when it came to a state of arrays: (B, Y)."""
        found = self.features(state)
        parts = [found[name] for name in ('h', 'r') if name in found]
        return self.xp.concatenate(parts, axis=1)

    def loss(
        self,
        z,
        a,
        z_next,
        mask,
        done,
        state,
        reset=None,
        done_weight: float = 10.0,
        reward=None,
        masks=None,
        scale: Scale | None = None,
    ):
        """The loss of a sequence; ``chainer.report`` gets its parts.

        Args:
            z, a, state, reset: as in ``sequence``.
            z_next: targets, (T, B, Z).
            mask: (T, B); 0 where z_next is unknown, as after a death.
            done: (T, B) integers: 1 at a death, 0 elsewhere, -1 where nothing is known (padding).
                Unused unless M predicts death.
            done_weight: weight of a death in the mean over all known steps.
            reward: (T, B), NaN where not known; if M predicts rewards.
            masks: of dropout, the same for all steps, see ``dropout.Masks``; or None. Only an LSTM
                learns with them.
            scale: of the parts of the loss; None leaves them.

        Returns:
            (loss, state): the mean negative log-likelihood in nats per latent dimension over the
            steps with mask 1, plus the weighted mean of
            the binary cross entropy of death, plus ``RewardHead.loss``.
            Reported: 'loss', 'nll' and, where predicted, 'done_loss' and 'reward_loss'.
        """
        check_targets(z, z_next, mask, done if self.predict_done else mask)
        weight, entropy = nll_weight(mask, self.latent_size, self.dtype), None
        if self.predict_done:
            entropy = entropy_weight(done, done_weight, self.dtype)
        if scale is not None:
            weight = weight * scale.nll
            entropy = None if entropy is None else entropy * scale.done
        dropout = {}
        if masks is not None:
            if not isinstance(self.core, LSTM):
                raise ValueError('masks of dropout for a DNC: only an LSTM learns with them')
            z, dropout = z * masks.z, {'mask': masks.h}
        inputs = self.inputs(z, a, reset)
        ys, state = self.core.sequence(inputs, state, reset, **dropout)
        done = (done > 0).astype(self.dtype) if self.predict_done else None
        if self.engine == 'fused':
            node = MixtureLoss(z_next, weight, entropy, done)
            (loss,) = node.apply((ys, self.head.W, self.head.b))
            nll, done_loss = node.nll, node.done_loss
        else:
            found = self.predict(ys)[:2]
            loss, nll, done_loss = composed_loss(*found, z_next, weight, entropy, done)
        parts: dict[str, Any] = {'nll': nll}
        if self.predict_done:
            parts['done_loss'] = done_loss
        if self.reward_head:
            parts['reward_loss'] = self.reward_head.loss(ys, reward)
            if scale is not None:
                parts['reward_loss'] = parts['reward_loss'] * scale.reward
            loss += parts['reward_loss']
        chainer.report({'loss': loss, **parts}, self)
        return loss, state

    def _packs(self) -> bool:
        lstm = isinstance(self.core, LSTM) and self.engine == 'fused'
        return lstm and isinstance(self.head.W.array, np.ndarray)

    def _check(self, z, a) -> None:
        for name, value, size in (('z', z, self.latent_size), ('a', a, self.action_size)):
            if value.shape[-1] != size:
                raise ValueError(
                    f'{name} has {value.shape[-1]} dims but M takes {size}: '
                    f'was M trained with another V or game?'
                )

    def inputs(self, z, a, restart=None):
        """What the core reads, (..., X): z, a and, where death is predicted, the flag.

        Args:
            z: (..., Z). a: (..., A). restart: (...), as in ``step``.
        """
        self._check(z, a)
        parts = [z, a]
        if self.predict_done:
            shape = (*z.shape[:-1], 1)
            parts.append(
                self.xp.zeros(shape, z.dtype)
                if restart is None
                else restart.reshape(shape).astype(z.dtype)
            )
        return F.concat(parts, axis=-1)

    def predict(self, ys) -> Prediction:
        """What the heads make of the core's outputs (..., Y)."""
        out = self.head(ys, n_batch_axes=ys.ndim - 1)
        return Prediction(
            split_mixture(out, self.mixtures, self.latent_size),
            out[..., -1] if self.predict_done else None,
            self.reward_head(ys) if self.reward_head else None,
        )
