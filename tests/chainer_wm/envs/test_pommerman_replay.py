"""Pommerman's recordings: played again, and refused where damaged."""

import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

from chainer_wm.envs import pommerman_original, pommerman_replay
from chainer_wm.envs.pommerman import Pommerman
from chainer_wm.envs.pommerman_agents import HUNTER
from chainer_wm.envs.pommerman_boards import MAPS
from chainer_wm.envs.pommerman_games import PommermanGames

ROOT = pathlib.Path(__file__).parents[3]
KINDS = ('ffa', 'stress', 'team', 'radio')
RECORDINGS = ROOT.parent / 'shared/recordings'


def run(path, *more):
    return pommerman_replay.main(['--replay', str(path), *more])


@pytest.mark.parametrize('kind', KINDS)
def test_plays_the_original_games_again(kind, capsys):
    path = RECORDINGS / f'pommerman_{kind}_train.npz'
    if not path.exists():
        pytest.skip('no shared/recordings/pommerman_* beside the project')
    assert run(path) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.startswith('equal')


def record(mode, games=3, steps=40):
    """A recording's arrays, made by our game with hunters."""
    frames, played, table, words = [], [], [], []
    rng = np.random.default_rng(0)
    one = PommermanGames(1, mode, 800)
    for seed in range(games):
        one.reset([seed])
        start = (len(frames), len(played))
        frames.append({n: np.copy(v) for n, v in one.snapshot().items()})
        while not one.over[0] and len(played) - start[1] < steps:
            actions = one.act(np.full((1, 4), HUNTER))
            said = rng.integers(8, size=(1, 4, 2)) * one.games.alive[..., None]
            rewards, over = one.step(actions, said if mode == 'radio' else None)
            state = {n: np.copy(v) for n, v in one.snapshot().items()}
            frames.append(state)
            ends = (bool(over[0]), state['result'], state['winner_mask'])
            played.append((actions[0], rewards[0], *ends))
            words.append(said[0])
        table.append((seed, *start, len(played) - start[1]))
    kind = ('ffa', 'team', 'radio').index(mode) + 1
    names = ('actions', 'rewards', 'done', 'result', 'winner_mask')
    arrays = {f't_{n}': np.array(column) for n, column in zip(names, zip(*played))}
    for name in (*('board', 'hidden_items', 'position', 'ammo', 'blast_strength'),):
        arrays[f'f_{name}'] = np.array([f[name] for f in frames])
    for name in ('can_kick', 'alive', 'step_count'):
        arrays[f'f_{name}'] = np.array([f[name] for f in frames])
    for i, name in enumerate(MAPS):
        if i:
            arrays[f'f_{name}'] = np.array([pommerman_maps(f)[i - 1] for f in frames])
        if mode != 'ffa':
            arrays[f'f_obs_{name}'] = np.array([f['maps'][:, i] for f in frames])
    if mode == 'radio':
        arrays['f_message'] = np.array([f['message'] for f in frames])
        arrays['t_radio_actions'] = np.array(words)
    for name, pointer in (('bombs', 'bomb_ptr'), ('flames', 'flame_ptr')):
        arrays[name] = np.concatenate([f[name] for f in frames])
        arrays[pointer] = np.cumsum([0] + [len(f[name]) for f in frames])
    columns = zip(('seed', 'frame_start', 'step_start', 'length'), np.array(table).T)
    arrays.update({f'g_{n}': column for n, column in columns})
    arrays['g_game_type'] = np.full(games, kind)
    for name in ('teammate', 'enemies'):
        arrays[f'g_{name}'] = np.array([frames[0][name]] * games)
    return arrays


def pommerman_maps(state):
    """Blast, life, direction of bombs and life of flames, (4, 11, 11)."""
    maps = np.zeros((4, 11, 11), int)
    for r, c, _, life, blast, direction in state['bombs']:
        maps[:3, r, c] = blast, life, direction
    for r, c, life in state['flames']:
        maps[3, r, c] = life + 1
    return maps


@pytest.fixture(scope='module')
def recordings():
    return {mode: record(mode) for mode in ('ffa', 'team', 'radio')}


@pytest.fixture
def write(tmp_path):
    def write(arrays, **changes):
        path = tmp_path / 'recording.npz'
        kept = {**arrays, **changes}
        np.savez(path, **{k: v for k, v in kept.items() if v is not None})
        return path

    return write


@pytest.mark.parametrize('mode', ['ffa', 'team', 'radio'])
def test_what_our_game_recorded_is_equal(mode, recordings, write, capsys):
    arrays = recordings[mode]
    assert run(write(arrays)) == 0, capsys.readouterr().out
    steps = len(arrays['t_actions'])
    assert f'3 games, {steps} steps' in capsys.readouterr().out
    assert (arrays['bomb_ptr'][-1] > 0) and (arrays['flame_ptr'][-1] > 0)


def test_replay_is_a_command(recordings, write):
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'chainer_wm.envs.pommerman',
            '--replay',
            str(write(recordings['ffa'])),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert '3 games' in done.stdout


FIELDS = [
    *('f_board', 'f_hidden_items', 'f_position', 'f_ammo', 'f_blast_strength', 'f_can_kick'),
    *('f_alive', 'f_step_count', 'f_bomb_life', 'f_bomb_blast_strength', 'f_flame_life'),
    *('f_bomb_moving_direction', 'f_obs_board', 'f_obs_bomb_life', 'f_message'),
    *('t_rewards', 't_done', 't_result', 't_winner_mask'),
]


@pytest.mark.parametrize('name', FIELDS)
def test_replay_names_the_first_difference(name, recordings, write, capsys):
    arrays = recordings['radio']
    changed = arrays[name].copy()
    start = 'g_frame_start' if name.startswith('f_') else 'g_step_start'
    row = changed[arrays[start][1] + (5 if name.startswith('f_') else 4)]
    if row.ndim:
        old = row.flat[-1]
        row.flat[-1] = not old if row.dtype == bool else old + 1 if old < 9 else 0
    else:
        changed[arrays[start][1] + (5 if name.startswith('f_') else 4)] ^= 1
    if name == 'f_position':
        changed = changed.clip(0, 10)
    assert run(write(arrays, **{name: changed})) == 1
    out = capsys.readouterr().out
    assert 'game 1 (seed 1), step 5, ' in out
    said = name[2:]
    if said.startswith('obs_'):
        said = f'what agent 3 sees of {said[4:]} at [10, 10]'
    assert said in out and 'recorded' in out and 'played' in out
    assert f'equal before: 1 games, {arrays["g_length"][0]} steps' in out


@pytest.mark.parametrize('name', ['bombs', 'flames'])
def test_replay_compares_bombs_and_flames(name, recordings, write, capsys):
    arrays = recordings['ffa']
    changed = arrays[name].copy()
    changed[3, -1] += 1
    assert run(write(arrays, **{name: changed})) == 1
    assert f', {name} at ' in capsys.readouterr().out
    if name == 'bombs':  # the same ones in another order
        pointers = arrays['bomb_ptr']
        f = int(np.flatnonzero(np.diff(pointers) >= 2)[0])
        changed = arrays[name].copy()
        changed[pointers[f] : pointers[f + 1]] = changed[pointers[f] : pointers[f + 1]][::-1]
        assert run(write(arrays, **{name: changed})) == 1


def test_replay_sees_another_action(recordings, write, capsys):
    arrays = recordings['ffa']
    actions = arrays['t_actions'].copy()
    first = int(np.flatnonzero(actions[:, 0] != 0)[0])
    actions[first, 0] = 0
    assert run(write(arrays, t_actions=actions)) == 1
    assert f'game 0 (seed 0), step {first + 1}, ' in capsys.readouterr().out


@pytest.mark.parametrize(
    'name, change, said',
    [
        ('f_board', None, "no 'f_board'"),
        ('t_actions', None, "no 't_actions'"),
        ('g_length', None, "no 'g_length'"),
        ('f_board', lambda a: a[:-1], 'cut short'),
        ('t_rewards', lambda a: a[:-3], 'cut short'),
        ('bombs', lambda a: a[:-1], 'bomb_ptr'),
        ('flames', lambda a: a[:, :2], 'flames'),
        ('t_actions', lambda a: a + 6, 'expected 0 to 5'),
        ('f_position', lambda a: a + 5, 'expected 0 to 10'),
        ('g_length', lambda a: a + 1, 'cut short'),
        ('g_step_start', lambda a: a + 1, 'cut short'),
        ('g_game_type', lambda a: a * 0, 'game types'),
        ('f_ammo', lambda a: a.astype(str), 'expected numbers'),
    ],
)
def test_a_damaged_recording_is_refused(name, change, said, recordings, write, capsys):
    arrays = recordings['ffa']
    changed = None if change is None else change(arrays[name])
    assert run(write(arrays, **{name: changed})) == 2
    assert said in capsys.readouterr().err


def test_a_recording_of_teams_needs_what_each_saw(recordings, write, capsys):
    assert run(write(recordings['team'], f_obs_board=None)) == 2
    assert "no 'f_obs_board'" in capsys.readouterr().err
    assert run(write(recordings['radio'], f_message=None)) == 2
    assert "no 'f_message'" in capsys.readouterr().err


def test_a_file_that_is_cut_short_is_refused(recordings, write, capsys):
    path = write(recordings['ffa'])
    path.write_bytes(path.read_bytes()[:5000])
    assert run(path) == 2
    assert 'cut off or altered' in capsys.readouterr().err
    assert run(path.with_name('none.npz')) == 2
    assert 'No such file' in capsys.readouterr().err


class StandIn:
    """The original's environment with our rules."""

    def __init__(self, name, agents):
        self.mode = {v: k for k, v in pommerman_original.NAMES.items()}[name]
        self.games, self._agents = PommermanGames(1, self.mode), agents
        for i, agent in enumerate(agents):
            agent.agent_id = i

    def reset(self):
        self.games.reset([0])
        self._board, self._items, self._pending = None, {}, True
        return self._seen()

    def get_observations(self):
        self.games.restore(
            0,
            {
                'board': self._board,
                'hidden_items': self._hidden(),
                'position': np.array([agent.start for agent in self._agents]),
                **{
                    name: np.array([agent.given[i] for agent in self._agents])
                    for i, name in enumerate(('ammo', 'alive', 'blast_strength', 'can_kick'))
                },
            },
        )
        return self._seen()

    def _hidden(self):
        hidden = np.zeros((11, 11), np.uint8)
        for cell, item in self._items.items():
            hidden[cell] = item
        return hidden

    def _seen(self):
        state = self.games.snapshot()
        self._board, self._step_count = state['board'].copy(), int(state['step_count'])
        self._items = {
            (int(r), int(c)): int(state['hidden_items'][r, c])
            for r, c in np.argwhere(state['hidden_items'])
        }
        box = types.SimpleNamespace
        for i, agent in enumerate(self._agents):
            agent.position = tuple(state['position'][i].tolist())
            agent.ammo, agent.is_alive = int(state['ammo'][i]), bool(state['alive'][i])
            agent.blast_strength = int(state['blast_strength'][i])
            agent.can_kick = bool(state['can_kick'][i])
        self._bombs = [
            box(
                position=(r, c),
                bomber=self._agents[owner],
                life=life,
                blast_strength=blast,
                moving_direction=box(value=direction) if direction else None,
            )
            for r, c, owner, life, blast, direction in state['bombs'].tolist()
        ]
        self._flames = [
            box(position=(r, c), _life=life) for r, c, life in state['flames'].tolist()
        ]
        return [
            {
                **seen,
                'teammate': box(value=seen['teammate']),
                'enemies': [box(value=e) for e in seen['enemies']],
            }
            for seen in self.games.observations()
        ]

    def act(self, seen):
        assert len(seen) == 4
        return [agent.act() for agent in self._agents]

    def step(self, told):
        words = None
        if self.mode == 'radio':
            words = np.array([[said[1:] for said in told]])
            told = [said[0] for said in told]
        rewards, over = self.games.step(np.array([told]), words)
        info = {'result': types.SimpleNamespace(value=int(self.games.results[0]))}
        if self.games.winners.any():
            info['winners'] = np.flatnonzero(self.games.winners[0]).tolist()
        return self._seen(), rewards[0].tolist(), bool(over[0]), info


class StandInAgent:
    def act(self):
        return (2, 0, 0)  # down; agents with a radio tell words too

    def set_start_position(self, cell):
        self.start = cell

    def reset(self, *given):
        self.given = given


@pytest.fixture
def installed(monkeypatch):
    package = types.ModuleType('pommerman')
    package.agents = types.ModuleType('pommerman.agents')
    package.make = StandIn
    package.agents.SimpleAgent = package.agents.RandomAgent = StandInAgent
    monkeypatch.setitem(sys.modules, 'pommerman', package)
    monkeypatch.setitem(sys.modules, 'pommerman.agents', package.agents)


@pytest.mark.parametrize('mode', ['ffa', 'team', 'radio'])
def test_the_original_is_replayed_where_it_is_installed(
    mode, installed, recordings, write, monkeypatch, capsys
):
    path = write(recordings[mode])
    assert run(path, '--original') == 0, capsys.readouterr().out
    monkeypatch.setattr(StandIn, 'step', lambda self, told: (self._seen(), [0] * 4, False, {}))
    assert run(path, '--original') == 1


@pytest.mark.parametrize('mode', ['ffa', 'team', 'radio'])
def test_the_environment_plays_the_original_where_it_is_installed(mode, installed):
    theirs, ours = Pommerman(mode, original=True), Pommerman(mode)
    assert theirs.settings['original'] and not ours.settings['original']
    seen, _ = theirs.reset(seed=3)
    ours.game.begin(0)
    assert (ours.game.games.games.board[0] == theirs.game.env.games.games.board[0]).all()
    action = np.array([5, 1, 2]) if mode == 'radio' else 5
    others = np.full((1, 4), 2)  # what the stand-in's agents do
    others[0, 0] = 5
    words = np.zeros((1, 4, 2), int)
    words[0, 0] = 1, 2
    ours.game.games.step(others, words if mode == 'radio' else None)
    seen, reward, terminated, truncated, info = theirs.step(action)
    assert (seen == ours.game.features(0)).all() and theirs.observation_space.contains(seen)
    assert (reward, terminated, truncated) == (0, False, False) and info['alive'].all()
    if mode == 'radio':
        assert theirs.game.observations()[2]['message'] == (1, 2)
    picture = Pommerman(mode, original=True, observation='pixels').reset()[0]
    assert picture.shape == (132, 132, 3)


def test_the_original_has_its_own_agents_and_limit(installed):
    with pytest.raises(ValueError, match="no 'cautious' agents"):
        Pommerman(others='cautious', original=True)
    with pytest.raises(ValueError, match='max_steps is 10'):
        Pommerman(max_steps=10, original=True)


def test_without_the_original_an_error_says_where_it_is(recordings, write, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'pommerman', None)
    assert run(write(recordings['ffa']), '--original') == 2
    assert 'MultiAgentLearning/playground' in capsys.readouterr().err
