"""The readers under a coverage-guided fuzzer: only ``FileError`` may come out of them.

    python -m tests.trials.fuzz CORPUS -max_total_time=1800

Needs atheris (``pip install atheris``), which takes libFuzzer's flags. The first byte of an input
says which reader gets the rest. CORPUS is a folder; it begins with the files of a tiny run.
"""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=['chainer_wm', 'zipfile', 'json', 'numpy.lib']):
    import dnc.runtime  # noqa: F401

    import contextlib
    import json
    import os
    import pathlib
    import sys
    import tempfile
    import warnings

    from chainer_wm import files
    from chainer_wm.agents.cma_es import CMAES
    from chainer_wm.agents.controller import load_controller
    from chainer_wm.files import jsonlines
    from chainer_wm.files.archives import load_link
    from chainer_wm.files.npz import read_array, read_npz
    from chainer_wm.links.mdn_rnn import MDNRNN
    from chainer_wm.rollouts import Rollout, RolloutStore
    from chainer_wm.training.evolution import read_table
    from tests.trials import tiny_run

HELD = pathlib.Path(tempfile.mkdtemp(prefix='fuzz-'))


def _store(path: pathlib.Path, name: str) -> None:
    os.replace(path, HELD / name)
    try:
        store = RolloutStore(HELD)
        with contextlib.suppress(KeyError):
            store.verify(set_aside=False, full=False)
    finally:
        (HELD / name).unlink()


def _episode(path: pathlib.Path) -> None:
    with contextlib.suppress(ValueError, TypeError):  # RolloutStore.read turns them
        Rollout.from_bytes(path.read_bytes())


READERS = (
    ('episode', _episode),
    ('manifest', lambda path: _store(path, 'manifest.json')),
    ('list', lambda path: _store(path, 'episodes.jsonl')),
    ('list of codes', lambda path: list(jsonlines.read_lines(path, strict=True))),
    ('M, LSTM', lambda path: load_link(path, MDNRNN)),
    ('C', load_controller),
    ('CMA-ES', CMAES.load),
    ('history', read_table),
    ('mean', read_array),
    ('snapshot', read_npz),
    ('results', files.read_json),
)


def one_input(data: bytes) -> None:
    if not data:
        return
    _, reader = READERS[data[0] % len(READERS)]
    path = HELD / 'input'
    path.write_bytes(data[1:])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with contextlib.suppress(files.FileError):
            reader(path)


def seeds(corpus: pathlib.Path) -> None:
    """Every kind of file of a tiny run, behind the byte of its reader."""
    corpus.mkdir(parents=True, exist_ok=True)
    run = HELD / 'run'
    tiny_run.make(run)
    for number, (name, _) in enumerate(READERS):
        data = (run / tiny_run.KINDS[name].path).read_bytes()
        (corpus / f'seed-{number}').write_bytes(bytes([number]) + data)
    (corpus / 'seed-short').write_bytes(bytes([10]) + json.dumps({'a': [1, 2.5]}).encode())


if __name__ == '__main__':
    seeds(pathlib.Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
