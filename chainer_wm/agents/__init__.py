"""chainer_wm.agents."""
