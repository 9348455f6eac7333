"""Pictures in a run's folder: what V and M learnt, what C scored, what all of them see."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chainer
import numpy as np

from chainer_wm import plots
from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.policies import Policy
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.devices import to_cpu
from chainer_wm.dream.foresight import foresee
from chainer_wm.dream.gym_envs import DreamEnv
from chainer_wm.dream.simulator import Dream
from chainer_wm.links.conv_vae import ConvVAE, decoded, to_input
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play.films import film
from chainer_wm.rollouts import JoinedStores, RolloutStore
from chainer_wm.rollouts.latents import Latents
from chainer_wm.runs import report
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import Task
from chainer_wm.training.evolution import read_history
from chainer_wm.training.mdn_rnn import Deaths
from dnc import DNC


def draw_vision(
    folder: pathlib.Path,
    log: list[dict],
    vision: ConvVAE,
    store: RolloutStore | JoinedStores,
    episodes: Sequence[Any],
    count: int = 16,
) -> None:
    """The learning curve, and held-out frames beside what V makes of them."""
    plots.training_curves(
        folder / 'vision_training.png',
        {
            'train': (
                np.array([row['iteration'] for row in log]),
                np.array([row['main/loss'] for row in log]),
            )
        },
        ylabel='loss (squared error + KL, nats)',
        xlabel='update',
        title='V: ConvVAE',
    )
    frames = np.stack([_middle(store, episodes, k, count) for k in range(count)])
    with chainer.no_backprop_mode():
        x = to_input(frames, vision.xp, vision.dtype.type)
        rebuilt = to_cpu(vision.reconstruct(x))
    plots.reconstructions(folder / 'reconstructions.png', frames, rebuilt, title='held-out frames')


def _middle(
    store: RolloutStore | JoinedStores, episodes: Sequence[Any], k: int, count: int
) -> np.ndarray:
    """Picture k of ``count``: another episode and another moment each."""
    frames = store.read(episodes[k % len(episodes)]).observations
    return frames[(k + 1) * len(frames) // (count + 1)]


def draw_model(folder: pathlib.Path, log: list[dict]) -> None:
    """Training and held-out loss of the mixtures, over updates, if any."""
    if not log:
        return
    curves = {'train': _curve(log, 'main/nll'), 'held-out': _curve(log, 'held_out/nll')}
    plots.training_curves(
        folder / 'model_training.png',
        {name: curve for name, curve in curves.items() if len(curve[0])},
        ylabel='nats per latent dimension',
        xlabel='update',
        title='M: negative log-likelihood of the next z',
    )


def _curve(log: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [row for row in log if name in row]
    return (np.array([row['iteration'] for row in rows]), np.array([row[name] for row in rows]))


def draw_scores(
    folder: pathlib.Path,
    saved: SavedAgent,
    game: Mapping[str, dict],
    dream: Mapping[str, dict],
    solved: float | None,
    core: str,
    done_weight: float,
    ages: Sequence[Mapping[str, Any]],
) -> None:
    """The evolution, histograms of returns, the dream against the game.

    Args:
        done_weight: of a death in M's loss.
        ages: what ``ages`` found.
    """
    history, evaluations = read_history(saved.home / 'controller')
    title = f'C in the dream of an M with {core}'
    if 'sigma' in history[0]:
        label = f'score ({report.UNIT})'
        plots.evolution(
            *(folder / 'evolution.png', history, evaluations, game['random'], solved, title, label)
        )
    else:
        draw_updates(folder / 'evolution.png', history, evaluations, title)
    plots.returns_histogram(
        folder / 'returns.png',
        {name: score['returns'] for name, score in game.items()},
        solved=solved,
        xlabel=f'return of an episode ({report.UNIT})',
    )
    deaths = Deaths.load(saved.home / 'model/deaths.npz')
    plots.calibration(
        folder / 'calibration.png',
        report.in_both(game, dream),
        deaths,
        done_weight,
        unit=report.UNIT,
    )
    plots.deaths_by_age(folder / 'ages.png', ages)


def draw_updates(
    path: pathlib.Path, history: Sequence[Mapping], evaluations: Sequence[Mapping], title: str
) -> None:
    """How long dreams and games last while a policy learns by PPO, over its updates."""
    curves = {
        'dreams, until they end or are cut (mean over those between two restarts)': history,
        'games, fresh episodes': evaluations,
    }
    plots.training_curves(
        path,
        {
            name: (
                np.array([row['generation'] for row in rows]),
                np.array([row['mean'] for row in rows]),
            )
            for name, rows in curves.items()
            if rows
        },
        ylabel=report.UNIT,
        xlabel='update',
        title=title,
    )


def draw_films(
    folder: pathlib.Path,
    saved: SavedAgent,
    make_env: Callable,
    dream: Dream,
    dreamer: ControllerPolicy,
    seed: int,
    fps: float,
) -> None:
    """GIFs of the agent in the game, in its dream, and side by side."""
    game = film(make_env, saved.agent_maker()(), stream(seed, 'evaluate', 0)).frames
    inside = functools.partial(DreamEnv, dream, saved.features, saved.vision())
    dreamt = film(inside, dreamer, stream(seed, 'film'), rendered=True).frames
    plots.gif(folder / 'game.gif', game, fps)
    plots.gif(folder / 'dream.gif', dreamt, fps)
    plots.side_by_side(folder / 'game_and_dream.gif', game, dreamt, fps=fps)


def draw_foresight(
    folder: pathlib.Path,
    saved: SavedAgent,
    episode: int,
    seed: int,
    context: int = 20,
    most: int = 120,
) -> None:
    """A stretch of an episode: V's and M's pictures beside the game's.

    The last ``most`` steps, so that the death is in it; where nobody died, the first ones. M has
    seen all before and ``context`` of them, then dreams alone, with the actions taken.
    """
    latents, vision = Latents(saved.codes_of(0)), saved.vision()
    rows, rollout = latents.rows(episode), saved.at(0).store().read(episode)
    dies = bool(rollout.terminated[-1])
    if not dies:
        rows = slice(rows.start, min(rows.stop, rows.start + most))
    length = rows.stop - rows.start
    first = max(0, length - most)
    context = min(context, length - first - 1)
    model = saved.model()
    seen = foresee(
        model, latents.mu[rows], latents.actions[rows], first + context, stream(seed, 'foresight')
    )
    ends = {'one-step': seen.p_done_one_step[first:], 'open-loop': seen.p_done_dreamed[first:]}
    plots.open_loop(
        folder / 'foresight.png',
        rollout.observations[first:length],
        decoded(vision, seen.one_step[first:]),
        decoded(vision, seen.dreamed[first:]),
        context,
        reconstruction=decoded(vision, latents.mu[rows][first:]),
        done=ends if model.predict_done else None,
        died_at=length - first - 1 if dies else None,
        first_step=first,
        title=f'M along held-out episode {episode}',
    )
    draw_model_memory(
        folder / 'memory.png',
        model,
        latents.mu[rows],
        latents.actions[rows],
        f'The memory of M along held-out episode {episode}',
        {'dies': length - 1} if dies else None,
    )


def draw_memory(
    path: pathlib.Path,
    core: Any,
    xs: Any,
    title: str = '',
    marks: Mapping[str, int] | None = None,
    signals: Mapping[str, np.ndarray] | None = None,
    reset: np.ndarray | None = None,
    moments: int = 5,
) -> None:
    """A DNC's memory along one lane, from a state of zeros; nothing for another core.

    Args:
        core: of a model or a policy.
        xs: (T, X), what it reads; drawn above the rest.
        marks, signals: see ``plots.memory_trace``.
        reset: (T,), 1 where the memory is emptied before a step.
        moments: how often M and the link are shown.
    """
    if not isinstance(core, DNC):
        return
    dtype = core.interface.W.dtype
    xs = core.device.send(chainer.as_array(xs).astype(dtype))
    at = np.unique(np.linspace(0, len(xs) - 1, moments + 1).round().astype(int)[1:])
    reset = None if reset is None else core.device.send(reset)
    plots.memory_trace(
        path,
        core.trace(xs, reset=reset, names=plots.MEMORY_NAMES),
        marks,
        title,
        {'input': to_cpu(xs), **(signals or {})},
        at.tolist(),
        core.trace(xs, reset=reset, names=('link',), steps=at)['link'],
    )


def draw_model_memory(
    path: pathlib.Path,
    model: MDNRNN,
    z: np.ndarray,
    actions: np.ndarray,
    title: str,
    marks: Mapping[str, int] | None = None,
    signals: Mapping[str, np.ndarray] | None = None,
) -> None:
    """``draw_memory`` of M along one episode: z (T, Z), actions (T, A)."""
    start = np.zeros(len(z))
    start[0] = 1
    z, actions, start = (
        model.device.send(np.asarray(x, model.dtype)) for x in (z, actions, start)
    )
    with chainer.no_backprop_mode():
        xs = model.inputs(z, actions, start)
    draw_memory(path, model.core, xs, title, marks, signals)


def draw_task_memory(
    path: pathlib.Path, net: SequenceNet, task: Task, length: int, title: str, seed: int
) -> None:
    """``draw_memory`` of a net that solves one sequence of a task."""
    items = task.items(length)
    batch = task.make(stream(seed, 'picture'), np.array([items]))
    marks = {'items': 0, 'delimiter': items}
    draw_memory(path, net.core, batch.inputs[:, 0], title, marks)


def draw_policy_memory(
    path: pathlib.Path,
    player: Policy,
    make_env: Callable[[], Any],
    rng: np.random.Generator,
    most: int = 1000,
) -> None:
    """``draw_memory`` of a policy that PPO trained, along one episode of at most so many steps."""
    if not isinstance(player, NetworkPolicy) or not isinstance(player.network.core, DNC):
        return
    network, seen = player.network, film(make_env, player, rng, most)
    with chainer.no_backprop_mode():
        xs = network.body(network.device.send(seen.frames[:-1]))
    title = 'The memory of the policy along one episode'
    draw_memory(path, network.core, xs, title, signals={'reward': seen.rewards})


def draw_deaths(
    path: pathlib.Path,
    saved: SavedAgent,
    store: RolloutStore,
    codes: Latents,
    ends: Sequence[tuple[int, int]],
    temperature: float,
    seed: int,
    steps: int = 12,
) -> None:
    """The last steps before some deaths: the game, V, and two dreams.

    Under the frames of a dream stands its P(done).

    Args:
        store, codes: where the episodes are.
        ends: (episode, its length), at least one, see ``foresight.ends_of``.
    """
    model, vision = saved.model(), saved.vision()
    rng = stream(seed, 'forewarning film', saved.round)
    frames, captions, notes = [], [], []
    for episode, length in ends:
        rows, last = codes.rows(episode), slice(length - steps - 1, length)
        z, actions = np.array(codes.mu[rows]), np.array(codes.actions[rows])
        frames += [store.read(episode).observations[last]]
        frames += [decoded(vision, z[last])]
        notes += [str(k) for k in range(-steps, 1)] + [''] * (steps + 1)
        for _ in range(2):
            seen = foresee(model, z, actions, length - steps, rng, temperature)
            frames.append(decoded(vision, seen.dreamed[last]))
            notes += [f'{p:.2f}' for p in seen.p_done_dreamed[last]]
        for word in ('game', 'V', 'dream', 'dream'):
            captions += [word] + [''] * steps
    plots.contact_sheet(
        path,
        np.concatenate(frames),
        captions,
        notes,
        columns=steps + 1,
        scale=1,
        title=f'Deaths, and M dreaming from {steps} steps before them',
    )
