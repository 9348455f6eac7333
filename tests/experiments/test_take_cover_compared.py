"""What runs of Take Cover, and controls on top of them, are compared in: by hand."""

import pytest
from ppo_script_case import check_picture

from chainer_wm import files

pytest.importorskip('vizdoom')

from experiments import doom_take_cover, doom_take_cover_controls


def score(mean):
    return {'mean': float(mean), 'std': 8.0, 'episodes': 4, 'returns': [mean - 1.0, mean + 1.0]}


def stage(generation, dream, scores, caught):
    """What an evolution and its M left: scores by generation."""
    rows = [{'generation': at, **score(mean)} for at, mean in scores.items()]
    return {
        'model': {'caught': caught, 'false_alarms': 2.0, 'nll': 0.5},
        'controller': {'generation': generation, 'dream': dream, 'evaluations': rows},
    }


def test_scores_by_generation_dreams_by_round_and_policies_beside():
    found = doom_take_cover.compared(
        {
            **stage(20, 1300.0, {10: 500, 20: 600}, 0.25),
            'round-01': stage(35, 900.0, {20: 600, 35: 700}, 0.75),
            'game': {'agent': score(710), 'pacing': score(640)},
            'dream': {'agent': score(950), 'pacing': score(800)},
        }
    )
    evolution, rounds, caught = found['curves'].values()
    assert (evolution['x'], evolution['y']) == ([10, 20, 35], [500, 600, 700])
    assert (rounds['x'], rounds['y'], rounds['points']) == ([1300, 900], [600, 700], True)
    assert (caught['x'], caught['y']) == ([0, 1], [0.25, 0.75])
    assert found['scores']['score in the dream']['mean'] == 950
    assert found['scores']['M: deaths caught']['mean'] == 0.75
    assert found['baselines'] == {
        'pacing': {'evaluation': {'mean': 640}, 'score in the dream': {'mean': 800}}
    }


def test_settings_of_a_reused_run_count(tmp_path):
    config = doom_take_cover.Config(data=str(tmp_path), reuse='base')
    assert doom_take_cover.inherited(doom_take_cover.Config()) == {}
    base = {'episodes': 3000, 'latent_size': 16, 'generations': 99}
    files.write_json(tmp_path / 'doom_take_cover/base/config.json', base)
    assert doom_take_cover.inherited(config) == {'episodes': 3000, 'latent_size': 16}


def test_controls_show_their_temperatures_below_the_papers(tmp_path):
    class Run:
        def results(self):
            cell = {'temperature': [1.0, 1.5], 'game': score(300), 'dream': {'agent': score(900)}}
            return {'cells': {'tau-1.00-1.50': cell, 'z': cell}, 'random_baseline': score(210)}

        def path(self, *parts):
            return tmp_path.joinpath(*parts)

    doom_take_cover_controls.draw(doom_take_cover_controls.Config(), Run())
    check_picture(tmp_path / 'figures/temperatures.png')
