"""The scalars of a run as TensorBoard's event files."""

from __future__ import annotations

import importlib
import pathlib
import time
from typing import Any

from chainer_wm.inspector import catalog, folders


def write_scalars(run: pathlib.Path, out: pathlib.Path) -> int:
    """Write all curves of a run, a tag each, its counter as the step; how many there were.

    Raises:
        InspectorError: TensorBoard is not installed, or the run has no curves.
    """
    writers: Any = _part('tensorboard.summary.writer.event_file_writer')
    events: Any = _part('tensorboard.compat.proto.event_pb2')
    summaries: Any = _part('tensorboard.compat.proto.summary_pb2')
    curves = catalog.curves(run)
    if not curves:
        raise folders.InspectorError(f'{run} has no curves yet: has anything been trained?')
    writer, now = writers.EventFileWriter(str(out)), time.time()
    for name, curve in curves.items():
        tag = name.replace(': ', '/').replace(' ', '_')
        for x, y in zip(curve['x'], curve['y']):
            if isinstance(y, (int, float)):
                value = summaries.Summary.Value(tag=tag, simple_value=float(y))
                said = summaries.Summary(value=[value])
                writer.add_event(events.Event(wall_time=now, step=int(x), summary=said))
    writer.close()
    return len(curves)


def _part(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise folders.InspectorError(
            f'--tensorboard needs {error.name}, which is not installed: pip install tensorboard'
        ) from error
