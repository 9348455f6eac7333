"""Small tasks over whole sequences, and the network that learns them.

Addition, repeat and priority sort ask for what was shown many steps before;
their length is free, so that a network trained on short sequences can be
asked for long ones.
"""

from chainer_wm.sequence_tasks.curriculum import Curriculum
from chainer_wm.sequence_tasks.figures import (
    Panel,
    draw_panels,
    learning_panel,
    lengths_panel,
)
from chainer_wm.sequence_tasks.learning import (
    error_over_length,
    held_out_curve,
    measure,
    train,
)
from chainer_wm.sequence_tasks.network import (
    SequenceNet,
    make_net,
    matched_hidden_size,
)
from chainer_wm.sequence_tasks.retention import (
    curriculum_panels,
    draw_retention,
    lesson_scores,
    ratios,
    retained,
)
from chainer_wm.sequence_tasks.summaries import (
    Seeds,
    by_model,
    curve_seeds,
    length_seeds,
    model_label,
    provenance,
    read_runs,
    same_settings,
)
from chainer_wm.sequence_tasks.tasks import TASKS, Batch, Task, make_task

__all__ = [
    'TASKS',
    'Batch',
    'Curriculum',
    'Panel',
    'Seeds',
    'SequenceNet',
    'Task',
    'by_model',
    'curriculum_panels',
    'curve_seeds',
    'draw_panels',
    'draw_retention',
    'error_over_length',
    'held_out_curve',
    'learning_panel',
    'length_seeds',
    'lengths_panel',
    'lesson_scores',
    'make_net',
    'make_task',
    'matched_hidden_size',
    'measure',
    'model_label',
    'provenance',
    'ratios',
    'read_runs',
    'retained',
    'same_settings',
    'train',
]
