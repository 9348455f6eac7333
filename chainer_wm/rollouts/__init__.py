"""The rollout cache: one compressed npz per episode, listed and verified.

On disk (``data/README.md`` has the details)::

    <store>/manifest.json          what was played: game, settings, seed, ...
    <store>/episodes.jsonl         one line per complete episode, append only
    <store>/episodes/000123.npz    readable by ``numpy.load`` alone
    <store>/damaged/               what was found broken, set aside

An episode counts only once its line is in ``episodes.jsonl``, and the line is written after the
file is whole on disk. Any number of processes may `write`; one process at a time may `append`,
`set_aside` or `verify`.
"""

from chainer_wm.rollouts.episode import Rollout
from chainer_wm.rollouts.store import DamagedEpisode, JoinedStores, RolloutStore

__all__ = ['DamagedEpisode', 'JoinedStores', 'Rollout', 'RolloutStore']
