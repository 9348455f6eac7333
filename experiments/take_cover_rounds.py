"""A round of Take Cover's iterative procedure."""

from __future__ import annotations

from chainer_wm import runs
from chainer_wm.stages import practice
from chainer_wm.stages.parts import Parts
from experiments.take_cover_config import Config
from experiments.take_cover_training import (
    collect,
    learn,
    make_env,
    parts,
    search,
)


def play_and_refine(number: int, config: Config, run: runs.Run) -> None:
    """The agents play, M learns from it, C goes on evolving.

    In some rounds V learns from it first, and M, which then has to read a new
    V's codes, for as long as in the beginning. C begins anew where it does
    worse in the new dream than one of zeros.
    """
    before, found = (parts(config, run).at(n) for n in (number - 1, number))

    def play(number: int) -> dict:
        if not number:
            collect(config, run)
            return {}
        return practice.play(
            found.at(number),
            make_env(config),
            config.round_episodes,
            config.seed,
            config.workers,
        )

    row = play(number)
    budget = (
        config.round_epochs,
        config.round_learning_rate,
        config.round_learning_rate,
    )
    if found.vision_round == number:
        refine_vision(config, found, run)
        budget = (
            config.model_epochs,
            config.model_learning_rate,
            config.model_last_learning_rate,
        )
    row['vision'] = practice.see(found, play, run.tick)
    row['model'] = learn(config, found, before.model(), *budget, run.tick)
    dream = found.dream(config.temperature, config.max_steps)
    row['begin'] = practice.hand_on(
        before, found, dream, config.population, config.seed
    )
    generations = config.generations + number * config.round_generations
    row['controller'] = search(config, found, dream, generations, run.tick)
    run.add_results(**{f'round-{number:02d}': row})


def refine_vision(config: Config, found: Parts, run: runs.Run) -> None:
    """V learns from all episodes so far."""
    practice.refine_vision(
        found,
        config.held_out,
        config.seed,
        epochs=config.round_vision_epochs,
        batch_size=config.vision_batch,
        learning_rate=config.round_vision_learning_rate,
        last_learning_rate=config.vision_last_learning_rate,
        memory_mb=config.memory_mb,
        debug=config.debug,
        tick=run.tick,
    )
