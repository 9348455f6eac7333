"""Where a number first stopped being finite, for ``--debug``.

``find_non_finite`` looks at everything that Chainer's functions take and give, from outside, so
that nothing is slower while nobody looks; ``NonFiniteError`` says what was found.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import inspect
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import chainer
import numpy as np
from chainer import backend

Index = tuple[int, ...]


def raw(value: Any) -> Any:
    """The array of a variable; anything else as it is."""
    return value.array if isinstance(value, chainer.Variable) else value


def check_reward(reward: Any, player: str, episode: int, step: int, seed: int) -> float:
    """The reward of a game's step as a number.

    Args:
        player: who plays.
        episode: number of the episode, or of its lane.
        step: of the episode, from 0.
        seed: of the game's reset.

    Raises:
        NonFiniteError: it is not finite; a return of it would be no score.
    """
    number = float(reward)
    if not np.isfinite(number):
        raise NonFiniteError(
            f'reward {number} in step {step} of episode {episode} (game seed '
            f'{seed}), played by {player}: did the game divide by 0, or did '
            'it get an action that is not finite?'
        )
    return number


def is_finite(value: Any) -> bool:
    """Whether all of a variable or an array is; nothing and integers are."""
    array = raw(value)
    if array is None or array.dtype.kind != 'f':
        return True
    return bool(backend.get_array_module(array).isfinite(array).all())


@dataclasses.dataclass(frozen=True)
class ArraySummary:
    """What an array holds.

    Attributes:
        name: its part in the function, and its path where it is a parameter.
        shape, dtype: as NumPy has them.
        bad: how many of its values are not finite.
        first, last: index of the first and of the last such value, the last axis running fastest,
            or None.
        low, high: least and greatest finite value, None if there is none.
    """

    name: str
    shape: Index
    dtype: str
    bad: int
    first: Index | None
    last: Index | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, name: str, array: Any) -> ArraySummary:
        """Look at a variable or an array, on whatever device it is."""
        values = np.asarray(backend.CpuDevice().send(raw(array)))
        finite = np.isfinite(values)
        good = values[finite]
        bad = np.argwhere(~finite)
        return cls(
            name,
            values.shape,
            str(values.dtype),
            len(bad),
            tuple(bad[0].tolist()) if len(bad) else None,
            tuple(bad[-1].tolist()) if len(bad) else None,
            float(good.min()) if good.size else None,
            float(good.max()) if good.size else None,
        )

    def __str__(self) -> str:
        text = f'{self.name}, {self.dtype} {self.shape}: '
        if self.first is not None and self.last is not None:
            text += f'{self.bad} not finite, first at {list(self.first)}, '
            text += f'last at {list(self.last)}; '
        if self.low is None:
            return text + 'no finite value'
        return text + f'finite from {self.low:.6g} to {self.high:.6g}'


def summaries(named: Iterable[tuple[str, Any]]) -> tuple[ArraySummary, ...]:
    """Summaries of the floating point arrays among (name, array) pairs."""
    return tuple(
        ArraySummary.of(name, array)
        for name, array in named
        if raw(array) is not None and raw(array).dtype.kind == 'f'
    )


class NonFiniteError(FloatingPointError):
    """An infinity or NaN turned up.

    Args:
        message: what happened, in one line.
        details: any of the attributes below.

    Attributes:
        phase: 'forward', 'backward' or 'update'.
        culprit: the array with the first such value.
        inputs: the arrays that went into it.
        function: label of the Chainer function.
        link: path and class of the link whose method called the function.
        call: how often that link had been called like a function since the search began. For one
            called in each time step, ``call - 1`` is
            the step.
        stage: what was running.
        snapshot: path of the last good snapshot.

    All are None (``inputs``: empty) where they are not known. A training loop fills in stage and
    snapshot; the text shows whatever is there.
    """

    def __init__(self, message: str, **details: Any):
        super().__init__(message)
        self.phase: str | None = None
        self.culprit: ArraySummary | None = None
        self.inputs: Sequence[ArraySummary] = ()
        self.function: str | None = None
        self.link: str | None = None
        self.call: int | None = None
        self.stage: str | None = None
        self.snapshot: str | os.PathLike | None = None
        unknown = details.keys() - vars(self).keys()
        if unknown:
            raise TypeError(f'unknown details {sorted(unknown)}')
        vars(self).update(details)

    @property
    def step(self) -> int | None:
        """Index along axis 0 of a culprit with three axes or more.

        That is the time step where axis 0 is time, as in a whole sequence
        (T, B, X). A gradient travels backwards in time: there it is the
        last such index.
        """
        if self.culprit is None or self.culprit.first is None:
            return None
        if len(self.culprit.shape) < 3:
            return None
        end = self.culprit.last if self.phase == 'backward' else None
        return (end or self.culprit.first)[0]

    def __str__(self) -> str:
        call = '' if self.call is None else f', call {self.call}'
        facts = {
            'stage': self.stage,
            'link': self.link and self.link + call,
            'function': self.function,
            'array': self.culprit,
            'time step, where axis 0 is time': self.step,
        }
        lines = [str(self.args[0])]
        lines += [f'{k}: {v}' for k, v in facts.items() if v is not None]
        lines += [f'beside it: {array}' for array in self.inputs]
        if self.snapshot is not None:
            lines.append(f'last good snapshot: {self.snapshot}')
        return '\n  '.join(lines)


Named = tuple[str, Any]


@contextlib.contextmanager
def find_non_finite(*links: chainer.Link) -> Iterator[None]:
    """Stop at the first value that is not finite, and tell where it arose.

    Inside the block every Chainer function's inputs, outputs and gradients
    are looked at, in the order in which they are computed, and at the end of the block the
    parameters (:func:`check_parameters`). NumPy's own warnings
    about overflow and the like are off: the error says more. A constant that is infinite on
    purpose, such as a mask, is found as well.

    Args:
        links: what trains; parameters and links are named by their path in them.

    Raises:
        NonFiniteError: at the first such value.
    """
    search = _Search(links)
    with (
        _Functions(search),
        _Links(search),
        np.errstate(over='ignore', invalid='ignore', divide='ignore'),
    ):
        yield
    check_parameters(*links)


def check_parameters(*links: chainer.Link) -> None:
    """Look at every parameter and at what the optimizer keeps for it.

    Gradients are not judged: Chainer fills those of a new link with NaN.

    Raises:
        NonFiniteError: one of them is not finite; names it.
    """
    for path, param in _named_params(links):
        if not param.is_initialized:
            continue
        kept = getattr(param.update_rule, 'state', None) or {}
        named = [(path, param.array)] + [
            (f"optimizer's {key} of {path}", value)
            for key, value in kept.items()
            if hasattr(value, 'dtype')
        ]
        beside = [*named, (f'gradient of {path}', param.grad)]
        for name, array in named:
            if not is_finite(array):
                raise NonFiniteError(
                    'a parameter or its optimizer is not finite',
                    phase='update',
                    culprit=ArraySummary.of(name, array),
                    inputs=summaries(n for n in beside if n[0] != name),
                )


def _named_params(links: Iterable[chainer.Link]) -> Iterator[Named]:
    for link in links:
        for path, param in link.namedparams():
            yield type(link).__name__ + path, param


class _Functions(chainer.FunctionHook):
    def __init__(self, search: _Search):
        self.name = f'find_non_finite {id(search)}'
        self._search = search

    def forward_preprocess(self, function, in_data):
        self._search.before_forward(function, in_data)

    def backward_preprocess(self, function, in_data, out_grad):
        self._search.before_backward(function, in_data, out_grad)


class _Links(chainer.LinkHook):
    def __init__(self, search: _Search):
        self.name = f'find_non_finite {id(search)}'
        self._search = search

    def forward_preprocess(self, args):
        self._search.calls[id(args.link)] += 1


class _Search:
    """Knows which link runs, and checks each function around its call."""

    def __init__(self, links: Sequence[chainer.Link]):
        self.calls: collections.Counter[int] = collections.Counter()
        self._links = links
        self._paths = {
            id(link): type(root).__name__ + path.rstrip('/')
            for root in links
            for path, link in root.namedlinks()
        }
        self._callers: weakref.WeakKeyDictionary[
            chainer.FunctionNode, tuple[str | None, int | None]
        ] = weakref.WeakKeyDictionary()
        self._backward: list[chainer.FunctionNode] = []  # being run

    def _caller(self) -> tuple[str | None, int | None]:
        """The link that is running and the number of its call.

        Chainer's hooks see a link only when it is called like a function;
        the interpreter's stack shows its other methods too.
        """
        running = _running_links()
        if not running:
            return None, None
        inner = running[0]
        path = self._paths.get(id(inner))
        if path is None:  # not below the links that we were given
            path = '/'.join(link.name or type(link).__name__ for link in running[::-1])
        call = self.calls.get(id(inner))
        return f'{path} ({type(inner).__name__})', call

    def before_forward(self, function, in_data) -> None:
        self._callers[function] = self._caller()
        inputs = [(f'input {i}', x) for i, x in enumerate(in_data)]
        self._demand(function, 'came in from outside', inputs, inputs)

        def check(outputs, *_) -> None:
            named = [(f'output {i}', y) for i, y in enumerate(outputs)]
            self._demand(function, 'arose here', named, inputs)

        _after_next_call(function, 'forward', check)

    def before_backward(self, function, in_data, out_grad) -> None:
        grads = [(f'gradient of output {i}', g) for i, g in enumerate(out_grad)]
        inputs = [(f'input {i}', x) for i, x in enumerate(in_data)]
        beside = grads + inputs
        self._demand(function, 'came in from outside', grads, beside, 'backward')
        self._backward.append(function)

        def check(gradients, targets, *_) -> None:
            self._backward.pop()
            if len(gradients) == len(inputs):
                targets = range(len(inputs))
            named = [(f'gradient of input {i}', gx) for i, gx in zip(targets, gradients)]
            self._demand(function, 'arose here', named, beside, 'backward')

        base = chainer.FunctionNode.backward_accumulate
        own = type(function).backward_accumulate is not base
        _after_next_call(function, 'backward_accumulate' if own else 'backward', check)

    def _demand(
        self,
        function: chainer.FunctionNode,
        verb: str,
        named: Sequence[Named],
        beside: Sequence[Named],
        phase: str = 'forward',
    ) -> None:
        for name, array in named:
            if is_finite(array):
                continue
            outer = self._backward[-1] if self._backward else function
            label = function.label
            if outer is not function:  # it computes part of a gradient
                phase = 'backward'
                label += f', in the gradient of {outer.label}'
            link, call = self._callers.get(outer, (None, None))
            paths = self._parameters(function, beside)
            raise NonFiniteError(
                f'not finite for the first time, {phase} pass: it {verb}',
                phase=phase,
                culprit=ArraySummary.of(_with_path(name, paths), array),
                inputs=summaries((_with_path(n, paths), x) for n, x in beside if n != name),
                function=label,
                link=link,
                call=call,
            )

    def _parameters(
        self, function: chainer.FunctionNode, beside: Sequence[Named]
    ) -> dict[str, str]:
        """Which inputs are parameters: 'input 1' -> path."""
        params = list(_named_params(self._links))
        arrays = {id(param.array): path for path, param in params}
        nodes = {id(param.node): path for path, param in params}
        known = {name: arrays.get(id(array)) for name, array in beside}
        for i, node in enumerate(function.inputs or ()):
            known[f'input {i}'] = nodes.get(id(node))
        return {name: path for name, path in known.items() if path}


def _running_links() -> list[chainer.Link]:
    """Links whose methods are being run, the innermost first."""
    links: list[chainer.Link] = []
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get('self')
        if isinstance(owner, chainer.Link) and owner not in links:
            links.append(owner)
        frame = frame.f_back
    return links


def _with_path(name: str, paths: dict[str, str]) -> str:
    path = paths.get(name.removeprefix('gradient of '))
    return name if path is None else f'{name} ({path})'


def _after_next_call(target: Any, name: str, check: Callable[..., None]) -> None:
    """Call ``check(result, *arguments)`` once, after ``target.name``.

    Chainer's hooks are told what goes into a function, not what comes out.
    """
    method = getattr(target, name)

    def once(*arguments):
        target.__dict__.pop(name, None)
        result = method(*arguments)
        check(result, *arguments)
        return result

    setattr(target, name, once)
