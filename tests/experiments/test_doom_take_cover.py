"""Take Cover end to end, on tiny settings: killed in every stage, reused."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from chainer_wm import files
from chainer_wm.datasets import split_episodes
from chainer_wm.links import save_link
from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import packed, vision
from chainer_wm.stages.parts import Parts
from chainer_wm.vision import ConvVAE

pytest.importorskip('vizdoom')

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = [
    '--episodes',
    '4',
    '--held-out',
    '0.25',
    '--min-length',
    '40',
    '--vision-batch',
    '64',
    '--vision-epochs',
    '0.5',
    '--latent-size',
    '4',
    '--hidden-size',
    '8',
    '--memory-length',
    '4',
    '--memory-width',
    '4',
    '--read-heads',
    '1',
    '--model-batch',
    '2',
    '--window',
    '25',
    '--model-epochs',
    '2',
    '--population',
    '4',
    '--dreams',
    '2',
    '--generations',
    '3',
    '--evaluate-every',
    '2',
    '--evaluate-episodes',
    '1',
    '--max-steps',
    '30',
    '--test-episodes',
    '2',
    '--rounds',
    '1',
    '--round-episodes',
    '2',
    '--round-epochs',
    '1',
    '--round-generations',
    '1',
    '--round-vision-epochs',
    '0.5',
]
STAGES = (
    *('collect', 'vision', 'encode', 'model', 'controller', 'round-01'),
    'evaluate',
)


def start(data, run, *more):
    return subprocess.Popen(
        [
            sys.executable,
            'experiments/doom_take_cover.py',
            '--data',
            str(data),
            '--run',
            run,
            *TINY,
            *more,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def folder(data, run):
    return data / 'doom_take_cover' / run


def started(data, run):
    log = folder(data, run) / 'log.jsonl'
    if not log.exists():
        return []
    return [
        line['stage']
        for line in map(json.loads, log.read_text().splitlines())
        if line['event'] == 'start'
    ]


def kill_in(stage, data, run, delay, *more):
    process = start(data, run, *more)
    while stage not in started(data, run):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def results(data, run):
    found = json.loads((folder(data, run) / 'results.json').read_text())
    for changing in ('seconds', 'config', 'run'):
        found.pop(changing)
    return found


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    data = tmp_path_factory.mktemp('data')
    finish(start(data, 'whole'))
    return data


def test_killed_in_every_stage_gives_the_numbers_of_an_unbroken_run(whole):
    rng = np.random.default_rng(0)
    for stage in STAGES:
        kill_in(stage, whole, 'killed', rng.uniform(0, 0.6))
    finish(start(whole, 'killed', '--workers', '1'))
    assert results(whole, 'killed') == results(whole, 'whole')


def test_complete_run_is_not_repeated(whole):
    output = finish(start(whole, 'whole'))
    assert all(f'{stage}: complete, skipped' in output for stage in STAGES)


def test_dnc_by_a_flag_on_the_same_rollouts_and_vision(whole):
    finish(start(whole, 'dnc', '--model', 'dnc', '--reuse', 'whole'))
    found = results(whole, 'dnc')
    assert (
        found['random_baseline'] == results(whole, 'whole')['random_baseline']
    )
    assert found['evaluation']['episodes'] == 2
    assert np.isfinite(found['model']['nll'])
    assert not (folder(whole, 'dnc') / 'rollouts').exists()


def test_damaged_episode_is_named_and_played_again(whole):
    finish(start(whole, 'damaged', '--stages', 'collect,vision'))
    rollouts = folder(whole, 'damaged') / 'rollouts'
    path = rollouts / 'episodes/000002.npz'
    before = path.read_bytes()
    path.write_bytes(before[:2000])
    output = finish(start(whole, 'damaged', '--stages', 'encode'))
    assert 'episode 2' in output and 'set aside' in output
    assert path.read_bytes() == before
    assert list((rollouts / 'damaged').iterdir())


@pytest.mark.parametrize('dtype', ['float64'])
def test_whole_pipeline_in_double_precision(whole, dtype):
    finish(start(whole, 'double', '--reuse', 'whole', '--dtype', dtype))
    assert np.isfinite(results(whole, 'double')['model']['nll'])


def test_untrained_control_with_a_mixed_temperature_and_z_alone(whole):
    flags = ['--untrained-model', '--features', 'z', '--temperature']
    finish(start(whole, 'control', '--reuse', 'whole', *flags, '1', '1.3'))
    assert results(whole, 'control')['evaluation']['episodes'] == 2


def test_a_round_adds_the_agents_episodes_and_goes_on(whole):
    row = results(whole, 'whole')['round-01']
    home = folder(whole, 'whole') / 'rounds/01'
    assert row['played']['episodes'] == 2
    assert row['steps'] == sum(row['played']['returns'])
    assert row['controller']['generation'] == 4  # 3, and 1 in the round
    assert len(list((home / 'rollouts/episodes').iterdir())) == 2
    assert (home / 'model/model.npz').exists()


def test_a_further_round_goes_on_where_the_run_ended(whole):
    finish(start(whole, 'longer', '--reuse', 'whole'))
    output = finish(start(whole, 'longer', '--rounds', '2'))
    assert 'round-01: complete, skipped' in output
    found = results(whole, 'longer')
    assert found['round-02']['controller']['generation'] == 5
    assert found['round-02']['played'] != found['round-01']['played']


def test_a_rounds_learning_rate_may_fall(whole):
    """Then M moves less in the round than at the rate it began with."""
    more = ('--reuse', 'whole', '--round-last-learning-rate', '0')
    finish(start(whole, 'settled', *more))

    def moved(run):
        parts = Parts.of(
            folder(whole, run), 'whole', ('z', 'c', 'h'), '@numpy'
        )
        ends = [parts.at(n).model().head.W.array for n in (0, 1)]
        return np.abs(ends[1] - ends[0]).mean()

    assert 0 < moved('settled') < 0.9 * moved('whole')


def test_a_round_of_vision_killed_or_not(whole):
    """V is trained on, and all that M and C then see is its codes."""
    more = ('--reuse', 'whole', '--rounds', '2', '--vision-rounds', '2')
    finish(start(whole, 'sharper', *more))
    rng = np.random.default_rng(1)
    for _ in range(4):
        kill_in('round-02', whole, 'broken', rng.uniform(0, 3), *more)
    finish(start(whole, 'broken', *more))
    found = results(whole, 'sharper')
    assert results(whole, 'broken') == found
    path = folder(whole, 'sharper')
    parts = Parts.of(path, 'whole', ('z', 'c', 'h'), '@numpy', (2,)).at(2)
    sources = [part.source for part in parts.latents().parts]
    assert sources == [{'vision': files.sha256(parts.vision_path)}] * 3
    assert parts.vision_path.is_relative_to(path / 'rounds/02')
    mu, old = parts.vision().mu.W.array, parts.at(1).vision().mu.W.array
    assert not np.allclose(mu, old, atol=1e-4)
    assert found['round-02']['vision']['reconstruction'] > 0


def test_silent_latents_go_before_anything_is_encoded(whole):
    """Two of four stay, and M, C and a further training of V go by that."""
    seer = Parts.of(folder(whole, 'whole'), '', ('z',), '@numpy').vision()
    config = files.read_json(folder(whole, 'whole') / 'config.json')
    store = RolloutStore(folder(whole, 'whole') / 'rollouts')
    episodes = split_episodes(store.episodes, 0.25, config['seed'])[0]
    nats = np.sort(vision.latent_nats(seer, store, episodes)[0])[1:3].mean()
    more = ('--latent-nats', str(nats), '--vision-rounds', '1')
    finish(start(whole, 'fewer', *more))
    found = Parts.saved(
        folder(whole, 'fewer'),
        files.read_json(folder(whole, 'fewer') / 'config.json'),
        '@numpy',
    )
    sizes = [found.at(n).vision().latent_size for n in (0, 1)]
    assert sizes == [2, 2] and found.model().latent_size == 2
    assert found.theta().size == 2 + 8 + 8
    assert results(whole, 'fewer')['model']['latents'] == 2
    assert results(whole, 'fewer')['evaluation']['episodes'] == 2


def test_finished_rounds_keep_their_vision(whole):
    settings = (folder(whole, 'whole') / 'config.json').read_bytes()
    process = start(whole, 'whole', '--rounds', '2', '--vision-rounds', '1')
    output, _ = process.communicate()
    assert process.returncode == 1 and 'Traceback' not in output
    assert '[1], but in this run V was trained on in [] of' in output
    assert (folder(whole, 'whole') / 'config.json').read_bytes() == settings


def test_figures_and_films_are_there(whole):
    names = {
        path.name for path in (folder(whole, 'whole') / 'figures').iterdir()
    }
    assert {
        'vision_training.png',
        'reconstructions.png',
        'foresight.png',
        'model_training.png',
        'evolution.png',
        'returns.png',
        'calibration.png',
        'game.gif',
        'dream.gif',
        'game_and_dream.gif',
    } <= names


def test_reusing_an_unfinished_run_is_refused(whole):
    process = start(whole, 'early', '--reuse', 'nothing')
    output, _ = process.communicate()
    assert process.returncode == 1
    assert '--reuse nothing' in output and 'Traceback' not in output


def test_cores_share_a_packed_vision_unless_theirs_differ(whole, tmp_path):
    origin = {'run': 'whole'}

    def pack(run, core):
        path = folder(whole, run)
        parts = Parts.of(path, '', ('z', 'c', 'h'), '@numpy').at(1)
        packed.pack(parts, tmp_path, core, (1.0,), origin)
        return parts.vision().mu.W.array

    def unpacked(core):
        return packed.unpack(tmp_path, core).vision.mu.W.array

    first = pack('whole', 'lstm')
    pack('whole', 'dnc')
    assert len(list(tmp_path.rglob('vision.npz'))) == 1
    other = ConvVAE(4, seed=9)
    home = folder(whole, 'other')
    shutil.copytree(folder(whole, 'whole'), home)
    save_link(home / 'vision/vision.npz', other)
    pack('other', 'dnc')
    np.testing.assert_allclose(unpacked('lstm'), first, atol=1e-3)
    np.testing.assert_allclose(unpacked('dnc'), other.mu.W.array, atol=1e-3)
    pack('whole', 'dnc')  # and back: the shared one serves again
    assert len(list(tmp_path.rglob('vision.npz'))) == 1
    np.testing.assert_allclose(unpacked('dnc'), first, atol=1e-3)


def test_controls_on_top_of_a_run_are_listed(whole):
    """Two cells; the same command does nothing twice."""
    command = [sys.executable, 'experiments/take_cover_controls.py']
    flags = ['--base', 'whole', '--data', str(whole), '--workers', '1']
    budget = ['--preset', 'smoke', '--max-steps', '20', '--cells']

    def run(*cells):
        return subprocess.run(
            [*command, *flags, *budget, *cells],
            cwd=ROOT,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout

    run('untrained')
    again = run('untrained', 'z')
    assert 'untrained: complete, skipped' in again
    found = results(whole, 'whole-controls')
    assert set(found['cells']) == {'untrained', 'z'}
    assert found['cells']['z']['controller_parameters'] == 4
    assert found['random_baseline']['episodes'] == 2
    wrong = subprocess.run(
        [*command, '--base', 'nothing', '--data', str(whole)],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert wrong.returncode == 1 and 'holds no run' in wrong.stderr


def test_a_packed_agent_plays_without_its_run(whole, tmp_path):
    agents, film = tmp_path / 'agents', tmp_path / 'play.gif'
    command = [sys.executable, 'experiments/play.py', '--agents', str(agents)]
    missing = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert missing.returncode == 1 and '--pack' in missing.stderr
    more = ['--pack', str(folder(whole, 'whole')), '--out', str(film)]
    subprocess.run([*command, *more], cwd=ROOT, check=True)
    before = folder(whole, 'whole')
    vision = np.load(agents / 'vision.npz')
    theirs = np.load(before / 'vision/vision.npz')
    for name in set(vision.files) - {'settings'}:
        assert vision[name].dtype == np.float16
        np.testing.assert_allclose(vision[name], theirs[name], 1e-3, 1e-4)
    assert film.read_bytes()[:3] == b'GIF'
    output = subprocess.run(
        [*command, '--out', str(film), '--score', '1'],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout
    assert 'over 1 episodes' in output
