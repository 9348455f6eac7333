"""chainer_wm.training."""
