"""C, the controller: a small tanh network over one flat parameter vector.

Evolution sees a controller as a vector theta, Chainer sees it as a chain of Linear links; both
forms hold the same numbers. World Models (Ha and
Schmidhuber 2018) uses a single layer: 1,088 parameters for Doom (z 64, c 512 and h 512 to 1
action, no bias), 867 for the car (z 32 and h 256 to 3).

theta is laid out layer by layer: the weights W (outputs, inputs), row by row, then the biases b
(outputs,).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import backend

from chainer_wm.devices import to_cpu
from chainer_wm.files.archives import built_from, read_archive, write_archive

KIND = 'controller/1'
ACTIONS = ('tanh', 'driving', 'likeliest')
CHOICES = ((0.0,), (-1.0,), (1.0,))  # of 'likeliest': none, left, right


def count_parameters(sizes: Sequence[int], bias: bool = True) -> int:
    """Parameters of a network with these layer sizes, features first."""
    return sum((inputs + bias) * outputs for inputs, outputs in itertools.pairwise(sizes))


def act_with(features, theta, sizes: Sequence[int], bias: bool = True, squash: bool = True):
    """The tanh network of one theta, or of one theta per lane.

    A lane's result does not depend on the other lanes of the batch, to the last bit on the CPU, so
    lanes may be dropped or regrouped at will.

    Args:
        features: (B, F).
        theta: (n,) for all lanes or (B, n), row b for lane b. It is cast to the features' dtype
            and device; cast it once where you call often.
        sizes: F, the hidden sizes if any, A.
        bias: whether theta holds biases.
        squash: the last layer too has a tanh.

    Returns:
        (B, A) in [-1, 1], or whatever the last layer says; dtype and device of the features.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check(features.shape, np.shape(theta), sizes, bias)
    device = backend.get_device_from_array(features)
    theta = device.send(theta).astype(features.dtype, copy=False)
    theta = device.xp.broadcast_to(theta, (len(features), theta.shape[-1]))
    hidden, start = features, 0
    for inputs, outputs in itertools.pairwise(sizes):
        stop = start + inputs * outputs
        # a_t = tanh(W_c [z_t h_t] + b_c), World Models' eq. 1 squashed; W_c, b_c of each lane
        weights = theta[:, start:stop].reshape(-1, outputs, inputs)
        hidden = device.xp.einsum('bi,boi->bo', hidden, weights)
        start = stop
        if bias:
            start += outputs
            hidden += theta[:, stop:start]
        if squash or start < count_parameters(sizes, bias):
            hidden = device.xp.tanh(hidden)
    return hidden


def _check(features, theta, sizes, bias) -> None:
    if len(features) != 2 or features[1] != sizes[0]:
        raise ValueError(
            f'features have shape {features} but C takes (B, {sizes[0]}): '
            'was C made for another M, or for other features?'
        )
    n = count_parameters(sizes, bias)
    if theta not in ((n,), (features[0], n)):
        raise ValueError(
            f'theta has shape {theta} but C has {n} parameters and the batch '
            f'{features[0]} lanes: neither ({n},) nor ({features[0]}, {n})'
        )


def driving_actions(squashed):
    """Steering in [-1, 1], gas and brake in [0, 1], from tanh outputs.

    Args:
        squashed: (..., 3) in [-1, 1].

    Returns:
        (..., 3): steering as it is, gas (tanh + 1) / 2, brake max(tanh, 0).
    """
    xp = backend.get_array_module(squashed)
    steer, gas, brake = (squashed[..., i] for i in range(3))
    return xp.stack((steer, (gas + 1) / 2, xp.maximum(brake, 0)), axis=-1)


def likeliest_actions(logits):
    """The choice with the largest output, one number in {0, -1, 1}: none, left or right.

    Args:
        logits: (..., 3), of a policy over ``CHOICES``.

    Returns:
        (..., 1).
    """
    xp = backend.get_array_module(logits)
    return xp.asarray(CHOICES, logits.dtype)[logits.argmax(axis=-1)]


class Controller(chainer.Chain):
    """Layers of tanh units; see LinearController and HiddenController.

    Args:
        sizes: features, hidden units if any, actions (or choices).
        bias: whether the layers have biases.
        actions: 'tanh' for actions in [-1, 1], 'driving' for ``driving_actions``, 'likeliest' for
            ``likeliest_actions`` of a last layer without a tanh.
        seed: of the initial weights (LeCun normal); biases start at 0.

    Raises:
        ValueError: ``actions`` is unknown, or 'driving' without 3 actions.
    """

    def __init__(
        self, sizes: Sequence[int], bias: bool = True, actions: str = 'tanh', seed: int = 0
    ):
        if actions not in ACTIONS:
            raise ValueError(f'actions is {actions!r}, not one of {ACTIONS}')
        if actions == 'driving' and sizes[-1] != 3:
            raise ValueError(
                f'a car takes 3 actions (steering, gas, brake), but action_size is {sizes[-1]}'
            )
        if actions == 'likeliest' and sizes[-1] != len(CHOICES):
            raise ValueError(
                f'there are {len(CHOICES)} choices (none, left, right), but as many outputs as '
                f'{sizes[-1]}'
            )
        super().__init__()
        self.sizes, self.bias, self.actions = tuple(sizes), bias, actions
        initial = chainer.initializers.LeCunNormal(rng=np.random.RandomState(seed))
        with self.init_scope():
            for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
                layer = L.Linear(inputs, outputs, not bias, initial)
                setattr(self, f'layer{i}', layer)

    @property
    def feature_size(self) -> int:
        """F, how many numbers C sees."""
        return self.sizes[0]

    @property
    def action_size(self) -> int:
        """A, how many numbers C decides; of 'likeliest' how many choices it has."""
        return self.sizes[-1]

    @property
    def n_params(self) -> int:
        """Length of theta, equal to ``count_params()``."""
        return count_parameters(self.sizes, self.bias)

    def act(self, features, theta=None):
        """Actions, for this controller or for a population of them.

        Args:
            features: (B, F) array.
            theta: None for the link's own parameters, (n,) for others, (B, n) for one controller
                per lane.

        Returns:
            (B, A) array, dtype and device of the features.

        Raises:
            ValueError: the shapes do not fit (names both).
        """
        if theta is None:
            theta = self.xp.concatenate([a.ravel() for a in self._arrays()])
        choose = self.actions == 'likeliest'
        outputs = act_with(features, theta, self.sizes, self.bias, squash=not choose)
        if choose:
            return likeliest_actions(outputs)
        return driving_actions(outputs) if self.actions == 'driving' else outputs

    def forward(self, features) -> chainer.Variable:
        """``act`` of the link's own parameters, for gradients: (B, A).

        Of 'likeliest' the outputs that are compared: a choice has no gradient.
        """
        *layers, last = self._layers()
        x = features
        for layer in layers:
            x = F.tanh(layer(x))
        x = last(x)
        if self.actions != 'likeliest':
            x = F.tanh(x)
        if self.actions == 'driving':
            x = F.stack((x[:, 0], (x[:, 1] + 1) / 2, F.relu(x[:, 2])), axis=1)
        return x

    def get_theta(self) -> np.ndarray:
        """The parameters as one vector (n,), float64, on the CPU."""
        flat = [to_cpu(array).ravel() for array in self._arrays()]
        return np.concatenate(flat).astype(np.float64)

    def set_theta(self, theta) -> None:
        """Take the parameters from a vector (n,), cast to their dtype.

        Raises:
            ValueError: its length is not ``n_params``, or it is not finite.
        """
        theta = np.asarray(theta, dtype=np.float64)
        if theta.shape != (self.n_params,):
            raise ValueError(
                f'theta has shape {theta.shape} but C has {self.n_params} '
                'parameters: was it evolved for other features?'
            )
        if not np.isfinite(theta).all():
            raise ValueError(
                f'{(~np.isfinite(theta)).sum()} of the {theta.size} numbers '
                'of theta are not finite'
            )
        start = 0
        for array in self._arrays():
            part = theta[start : start + array.size].reshape(array.shape)
            array[...] = self.device.send(part.astype(array.dtype))
            start += array.size

    def save(self, path: str | os.PathLike) -> None:
        """Write theta and the configuration to one npz, whole or not at all.

        ``load_controller`` makes the controller again.
        """
        settings = {'sizes': self.sizes, 'bias': self.bias, 'actions': self.actions}
        write_archive(path, KIND, settings, {'theta': self.get_theta()})

    def _layers(self) -> list[Any]:
        return [getattr(self, f'layer{i}') for i in range(len(self.sizes) - 1)]

    def _arrays(self) -> list[Any]:
        """Every parameter's array, in theta's order."""
        return [
            parameter.array
            for layer in self._layers()
            for parameter in (layer.W, layer.b)
            if parameter is not None
        ]


class LinearController(Controller):
    """The controller of World Models: tanh(W x + b).

    Args:
        feature_size: F, width of the features.
        action_size: A.
        bias: whether there is a b.
        actions, seed: as in Controller.
    """

    def __init__(
        self,
        feature_size: int,
        action_size: int,
        bias: bool = True,
        actions: str = 'tanh',
        seed: int = 0,
    ):
        super().__init__((feature_size, action_size), bias, actions, seed)


class HiddenController(Controller):
    """A tanh hidden layer in between: the paper's "z with a hidden layer".

    With 32 features, 40 hidden units and 3 actions it has 1,443 parameters.
    """

    def __init__(
        self,
        feature_size: int,
        action_size: int,
        hidden_size: int = 40,
        bias: bool = True,
        actions: str = 'tanh',
        seed: int = 0,
    ):
        sizes = (feature_size, hidden_size, action_size)
        super().__init__(sizes, bias, actions, seed)


class ControllerPolicy:
    """A controller alone as a policy, over the features that it sees.

    Args:
        act: ``(features (B, F), theta (n,)) -> actions (B, A)``.
        theta: (n,), its parameters.
    """

    def __init__(self, act: Callable, theta: np.ndarray) -> None:
        self._act, self._theta = act, theta

    def start(self, rngs: Sequence[np.random.Generator]) -> None:
        """It remembers nothing, and draws nothing."""

    def act(self, observations: Any, state: None) -> tuple[Any, None]:
        """Actions (B, A) for features (B, F), and no state."""
        return self._act(observations, self._theta), None


def load_controller(path: str | os.PathLike) -> Controller:
    """The controller that ``save`` wrote, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: the file is damaged, or holds something else.
    """
    settings, arrays = read_archive(path, KIND)
    with built_from(path):
        return _restored(settings, arrays['theta'])


def _restored(settings: dict[str, Any], theta: np.ndarray) -> Controller:
    if theta.ndim != 1 or theta.dtype.kind != 'f' or max(settings['sizes']) > theta.size:
        raise ValueError(f'theta is {theta.dtype} {theta.shape}, layers are {settings["sizes"]}')
    sizes, *options = (settings[name] for name in ('sizes', 'bias', 'actions'))
    if len(sizes) == 2:
        controller: Controller = LinearController(*sizes, *options)
    else:
        controller = Controller(sizes, *options)
    controller.set_theta(theta)
    return controller
