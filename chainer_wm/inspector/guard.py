"""Who may ask the inspector's server for what."""

from __future__ import annotations

import hmac
import secrets
import urllib.parse
from collections.abc import MutableMapping
from typing import Any

from starlette.applications import Starlette

Scope = MutableMapping[str, Any]

LOOPBACK = ('127.0.0.1', 'localhost', '::1')
COOKIE = 'inspector-token'
READING = ('GET', 'HEAD')
_HEADERS = {
    'Content-Security-Policy': "default-src 'self'; img-src 'self' blob: data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
}


class Guard:
    """Lets through what comes from the inspector's own page.

    - On this machine alone (the default) anyone here may read; the page must be asked for by a
      name of this machine, so that no other site's name can be made to point here.
    - Served to other machines, every request needs the token: ``?token=`` once, then a cookie.
    - What is no GET, and every WebSocket, needs the token and the page's own origin.

    Args:
        app: what is guarded, a Starlette application.
        token: long and random; None makes one.
        public: other machines may ask.
    """

    def __init__(self, app: Starlette, token: str | None = None, public: bool = False):
        self.app, self.public = app, public
        self.token = token or secrets.token_urlsafe(24)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope['type'] not in ('http', 'websocket'):
            await self.app(scope, receive, send)
            return
        asked = _Asked(scope)
        reason = self._refusal(asked, scope)
        if reason is None:
            cookie = self.public and self._is_token(asked.query.get('token', ''))
            await self.app(scope, receive, self._dressed(send, cookie))
        elif scope['type'] == 'websocket':
            await send({'type': 'websocket.close', 'code': 4403, 'reason': reason})
        else:
            body = reason.encode()
            head = [(b'content-type', b'text/plain; charset=utf-8')]
            await send({'type': 'http.response.start', 'status': 403, 'headers': head})
            await send({'type': 'http.response.body', 'body': body})

    def _refusal(self, asked: _Asked, scope: Scope) -> str | None:
        """Why not, or None."""
        if not self.public and asked.host not in LOOPBACK:
            return 'this page is only for this machine: ask for 127.0.0.1'
        knows = any(map(self._is_token, asked.tokens))
        if self.public and not knows:
            return 'the address that the inspector printed has a token: use that one'
        site = asked.headers.get('sec-fetch-site', 'none')
        if site in ('cross-site', 'same-site') and scope['path'] != '/':
            return 'only the inspector itself may ask for this'
        if scope['type'] == 'http' and scope['method'] in READING:
            return None
        if asked.origin_host != asked.headers.get('host', ''):
            return 'only the page of this server may change anything'
        if not any(map(self._is_token, asked.own_tokens)):
            return 'the token is missing or wrong: load the page again'
        return None

    def _is_token(self, word: str) -> bool:
        return hmac.compare_digest(word.encode('utf-8', 'replace'), self.token.encode())

    def _dressed(self, send: Any, cookie: bool) -> Any:
        async def dressed(message: Any) -> None:
            if message['type'] == 'http.response.start':
                had = {name.lower() for name, _ in message['headers']}
                more = dict(_HEADERS)
                if cookie:
                    more['Set-Cookie'] = f'{COOKIE}={self.token}; HttpOnly; SameSite=Strict'
                message['headers'] = [
                    *message['headers'],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in more.items()
                        if name.lower().encode() not in had
                    ),
                ]
            await send(message)

        return dressed


class _Asked:
    """What a request says of itself.

    Attributes:
        headers: by lower-case name.
        query: by name, the last of each.
        host: that was asked for, without its port.
        origin_host: host and port of the page that asks, '' if it does not say.
        own_tokens: given on purpose, by a page that knows the token.
        tokens: those, and the cookie.
    """

    def __init__(self, scope: Scope):
        self.headers = {
            name.decode('latin-1').lower(): value.decode('latin-1')
            for name, value in scope['headers']
        }
        text = scope.get('query_string', b'').decode('latin-1')
        self.query = dict(urllib.parse.parse_qsl(text))
        self.host = _without_port(self.headers.get('host', ''))
        self.origin_host = self.headers.get('origin', '').partition('://')[2]
        self.own_tokens = [self.headers.get('x-token', ''), self.query.get('token', '')]
        cookies = (each.strip().partition('=') for each in self._cookies())
        self.tokens = [*self.own_tokens, *(value for name, _, value in cookies if name == COOKIE)]

    def _cookies(self) -> list[str]:
        return self.headers.get('cookie', '').split(';')


def _without_port(host: str) -> str:
    if host.startswith('['):
        return host[1:].partition(']')[0]
    return host.rpartition(':')[0] if ':' in host else host
