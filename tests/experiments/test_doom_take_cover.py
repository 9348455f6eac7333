"""Take Cover end to end, on tiny settings: killed in every stage, packed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from take_cover_case import ROOT, STAGES, finish, folder, kill_in, results, start

from chainer_wm.agents.saved import PackedAgent, SavedAgent
from chainer_wm.files.archives import save_link
from chainer_wm.links.conv_vae import ConvVAE

pytest.importorskip('vizdoom')


def test_killed_in_every_stage_gives_the_numbers_of_an_unbroken_run(whole):
    rng = np.random.default_rng(0)
    for n, stage in enumerate(STAGES):
        workers = ('--workers', str(1 + n % 2))
        kill_in(stage, whole, 'killed', rng.uniform(0, 0.6), *workers)
    finish(start(whole, 'killed', '--workers', '2'))
    assert results(whole, 'killed') == results(whole, 'whole')


def test_complete_run_is_not_repeated(whole):
    output = finish(start(whole, 'whole'))
    assert all(f'{stage}: complete, skipped' in output for stage in STAGES)


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


def test_a_round_adds_the_agents_episodes_and_goes_on(whole):
    row = results(whole, 'whole')['round-01']
    home = folder(whole, 'whole') / 'rounds/01'
    assert row['played']['episodes'] == 2
    assert row['steps'] == sum(row['played']['returns'])
    assert row['controller']['generation'] == 4  # 3, and 1 in the round
    assert len(list((home / 'rollouts/episodes').iterdir())) == 2
    assert (home / 'model/model.npz').exists()


def test_finished_rounds_keep_their_vision(whole):
    settings = (folder(whole, 'whole') / 'config.json').read_bytes()
    process = start(whole, 'whole', '--rounds', '2', '--vision-rounds', '1')
    output, _ = process.communicate()
    assert process.returncode == 1 and 'Traceback' not in output
    assert '[1], but in this run V was trained on in [] of' in output
    assert (folder(whole, 'whole') / 'config.json').read_bytes() == settings


def test_figures_and_films_are_there(whole):
    names = {path.name for path in (folder(whole, 'whole') / 'figures').iterdir()}
    assert {
        'vision_training.png',
        'reconstructions.png',
        'foresight.png',
        'model_training.png',
        'evolution.png',
        'returns.png',
        'calibration.png',
        'ages.png',
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
        saved = SavedAgent(folder(whole, run), round=1)
        saved.pack(tmp_path, core, (1.0,), origin)
        return saved.vision().mu.W.array

    def unpacked(core):
        return PackedAgent.load(tmp_path, core).vision.mu.W.array

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
    """Two of them; the same command does nothing twice."""
    command = [sys.executable, 'experiments/doom_take_cover_controls.py']
    flags = ['--base', 'whole', '--data', str(whole), '--workers', '1']
    budget = ['--preset', 'smoke', '--max-steps', '20', '--kinds']

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
    assert found['pacing']['pacing 120']['episodes'] == 2
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
