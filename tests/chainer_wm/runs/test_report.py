"""What a run prints of its scores."""

from chainer_wm.play import evaluation
from chainer_wm.runs import report


def test_deaths_by_age_stand_side_by_side():
    game = {'agent': evaluation.summary([100, 200, 2100])}
    dream = {'agent': evaluation.summary([100, 400, 400])}
    rows = report.ages(game, dream, (2100, 400), (0, 150, 300, 500, 800, 1200, 2100))
    head, row = report.compare_ages(rows).splitlines()
    assert head.split()[:3] == ['age', '0-150', '150-300']
    assert ' '.join(row.split()) == (
        'agent 2.50 / 2.50 5.00 / 0.00 0.00 / 0.00 0.00 / - 0.00 / - 0.00 / -'
    )
