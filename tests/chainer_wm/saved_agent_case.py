"""A run's V, M and codes, as small as they can be; in its M nobody dies."""

import numpy as np

from chainer_wm.agents.saved import SavedAgent
from chainer_wm.files.archives import save_link
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts.latents import LatentWriter


def make_model(core='lstm', seed=1):
    return MDNRNN(3, 1, 5, core=core, predict_done=True, seed=seed)


def make_saved(folder, core='lstm'):
    saved = SavedAgent(folder, bias=False)
    network = make_model(core)
    for parameter in network.params():  # it was trained
        parameter.array += 0.3 * np.sign(parameter.array)
    network.head.b.array[-1] = -9
    save_link(saved.vision_path, ConvVAE(3))
    save_link(saved.model_path, network)
    rng = np.random.default_rng(0)
    with LatentWriter(saved.codes_of(0), 3, 1, {'vision': 'v'}) as writer:
        for episode in range(2):
            mu = rng.standard_normal((4, 3))
            writer.add(episode, mu, mu - 2, mu[:, :1], True)
        writer.finish()
    return saved
