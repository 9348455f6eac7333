"""A headless Chromium, driven by chromedriver's own protocol (W3C WebDriver), no library."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'  # the standard's own key
KEYS = {
    **{'left': '\ue012', 'up': '\ue013', 'right': '\ue014', 'down': '\ue015'},
    **{'tab': '\ue004', 'enter': '\ue007'},
}
FLAGS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage')


def programs():
    """(chromium, chromedriver), or the test skips."""
    names = ('chromium', 'chromium-browser', 'google-chrome')
    browser = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which('chromedriver')
    if not browser or not driver:
        missing = 'chromedriver' if browser else 'chromium'
        pytest.skip(f'no {missing} is installed: apt-get install chromium chromium-driver')
    return browser, driver


class Browser:
    """One window at a time."""

    def __init__(self, base, wide=1280, high=720):
        self.base = base
        chrome = {'binary': programs()[0], 'args': [*FLAGS, f'--window-size={wide},{high}']}
        wanted = {'goog:chromeOptions': chrome, 'goog:loggingPrefs': {'browser': 'ALL'}}
        found = self._ask('POST', '', {'capabilities': {'alwaysMatch': wanted}})
        self.base += f'/{found["sessionId"]}'

    def _ask(self, method, path, said=None):
        body = None if method == 'GET' else json.dumps(said or {}).encode()
        request = urllib.request.Request(self.base + path, body, method=method)
        request.add_header('Content-Type', 'application/json')
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)['value']['message']) from None

    def go(self, address):
        """Open an address anew, though only its hash may be another."""
        self._ask('POST', '/url', {'url': 'about:blank'})
        self._ask('POST', '/url', {'url': address})

    def run(self, script, *given):
        """What a script returns."""
        return self._ask('POST', '/execute/sync', {'script': script, 'args': list(given)})

    def until(self, script, *given, seconds=120):
        """Ask again until a script returns something true: that."""
        due = time.monotonic() + seconds
        while time.monotonic() < due:
            found = self.run(script, *given)
            if found:
                return found
            time.sleep(0.1)
        words = self.run('return document.body.innerText')
        pytest.fail(f'not within {seconds} s: {script}\non the page: {words}\n{self.log()}')

    def click(self, css, text=''):
        """Click what matches, by a mouse, and has this text."""
        found = self.until(
            'return [...document.querySelectorAll(arguments[0])]'
            '.find(each => each.textContent.includes(arguments[1]))',
            *(css, text),
        )
        self._ask('POST', f'/element/{found[ELEMENT]}/click')

    def keys(self, *steps):
        """Press ('down', key), release ('up', key), or wait (seconds)."""
        actions = [
            {'type': 'pause', 'duration': int(1000 * step)}
            if isinstance(step, (int, float))
            else {'type': f'key{step[0].title()}', 'value': KEYS.get(step[1], step[1])}
            for step in steps
        ]
        source = {'type': 'key', 'id': 'keyboard', 'actions': actions}
        self._ask('POST', '/actions', {'actions': [source]})

    def press(self, key):
        self.keys(('down', key), ('up', key))

    def tab(self):
        """Open another tab, and go there: (the one before, this one)."""
        before = self._ask('GET', '/window')
        made = self._ask('POST', '/window/new', {'type': 'tab'})['handle']
        self.switch(made)
        return before, made

    def switch(self, handle):
        self._ask('POST', '/window', {'handle': handle})

    def screenshot(self):
        """The bytes of a PNG."""
        return base64.b64decode(self._ask('GET', '/screenshot'))

    def log(self):
        """Errors of the page since the last look."""
        said = self._ask('POST', '/se/log', {'type': 'browser'})
        return [each['message'] for each in said if each['level'] == 'SEVERE']

    def close(self):
        self._ask('DELETE', '')


@contextlib.contextmanager
def browser(**options):
    """A browser that is closed again, with its driver."""
    driver = subprocess.Popen(
        [programs()[1], '--port=0'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        port = next(
            line.rsplit(' ', 1)[1].strip('.\n')
            for line in driver.stdout
            if 'started successfully on port' in line
        )
        with contextlib.closing(Browser(f'http://127.0.0.1:{port}/session', **options)) as found:
            yield found
    finally:
        driver.terminate()
        driver.wait()
        driver.stdout.close()
