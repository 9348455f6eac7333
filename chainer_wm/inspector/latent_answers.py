"""What the page asks of V alone: how much each latent carries, codes of frames, their pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from starlette.responses import Response

from chainer_wm.inspector import folders
from chainer_wm.inspector.catalog import Catalog
from chainer_wm.inspector.episode_trace import frames_of
from chainer_wm.inspector.episodes import Episodes
from chainer_wm.inspector.replies import Query, to_bytes, to_json, whole
from chainer_wm.inspector.trained import Models, Trained, encoded
from chainer_wm.links.conv_vae import kl_divergence

FARTHEST = 100.0  # that a latent may be moved to
SOURCES = ('frame', 'random frame', 'random z')


class LatentAnswers:
    """V's latent space, picture by picture.

    Args:
        known: the runs. recorded: reads their episodes. models: loads and runs V.
    """

    def __init__(self, known: Catalog, recorded: Episodes, models: Models):
        self.known, self.episodes, self.models = known, recorded, models

    def all(self) -> dict[str, Callable[[Query], Response]]:
        """By the last word of the address."""
        return {'latents': self.latents, 'code': self.code, 'decoded': self.decoded}

    def latents(self, query: Query) -> Response:
        """Per latent its mean, deviation and KL over recorded frames, and who carries most.

        Without codes: those of N(0, 1), and no KL.
        """
        trained = self._trained(query)
        size = trained.vision.latent_size
        mean, deviation, kl = np.zeros(size), np.ones(size), None
        if trained.codes is not None:
            mu, ln_var = (part.astype(np.float64) for part in trained.codes)
            mean = mu.mean(axis=0)
            deviation = np.sqrt(mu.var(axis=0) + np.exp(ln_var).mean(axis=0))
            kl = kl_divergence(mu, ln_var).array.mean(axis=0)
        order = np.arange(size) if kl is None else np.argsort(-kl, kind='stable')
        frames = 0 if trained.codes is None else len(trained.codes[0])
        return to_json(
            {'mean': mean, 'deviation': deviation, 'kl': kl, 'order': order, 'frames': frames}
        )

    def code(self, query: Query) -> Response:
        """The z to begin at: of ``source``, one of `SOURCES`; ``seed`` is for the random ones."""
        trained, source = self._trained(query), query.get('source')
        rng = np.random.default_rng(whole(query, 'seed', 0))
        if source == 'frame':
            z = self._of_frame(trained, query)
        elif source == 'random z':
            z = rng.standard_normal(trained.vision.latent_size)
        elif source != 'random frame':
            raise folders.InspectorError(
                f'source is {source!r}, expected one of {", ".join(SOURCES)}'
            )
        elif trained.codes is None:
            raise folders.InspectorError('no codes are kept: there is no random frame')
        else:
            z = trained.codes[0][rng.integers(len(trained.codes[0]))]
        return to_json({'z': z})

    def decoded(self, query: Query) -> Response:
        """``z``, numbers between commas, as V draws it."""
        trained = self._trained(query)
        size = trained.vision.latent_size
        z = [_number(each) for each in query.get('z', '').split(',')]
        if len(z) != size or not all(abs(each) <= FARTHEST for each in z):
            raise folders.InspectorError(
                f'z has {len(z)} numbers, expected {size} between -{FARTHEST:g} and {FARTHEST:g}'
            )
        return to_bytes(self.models.run(frames_of, trained, np.array([z]))[0])

    def _of_frame(self, trained: Trained, query: Query) -> np.ndarray:
        store = self.known.store(query.get('run', ''), query.get('store', ''))
        number, t = whole(query, 'episode'), whole(query, 't', 0)
        frames = self.episodes.frames(store, number, t, 1)
        return self.models.run(encoded, trained.vision, frames)[0]

    def _trained(self, query: Query) -> Trained:
        return self.models.of(self.known.folder(query.get('run', '')))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
