"""chainer_wm.runs."""
