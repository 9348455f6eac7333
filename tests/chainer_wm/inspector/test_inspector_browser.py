"""The page in a real browser: open, scrub, slide, play, branch, and what outlives the server."""

import subprocess
import sys

import pytest
from browser_case import browser, programs
from inspector_case import episode
from saved_agent_case import make_saved

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')

from chainer_wm import files
from chainer_wm.files.archives import save_link
from chainer_wm.rollouts import RolloutStore
from chainer_wm.tasks.sprite_model import SpriteModel

RUN = 'pendulum_swing_up/short'
SPRITES = 'dsprites_memory/tiny'
STEPS = 40
PIXELS = """const canvas = document.querySelector(arguments[0]);
if (!canvas || !canvas.width) return '';
const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
let sum = 0;
data.forEach((each, at) => { sum = (sum * 31 + each * (at % 7 + 1)) % 1e9; });
return String(sum);"""
LIVED = "return +(document.querySelector('.screen')?.dataset.steps || 0) > arguments[0]"
CONTROLS = """
const every = document.querySelectorAll('a[href], button, input, select, [tabindex="0"]');
const usable = each => each.checkVisibility() && !each.disabled && each.tabIndex >= 0;
return [...every].filter(usable);"""
MARK = """const at = document.activeElement;
if (at !== document.body) at.dataset.reached = getComputedStyle(at).outlineStyle;"""
SAYS = "return document.querySelector('.now')?.textContent.includes(arguments[0])"


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A data folder with a run of Pendulum: V, M, C and an episode."""
    programs()  # or nothing of this runs
    folder = tmp_path_factory.mktemp('data') / RUN
    folder.mkdir(parents=True)
    files.write_json(folder / 'config.json', {'model': 'lstm', 'frame_skip': 1, 'seed': 5})
    store = RolloutStore(folder / 'rollouts')
    store.describe('Pendulum', {}, 0, {})
    for number in range(3):
        store.add(number, episode(STEPS, number))
    saved = make_saved(folder, 'lstm')
    saved.new_controller(saved.model()).save(saved.controller_path)
    sprites = folder.parent.parent / SPRITES
    files.write_json(sprites / 'config.json', {'motion': 'walk', 'actions': 'next'})
    net = SpriteModel(8, 'dnc', memory_length=4, memory_width=3, read_heads=1)
    save_link(sprites / 'model/best.npz', net)
    return folder.parent.parent


class Server:
    """The inspector in a process of its own, which may be killed."""

    def __init__(self, data):
        self.data, self.port, self.process = data, 0, None

    def start(self):
        command = [sys.executable, '-m', 'chainer_wm.inspector', str(self.data)]
        self.process = subprocess.Popen(
            [*command, '--serve', str(self.port)], stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline().split(' (')[0].split(':')[-1].strip('/'))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope='module')
def server(data):
    found = Server(data)
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope='module')
def chrome(server):
    with browser() as found:
        yield found


@pytest.fixture
def page(server, chrome):
    """Opens a page by its name and query; the browser must have nothing to complain of."""
    chrome.log()

    def opened(name, **query):
        given = '&'.join(f'{key}={value}' for key, value in query.items())
        chrome.go(f'http://127.0.0.1:{server.port}/#/{name}?{given}')
        return chrome

    yield opened
    assert chrome.log() == []


def test_from_the_runs_to_an_episode_and_along_it(page):
    chrome = page('runs')
    chrome.click('a', RUN)
    chrome.click('.tabs a', 'rollouts')
    chrome.until("return document.querySelectorAll('.film').length == 5")
    first = chrome.until(PIXELS, '.film canvas')
    chrome.press('right')
    chrome.until("return location.hash.includes('t=1')")
    assert chrome.until(PIXELS, '.film canvas') != first
    chrome.run(
        "const line = document.querySelector('.transport input'); line.value = 30;"
        "line.dispatchEvent(new Event('input'))"
    )
    chrome.until("return location.hash.includes('t=30')")
    chrome.until(SAYS, f't 30 of {STEPS}')
    chrome.run("URL.createObjectURL = blob => { window.saved = blob; return 'data:,'; }")
    chrome.click('.tabs button', 'PNG')
    assert chrome.until('return window.saved?.size') > 10_000
    assert chrome.run('return window.saved.type') == 'image/png'


def test_a_link_opens_the_same_view_and_a_branch_dreams_on(page):
    where = {'run': RUN, 'store': 'rollouts', 'episode': 2, 't': 17, 'context': 9, 'seed': 4}
    chrome = page('rollouts', **where, temperature=0.7)
    chrome.until(SAYS, f't 17 of {STEPS}')
    values = chrome.until(
        "const found = [...document.querySelectorAll('.bar input[type=number]')];"
        'return found.length == 3 && found.map(each => +each.value)'
    )
    assert values == [9, 0.7, 4]
    chrome.click('button', 'Play on from here')
    chrome.until(LIVED, 3)
    assert chrome.run("return document.body.innerText.includes('episode 2 at t 17')")
    assert 'temperature=0.7' in chrome.run('return location.hash')


def test_a_slider_changes_the_picture(page):
    chrome = page('latent', run=RUN, store='rollouts', episode=0, t=3)
    z = "return document.querySelector('.film canvas')?.dataset.z || ''"
    before = chrome.until(z), chrome.run(PIXELS, '.film canvas')
    chrome.run("document.querySelector('.sliders input').focus()")
    for _ in range(12):
        chrome.press('right')
    chrome.until(f'{z.replace("return", "return arguments[0] != (")})', before[0])
    chrome.until(f'const now = (() => {{ {PIXELS} }})(...arguments); return now != arguments[1]',
                 *('.film canvas', before[1]))  # fmt: skip


def test_a_memory_at_work_on_sprites_input_by_input(page):
    chrome = page('task', run=SPRITES, length=9, t=3)
    chrome.until("return document.querySelectorAll('.film canvas').length == 3")
    chrome.until(SAYS, 't 3 of 9')
    written = '.track:nth-of-type(5) canvas'
    before = [chrome.until(PIXELS, where) for where in ('.film canvas', written)]
    chrome.press('right')
    chrome.until("return location.hash.includes('t=4')")
    chrome.until(f'const now = (() => {{ {PIXELS} }})(...arguments); return now != arguments[1]',
                 *('.film canvas', before[0]))  # fmt: skip
    assert chrome.run(PIXELS, written) != before[1]  # one input more
    chrome.click('.track button', 'usage')
    hidden = "return [...document.querySelectorAll('.track canvas.hidden')].length"
    assert chrome.run(hidden) == 1
    chrome.press('right')
    chrome.until(SAYS, 't 5 of 9')
    chrome.click('.track button', 'usage')
    assert chrome.run(hidden) == 0


def test_two_hundred_frames_by_keyboard_heat_and_giving_back(page):
    chrome = page('dream', run=RUN)
    chrome.until(SAYS, 'the controller plays')
    chrome.run(
        "const fps = document.querySelector('select'); fps.value = 50;"
        "fps.dispatchEvent(new Event('change'))"
    )
    chrome.keys(('down', 'right'))
    chrome.until(SAYS, 'you play: action 1,')
    chrome.until(LIVED, 200)
    chrome.keys(('up', 'right'))
    chrome.until(SAYS, 'you play: action 0,')
    chrome.press('g')
    chrome.until(SAYS, 'the controller plays')
    chrome.run(
        "const heat = document.querySelector('input[type=range]'); heat.value = 0.3;"
        "heat.dispatchEvent(new Event('input'))"
    )
    chrome.until("return location.hash.includes('temperature=0.3')")
    chrome.press('r')
    chrome.until("return +document.querySelector('.screen').dataset.steps < 150")
    chrome.click('[role=group] button', 'game')
    chrome.until(SAYS, 'return -')
    chrome.until(LIVED, 20)
    chrome.keys(('down', 'left'), 0.3)
    chrome.until(SAYS, 'you play: action -1,')
    chrome.keys(('up', 'left'))


def test_two_tabs_and_a_server_that_is_started_again(page, server, chrome):
    page('dream', run=RUN)
    chrome.until(LIVED, 5)
    one, _ = chrome.tab()
    page('dream', run=RUN, place='game')
    chrome.until(LIVED, 5)
    chrome.log()
    server.kill()
    chrome.until(SAYS, 'cut off')
    server.start()
    chrome.click('.now button', 'Connect again')
    chrome.until("return document.querySelector('.now').textContent.startsWith('lived')")
    chrome.switch(one)
    chrome.click('.now button', 'Connect again')
    chrome.until("return document.querySelector('.now').textContent.startsWith('lived')")
    chrome.log()  # that the server was away


@pytest.mark.parametrize('name', ['runs', 'run', 'rollouts', 'latent', 'dream', 'task'])
def test_nothing_is_wider_than_a_phone(page, name):
    run = SPRITES if name == 'task' else RUN
    chrome = page(name, **({} if name == 'runs' else {'run': run}))
    chrome._ask('POST', '/window/rect', {'width': 390, 'height': 844})
    chrome.until("return document.querySelectorAll('canvas, td').length > 0")
    wide, screen = chrome.run('return [document.documentElement.scrollWidth, innerWidth]')
    assert wide <= screen
    unnamed = chrome.run(
        "return [...document.querySelectorAll('button, input, select')].filter(each =>"
        '!(each.textContent.trim() || each.ariaLabel || each.labels?.length || each.title))'
        '.map(each => each.outerHTML)'
    )
    assert unnamed == []


@pytest.mark.parametrize('name', ['runs', 'run', 'rollouts', 'latent', 'dream', 'task'])
def test_tab_leads_to_every_control_and_shows_where_it_is(page, name):
    chrome = page(name, **({} if name == 'runs' else {'run': SPRITES if name == 'task' else RUN}))
    chrome.until("return document.querySelectorAll('canvas, td').length > 0")
    if name == 'dream':
        chrome.until(LIVED, 2)
    count = len(chrome.run(CONTROLS))
    assert count > 3
    for _ in range(2):  # a control may come late, such as the stop button
        for _ in range(count + 3):
            chrome.press('tab')
            chrome.run(MARK)
        missed = chrome.run(
            f'const every = (() => {{ {CONTROLS} }})();'
            "return every.filter(each => !['solid', 'auto'].includes(each.dataset.reached))"
            '.map(each => each.outerHTML.slice(0, 120))'
        )
        if not missed:
            break
    assert missed == []


def test_an_episode_is_opened_without_a_mouse(page):
    chrome = page('runs')
    chrome.until("return document.querySelectorAll('td a').length > 1")
    focused = 'return document.activeElement.textContent.includes(arguments[0])'
    for words in (RUN, 'rollouts'):
        chrome.until("return document.querySelectorAll('td').length > 0")
        for _ in range(60):
            if chrome.run(focused, words) and chrome.run(
                "return document.activeElement.tagName === 'A'"
            ):
                break
            chrome.press('tab')
        chrome.press('enter')
    chrome.until("return location.hash.startsWith('#/rollouts')")
    chrome.until("return document.querySelector('.list .view')")
    chrome.run("document.querySelector('.list .view').focus()")
    chrome.press('down')
    chrome.press('enter')
    chrome.until("return location.hash.includes('episode=1')")
