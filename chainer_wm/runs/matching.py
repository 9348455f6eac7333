"""``--match``: an LSTM with as many parameters as the DNC that it is held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import MemoryConfig, opt
from chainer_wm.tasks.network import matched_hidden_size


@dataclasses.dataclass(frozen=True)
class MatchConfig(MemoryConfig):
    """The recurrent core, whose LSTM may be as large as the DNC."""

    hidden_size: int = opt(256, 'LSTM, or controller of the DNC')
    match: bool = opt(False, 'LSTM: as many parameters as the DNC has')


def check_match(config: MatchConfig) -> None:
    """See that a DNC is not matched to itself.

    Raises:
        runs.RunError: it is.
    """
    if config.match and config.model != 'lstm':
        raise run_folder.RunError(f'--match is for --model lstm, not {config.model}')


def as_large_as_dnc(config: MatchConfig, build: Callable[..., Any]) -> int:
    """H of the LSTM whose net has as many parameters as that with the DNC of these settings.

    Args:
        build: ``(core, hidden_size, **core_options)`` -> a net whose ``core`` is followed by
            linear layers with ``output_size`` outputs in all.
    """
    memory = dataclasses.replace(config, model='dnc').core_options()
    net = build('dnc', config.hidden_size, **memory)
    weights = net.core.count_params() + (net.core.output_size + 1) * net.output_size
    return matched_hidden_size(weights, net.core.input_size, net.output_size)
