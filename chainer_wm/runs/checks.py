"""Settings are looked at before the first stage: a bad one costs no time."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from chainer_wm import devices, files
from chainer_wm.agents.saved import is_run
from chainer_wm.runs import run_folder


def check(config: Any) -> None:
    """See that no setting lets a later stage fail.

    Numbers must lie within the bounds of their options. What settings must fulfil together is seen
    by the config's own ``check``, where it has one.

    Raises:
        runs.RunError: one that does not; names its flag.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, (int, float)) and not isinstance(one, bool):
                _check_number(field, one)
    if hasattr(config, 'device'):
        try:
            devices.get_device(config.device)
        except ValueError as error:
            raise run_folder.RunError(f'--device: {error}') from error
    if hasattr(config, 'check'):
        config.check()


def _check_number(field: dataclasses.Field, number: float) -> None:
    bounds = {
        f'{words} {bound}': within(number, bound)
        for words, (bound, within) in field.metadata['bounds'].items()
        if bound is not None
    }
    if not (math.isfinite(number) and all(bounds.values())):
        raise run_folder.RunError(
            f'{flag_of(field)} {number}: expected a number '
            f'{" and ".join(bounds)} ({field.metadata["help"]})'
        )


def check_dropout(config: Any) -> None:
    """See that M can learn under dropout, if it shall.

    Raises:
        runs.RunError: it cannot.
    """
    if config.model_dropout and config.model != 'lstm':
        raise run_folder.RunError(
            f'--model-dropout {config.model_dropout}: only --model lstm learns with masks on its '
            f'h, not {config.model} (--dream-dropout is for both)'
        )


def check_features(config: Any) -> None:
    """See that M has what C sees.

    Raises:
        runs.RunError: it has not.
    """
    if 'r' in config.features and config.model != 'dnc':
        raise run_folder.RunError(
            f'--features {" ".join(config.features)}: r, what was read from '
            f'memory, needs --model dnc, not {config.model}'
        )


def check_temperature(flag: str, ends: tuple[float, ...]) -> None:
    """See that it is one temperature, or a range of them.

    Raises:
        runs.RunError: it is neither.
    """
    if len(ends) not in (1, 2) or list(ends) != sorted(ends):
        raise run_folder.RunError(
            f'{flag} {" ".join(map(str, ends))}: expected one temperature, '
            'or the lower and the upper end of a range'
        )


def check_minibatches(minibatches: int, lanes: int, steps: int, recurrent: bool) -> None:
    """See that PPO has something in every minibatch.

    Args:
        recurrent: a policy with a memory learns from whole lanes.

    Raises:
        runs.RunError: it has not.
    """
    parts = lanes if recurrent else lanes * steps
    if minibatches > parts:
        what = 'lanes' if recurrent else 'steps'
        raise run_folder.RunError(
            f'--minibatches {minibatches} of {parts} {what}: more lanes or '
            'fewer minibatches are needed'
        )


def check_held_out(share: float, flag: str, episodes: int) -> None:
    """See that holding out a share of some episodes leaves one to train on.

    Args:
        flag: that says how many there are.

    Raises:
        runs.RunError: it does not.
    """
    if round(share * episodes) >= episodes:
        raise run_folder.RunError(
            f'--held-out {share} of {flag} {episodes} leaves none to train on'
        )


def check_vision_rounds(folder: pathlib.Path, rounds: Sequence[int]) -> None:
    """See that the rounds in which V is trained on are what the rounds so far did.

    Args:
        folder: of the run.
        rounds: ``vision_rounds``, as they are asked for.

    Raises:
        runs.RunError: V was trained on in other rounds.
    """
    asked = set(rounds)
    made, begun = (
        {int(path.parent.name) for path in folder.glob(f'rounds/*/{part}')}
        for part in ('vision', 'model')
    )
    if made - asked or asked & begun - made or min(asked, default=1) < 1:
        raise run_folder.RunError(
            f'--vision-rounds {sorted(asked)}, but in this run V was trained '
            f'on in {sorted(made)} of the rounds {sorted(begun)}: add rounds, '
            'from 1, that are still to come, or give another --run'
        )


def check_reuse(saved: Any, held_out: float) -> None:
    """See that the run to reuse is there, and was split alike.

    Args:
        saved: a ``SavedAgent`` that may reuse another run's V.

    Raises:
        FileNotFoundError: that run has no codes yet.
        runs.RunError: it holds out another share.
    """
    if not saved.reuse:
        return
    saved.check_source()
    share = files.read_json(saved.source / 'config.json')['held_out']
    if share != held_out:
        raise run_folder.RunError(
            f'--held-out {held_out}, but V of run {saved.reuse} was trained with {share} held '
            'out, and M must hold out the same episodes: leave the flag out'
        )


def check_agent(folder: str, core: str) -> None:
    """See that ``--agent`` leads to a run or to packed agents, if to anything.

    Raises:
        runs.RunError: it does not.
    """
    try:
        if folder:
            is_run(folder, core)
    except FileNotFoundError as error:
        raise run_folder.RunError(f'--agent {folder}: {error}') from error


def flag_of(field: dataclasses.Field) -> str:
    """As it is written on the command line."""
    return '--' + field.name.replace('_', '-')
