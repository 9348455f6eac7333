"""A trained agent in a few small files: V for all, M and C for each core."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from chainer_wm.agents.controller import Controller, load_controller
from chainer_wm.agents.saved import Parts
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.dream.simulator import Dream
from chainer_wm.files.archives import load_link, read_archive, save_link, write_archive
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN

KIND = 'starts/1'


class Packed(NamedTuple):
    """V, M and C as they were packed, and where a dream may begin."""

    vision: ConvVAE
    model: MDNRNN
    controller: Controller
    starts: tuple[np.ndarray, np.ndarray]  # mu, ln_var of first frames (N, Z)
    settings: dict[str, Any]  # 'features', 'temperature', and what was told

    def policy(self) -> WorldModelAgent:
        """The agent, for the game."""
        features = self.settings['features']
        return WorldModelAgent(self.vision, self.model, self.controller, features)

    def dream(self, max_steps: int = 2100) -> Dream:
        """The dream in which C grew up."""
        low, *high = self.settings['temperature']
        tau = (low, *high) if high else low
        return Dream(self.model, self.starts, tau, max_steps=max_steps)


def pack(
    parts: Parts,
    folder: str | os.PathLike,
    core: str,
    temperature: tuple[float, ...],
    origin: Mapping[str, Any],
    starts: int = 100,
) -> None:
    """Write the parts of a run, V and M in float16.

    Args:
        folder: gets ``vision.npz``, and a folder named by ``core``. Where
            another core there lives on another V, this one's V goes into its
            own folder.
        origin: whatever should be known of the run, JSON-able.
        starts: first frames whose posteriors are kept, at most.
    """
    folder = pathlib.Path(folder)
    network = parts.model()
    _pack_vision(parts, folder, core)
    save_link(folder / core / 'model.npz', network, np.float16)
    linear = parts.new_controller(network)
    linear.set_theta(parts.theta())
    linear.save(folder / core / 'controller.npz')
    mu, ln_var = (part[:starts] for part in parts.latents().first())
    write_archive(
        folder / core / 'starts.npz',
        KIND,
        {'features': parts.features, 'temperature': temperature, 'origin': dict(origin)},
        {'mu': mu.astype(np.float16), 'ln_var': ln_var.astype(np.float16)},
    )


def _pack_vision(parts: Parts, folder: pathlib.Path, core: str) -> None:
    """V for all cores if they share it, else for this one alone."""
    shared, own = folder / 'vision.npz', folder / core / 'vision.npz'
    save_link(own, parts.vision(), np.float16)
    others = [
        path.parent
        for path in folder.glob('*/starts.npz')
        if path.parent.name != core and not (path.parent / 'vision.npz').exists()
    ]
    same = shared.exists() and _same_arrays(shared, own)
    if same or not others:
        own.replace(shared)


def _same_arrays(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two npz files hold the same, however they were compressed."""
    with np.load(one, allow_pickle=False) as a, np.load(other, allow_pickle=False) as b:
        return set(a.files) == set(b.files) and all(
            np.array_equal(a[name], b[name]) for name in a.files
        )


def size_of(folder: str | os.PathLike) -> int:
    """Bytes of all that is packed in a folder."""
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob('*.npz'))


def unpack(folder: str | os.PathLike, core: str) -> Packed:
    """Read what ``pack`` wrote.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged.
    """
    folder = pathlib.Path(folder)
    settings, starts = read_archive(folder / core / 'starts.npz', KIND)
    own = folder / core / 'vision.npz'
    return Packed(
        load_link(own if own.exists() else folder / 'vision.npz', ConvVAE),
        load_link(folder / core / 'model.npz', MDNRNN),
        load_controller(folder / core / 'controller.npz'),
        (starts['mu'], starts['ln_var']),
        settings,
    )
