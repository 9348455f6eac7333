"""chainer_wm.tasks."""
