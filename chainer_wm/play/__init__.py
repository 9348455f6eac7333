"""chainer_wm.play."""
