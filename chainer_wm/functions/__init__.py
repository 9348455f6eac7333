"""chainer_wm.functions."""
