"""chainer_wm.links."""
