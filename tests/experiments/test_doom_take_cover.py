"""Take Cover end to end, on tiny settings: killed in every stage, packed."""

import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from take_cover_case import STAGES, folder, kill_in, refused, results, run, start

from chainer_wm.agents.saved import PackedAgent, SavedAgent
from chainer_wm.files.archives import save_link
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.runs.run_folder import RunError
from experiments import doom_take_cover_controls, play

pytest.importorskip('vizdoom')


def test_killed_in_every_stage_gives_the_numbers_of_an_unbroken_run(whole):
    rng = np.random.default_rng(0)
    for n, stage in enumerate(STAGES):
        workers = ('--workers', str(1 + n % 2))
        kill_in(stage, whole, 'killed', rng.uniform(0, 0.6), *workers)
    run(whole, 'killed', '--workers', '2')
    assert results(whole, 'killed') == results(whole, 'whole')


def test_complete_run_is_not_repeated(whole):
    output = run(whole, 'whole')
    assert all(f'{stage}: complete, skipped' in output for stage in STAGES)


def test_damaged_episode_is_named_and_played_again(whole):
    run(whole, 'damaged', '--stages', 'collect,vision')
    rollouts = folder(whole, 'damaged') / 'rollouts'
    path = rollouts / 'episodes/000002.npz'
    before = path.read_bytes()
    path.write_bytes(before[:2000])
    with pytest.warns(UserWarning, match='episode 2: .*set aside'):
        run(whole, 'damaged', '--stages', 'encode')
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
    line = refused(whole, 'whole', '--rounds', '2', '--vision-rounds', '1')
    assert '[1], but in this run V was trained on in [] of' in line
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


def test_controls_on_top_of_a_run_are_listed(whole, capsys):
    """Two of them; the same command does nothing twice."""
    flags = ['--base', 'whole', '--data', str(whole), '--workers', '0']
    budget = ['--preset', 'smoke', '--max-steps', '20', '--kinds']
    doom_take_cover_controls.script([*flags, *budget, 'untrained'])
    capsys.readouterr()
    doom_take_cover_controls.script([*flags, *budget, 'untrained', 'z'])
    assert 'untrained: complete, skipped' in capsys.readouterr().out
    found = results(whole, 'whole-controls')
    assert set(found['cells']) == {'untrained', 'z'}
    assert found['cells']['z']['controller_parameters'] == 4
    assert found['random_baseline']['episodes'] == 2
    assert found['pacing']['pacing 120']['episodes'] == 2
    with pytest.raises(RunError, match='holds no run'):
        doom_take_cover_controls.script(['--base', 'nothing', '--data', str(whole)])


def test_a_packed_agent_plays_without_its_run(whole, tmp_path, capsys, monkeypatch):
    agents, out = tmp_path / 'agents', tmp_path / 'play.gif'
    flags = ['--agents', str(agents), '--out', str(out), '--steps', '60']
    monkeypatch.setattr(sys, 'argv', ['play.py', *flags])
    with pytest.raises(SystemExit, match='--pack'):
        play.main()
    home = folder(whole, 'whole')
    play.script([*flags, '--pack', str(home)])
    vision = np.load(agents / 'vision.npz')
    theirs = np.load(home / 'vision/vision.npz')
    for name in set(vision.files) - {'settings'}:
        assert vision[name].dtype == np.float16
        np.testing.assert_allclose(vision[name], theirs[name], 1e-3, 1e-4)
    with Image.open(out) as film:
        assert 2 <= film.n_frames <= 61
    play.script([*flags, '--score', '1', '--workers', '0'])
    assert 'over 1 episodes' in capsys.readouterr().out
