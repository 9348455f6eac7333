"""ViZDoom Take Cover: V, M (LSTM or DNC) and C evolved inside the dream.

Ha and Schmidhuber 2018, "World Models", section 4, with the recurrent core
chosen by ``--model``. Every stage reads and writes only the run's folder, is
skipped when it is complete and goes on where it was stopped. ``--summary RUN
RUN ...`` compares finished runs, and lists their controls.
"""

from __future__ import annotations

import functools
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

from chainer_wm.envs.take_cover import SETTINGS
from chainer_wm.files.archives import save_link
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.runs import report, run_folder
from chainer_wm.runs.command_line import main, parse, run_stages
from chainer_wm.training import encode
from chainer_wm.training import vae as vision
from experiments import take_cover_summary
from experiments.take_cover_config import FIXED, PRESETS, Config, new_model
from experiments.take_cover_rounds import check_vision_rounds, play_and_refine
from experiments.take_cover_training import (
    check_reuse,
    collect,
    learn,
    learn_vision,
    make_env,
    parts,
    search,
    split,
)

NAME = 'doom_take_cover'
SOLVED = 750


def train_vision(config: Config, run: run_folder.Run) -> None:
    """V on the frames."""
    if config.reuse:
        return
    found = parts(config, run)
    store = found.store()
    episodes, held_out = split(config, found)
    vae = ConvVAE(config.latent_size, seed=config.seed)
    vae.to_device(config.device)
    log = learn_vision(
        config,
        found,
        vae,
        store,
        episodes,
        config.vision_epochs,
        config.vision_learning_rate,
        run.tick,
    )
    if config.latent_nats:
        vae = vision.drop_silent(vae, store, episodes, config.latent_nats)
        save_link(found.home / 'vision/vision.npz', vae)
    run.add_results(vision=vision.measure(vae, store, held_out))
    vision.draw(run.path('figures'), log, vae, store, held_out)


def encode_frames(config: Config, run: run_folder.Run) -> None:
    """The codes of all frames; damaged episodes are played again first."""
    if config.reuse:
        return
    found = parts(config, run)
    store = found.store()
    if store.missing(config.episodes):
        collect(config, run)
    encode.encode(
        found.codes_path,
        store,
        found.vision(),
        found.vision_path,
        play_again=lambda: collect(config, run),
        tick=run.tick,
    )


def train_model(config: Config, run: run_folder.Run) -> None:
    """M on the codes."""
    found = parts(config, run)
    measures = learn(
        config,
        found,
        new_model(config, found.latents().latent_size),
        0.0 if config.untrained_model else config.model_epochs,
        config.model_learning_rate,
        config.model_last_learning_rate,
        run.tick,
    )
    run.add_results(model=measures)
    held_out = split(config, found)[1]
    report.draw_foresight(run.path('figures'), found, held_out[0], config.seed)


def evolve(config: Config, run: run_folder.Run) -> None:
    """C by CMA-ES, inside the dream."""
    found = parts(config, run)
    dream = found.dream(config.temperature, config.max_steps)
    run.add_results(controller=search(config, found, dream, config.generations, run.tick))


def evaluate(config: Config, run: run_folder.Run) -> None:
    """The agent and fixed policies, in the game and in the dream."""
    found = parts(config, run).at(config.rounds)
    dream = found.dream(config.temperature, config.max_steps)
    dreamer = report.DreamtController(found.new_controller(dream.model).act, found.theta())
    game = report.score_in_game(
        {'agent': found.agent_maker(), **FIXED},
        make_env(config),
        config.test_episodes,
        config.seed,
        config.workers,
    )
    inside = report.score_in_dream(
        {'agent': dreamer} | {name: make() for name, make in FIXED.items()},
        dream,
        config.test_episodes,
        config.seed,
        config.features,
    )
    run.add_results(
        evaluation=game['agent'], random_baseline=game['random'], game=game, dream=inside
    )
    print(report.compare(game, inside))
    limits = (SETTINGS[config.settings].timeout or math.inf, config.max_steps)
    ages = report.ages(game, inside, limits)
    print('deaths per 1,000 steps, game / dream')
    print(report.compare_ages(ages))
    figures = run.path('figures')
    report.draw_scores(*(figures, found, game, inside, SOLVED, config.model, ages))
    report.draw_films(figures, found, make_env(config), dream, dreamer, config.seed)


def stages(config: Config) -> dict:
    """The stages in order, with one per round."""
    rounds = {
        f'round-{number:02d}': functools.partial(play_and_refine, number)
        for number in range(1, config.rounds + 1)
    }
    return {
        'collect': collect,
        'vision': train_vision,
        'encode': encode_frames,
        'model': train_model,
        'controller': evolve,
        **rounds,
        'evaluate': evaluate,
    }


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    if config.summary:
        take_cover_summary.summarise(config, NAME, SOLVED)
        return
    home = pathlib.Path(config.data, NAME)
    check_vision_rounds(config, home / config.run)
    check_reuse(config, home)
    run_stages(config, NAME, stages(config), ('vizdoom',)).close()


if __name__ == '__main__':
    main(script)
