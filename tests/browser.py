"""A headless Chromium that loads a page and says what it is like, spoken to through its DevTools pipe."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ('chromium', 'chromium-browser', 'google-chrome')

#: Flags: no network of the browser's own, software rendering of WebGL.
FLAGS = (
    '--headless=new',
    '--no-sandbox',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-quic',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
    '--remote-debugging-pipe',
)


def find_browser() -> str | None:
    """Path of a Chromium, or nothing."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Visit:
    """What a page was like at one width."""

    #: Errors of the console, and exceptions.
    complaints: list[str] = field(default_factory=list)
    #: Addresses that the page asked for, but its own.
    requests: list[str] = field(default_factory=list)
    #: Width of the content beyond that of the window, pixels.
    overflow: int = 0
    #: Values of expressions.
    values: list = field(default_factory=list)


class Browser:
    """A running Chromium; see `open_browser`."""

    def __init__(self, to_browser: int, from_browser: int, timeout: float = 120.0):
        self._out, self._in, self._timeout = to_browser, from_browser, timeout
        self._buffer, self._number = b'', 0
        self.events: list[dict] = []
        os.set_blocking(self._in, False)

    def call(self, method: str, session: str | None = None, **parameters) -> dict:
        """Send a command and return its result."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': parameters}
        if session is not None:
            message['sessionId'] = session
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']
            self.events.append(answer)

    def _read(self) -> dict:
        deadline = time.monotonic() + self._timeout
        while b'\0' not in self._buffer:
            if time.monotonic() > deadline:
                raise TimeoutError('Chromium does not answer')
            try:
                self._buffer += os.read(self._in, 1 << 20)
            except BlockingIOError:
                time.sleep(0.02)
        message, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(message)

    def visit(self, page: Path, width: int, expressions: tuple[str, ...] = (), picture: Path | None = None) -> Visit:
        """Load a file at a width without a network, scroll through it, and return what it was like."""
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable', session)
        conditions = {'latency': 0, 'downloadThroughput': 0, 'uploadThroughput': 0}
        self.call('Network.emulateNetworkConditions', session, offline=True, **conditions)
        size = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600}
        self.call('Emulation.setDeviceMetricsOverride', session, **size)
        self.events.clear()
        self.call('Page.navigate', session, url=page.resolve().as_uri())
        height = self._settle(session)
        found = Visit()
        found.values = [self.evaluate(session, text) for text in expressions]
        # The width of the window itself grows with the content on a narrow screen, which zooms out.
        found.overflow = self.evaluate(session, 'document.documentElement.scrollWidth') - width
        if picture is not None:
            clip = {'x': 0, 'y': 0, 'width': width, 'height': height, 'scale': 1}
            shot = self.call('Page.captureScreenshot', session, captureBeyondViewport=True, clip=clip)
            picture.write_bytes(base64.b64decode(shot['data']))
        self._complain(found, page.resolve().as_uri())
        self.call('Target.closeTarget', targetId=target)
        return found

    def evaluate(self, session: str, expression: str):
        """Value of an expression in the page."""
        result = self.call('Runtime.evaluate', session, expression=expression, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def _settle(self, session: str) -> int:
        """Wait until the page is loaded and every figure is drawn; return its height."""
        deadline = time.monotonic() + self._timeout
        while self.evaluate(session, 'document.readyState') != 'complete':
            assert time.monotonic() < deadline, 'the page does not load'
            time.sleep(0.05)
        scroll = "document.querySelectorAll('.plot').forEach(p => p.scrollIntoView())"
        missing = "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('.main-svg')).length"
        while self.evaluate(session, f'new Promise(r => {{ {scroll}; setTimeout(() => r({missing}), 100) }})'):
            for index in range(self.evaluate(session, "document.querySelectorAll('.plot').length")):
                self.evaluate(
                    session,
                    f"new Promise(r => {{ document.querySelectorAll('.plot')[{index}].scrollIntoView(); "
                    'requestAnimationFrame(() => setTimeout(r, 50)) })',
                )
            assert time.monotonic() < deadline, 'a figure is not drawn'
        self.evaluate(session, 'new Promise(r => { window.scrollTo(0, 0); setTimeout(r, 300) })')
        return self.evaluate(session, 'document.documentElement.scrollHeight')

    def _complain(self, found: Visit, own: str):
        for event in self.events:
            method, values = event.get('method'), event.get('params', {})
            if method == 'Runtime.exceptionThrown':
                details = values['exceptionDetails']
                found.complaints.append(details.get('exception', {}).get('description', details['text']))
            elif method == 'Runtime.consoleAPICalled' and values['type'] in ('error', 'assert'):
                found.complaints.append(' '.join(str(a.get('value', a.get('description'))) for a in values['args']))
            elif method == 'Log.entryAdded' and values['entry']['level'] == 'error':
                found.complaints.append(values['entry']['text'])
            elif method == 'Network.requestWillBeSent':
                url = values['request']['url']
                if url.partition('#')[0] != own and not url.startswith(('data:', 'blob:')):
                    found.requests.append(url)


@contextmanager
def open_browser(executable: str):
    """Run Chromium with a profile of its own."""
    read_theirs, write_ours = os.pipe()
    read_ours, write_theirs = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # The pipe is at the descriptors 3 and 4 of the browser.
        script = f'exec "$0" "$@" 3<&{read_theirs} 4>&{write_theirs}'
        process = subprocess.Popen(
            ['bash', '-c', script, executable, *FLAGS, f'--user-data-dir={folder}', 'about:blank'],
            pass_fds=(read_theirs, write_theirs),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_theirs)
        os.close(write_theirs)
        try:
            yield Browser(write_ours, read_ours)
        finally:
            os.close(write_ours)
            os.close(read_ours)
            process.terminate()
            process.wait(30)
