"""A round of Take Cover's iterative procedure."""

from __future__ import annotations

import pathlib

from chainer_wm.runs import run_folder
from chainer_wm.training import rounds
from experiments.take_cover_config import Config
from experiments.take_cover_training import collect, learn, learn_vision, make_env, parts, search


def check_vision_rounds(config: Config, folder: pathlib.Path) -> None:
    """See that ``vision_rounds`` are what the rounds so far did.

    Args:
        folder: of the run, which need not be there.

    Raises:
        runs.RunError: they are not.
    """
    asked = set(config.vision_rounds)
    made, begun = (
        {int(path.parent.name) for path in folder.glob(f'rounds/*/{part}')}
        for part in ('vision', 'model')
    )
    if made - asked or asked & begun - made or min(asked, default=1) < 1:
        raise run_folder.RunError(
            f'--vision-rounds {sorted(asked)}, but in this run V was trained '
            f'on in {sorted(made)} of the rounds {sorted(begun)}: add rounds, '
            'from 1, that are still to come, or give another --run'
        )


def play_and_refine(number: int, config: Config, run: run_folder.Run) -> None:
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
        return rounds.play(
            found.at(number), make_env(config), config.round_episodes, config.seed, config.workers
        )

    row = play(number)
    budget = (config.round_epochs, config.round_learning_rate, config.round_last_learning_rate)
    if found.vision_round == number:
        learn_vision(
            config,
            found,
            before.vision(),
            *rounds.recorded(found, config.held_out, config.seed),
            config.round_vision_epochs,
            config.round_vision_learning_rate,
            run.tick,
        )
        budget = (config.model_epochs, config.model_learning_rate, config.model_last_learning_rate)
    row['vision'] = rounds.see(found, play, run.tick)
    row['model'] = learn(config, found, before.model(), *budget, run.tick)
    dream = found.dream(config.temperature, config.max_steps)
    row['begin'] = rounds.hand_on(before, found, dream, config.population, config.seed)
    generations = config.generations + number * config.round_generations
    row['controller'] = search(config, found, dream, generations, run.tick)
    run.add_results(**{f'round-{number:02d}': row})
