"""The demo's auth service: sign in with a form, see who you are, sign out.

Forms are protected against being sent by other sites with a token that is both in a cookie and in the form; the prefix
`__Host-` of the cookie's name keeps pages of other hosts from setting it (RFC 6265bis section 4.1.3.2).
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from urllib.parse import quote

from .demo_backends import SESSION_COOKIE, SESSION_TIME, Asked, Reply, Sessions, redirect
from .demo_pages import Html, fill, page

FORM_COOKIE = "__Host-form"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")

_LOGIN = """<div class="narrow"><h1>Sign in</h1>
{message}
<form method="post" action="/login">
<input type="hidden" name="token" value="{token}"><input type="hidden" name="next" value="{after}">
<label for="user">Name</label><input id="user" name="user" value="{user}" autocomplete="username" maxlength="100"
 required autofocus>
<label for="password">Password</label><input id="password" name="password" type="password"
 autocomplete="current-password" maxlength="100" required>
<button>Sign in</button>
</form></div>"""

_ACCOUNT = """<div class="narrow"><h1>Hello, {user}</h1>
<p>You are signed in. The auth backend has given your browser a session cookie, and the products backend knows you by
it: both are behind the same address.</p>
<form method="post" action="/logout"><input type="hidden" name="token" value="{token}"><button>Sign out</button></form>
<p><a href="/">Back to the shop</a></p></div>"""


class Auth:
    """`/login`, `/logout`, `/account`."""

    name = "auth"

    def __init__(self, sessions: Sessions, user: str, password: str) -> None:
        self._sessions = sessions
        self._user = user
        self._password = password

    def answer(self, asked: Asked) -> Reply:
        """The answer to a request."""
        match asked.method, asked.path:
            case "GET", "/login":
                return self._login_form(asked)
            case "POST", "/login":
                return self._login(asked)
            case "GET", "/account":
                return self._account(asked)
            case "GET", "/account/whoami":
                body = json.dumps({"user": self._sessions.user(asked)}).encode() + b"\n"
                return Reply(200, body, "application/json", [("Cache-Control", "no-store")])
            case "POST", "/logout":
                return self._logout(asked)
            case _, "/login" | "/logout" | "/account" | "/account/whoami":
                allow = {"/login": "GET, HEAD, POST", "/logout": "POST"}.get(asked.path, "GET, HEAD")
                reply = self._message(asked, 405, "That does not go this way")
                reply.headers.append(("Allow", allow))
                return reply
        return self._message(asked, 404, "There is no such page")

    def _login_form(self, asked: Asked, *, status: int = 200, message: str = "") -> Reply:
        if status == 200 and self._sessions.user(asked):
            return redirect("/account")
        token = _form_token(asked)
        content = fill(
            _LOGIN,
            message=fill('<p class="error" role="alert">{text}</p>', text=message)
            if message
            else Html(
                '<p class="soft">The name and the password are where <code>lockgate demo</code> was started.</p>'
            ),
            token=token,
            after=_local(asked.form.get("next") or asked.query.get("next", "/")),
            user=asked.form.get("user", ""),
        )
        return self._page(asked, status, "Sign in", content, token)

    def _login(self, asked: Asked) -> Reply:
        if not _form_is_ours(asked):
            return self._login_form(asked, status=403, message="This form is out of date. Please try again.")
        # Both are compared in full, so that the time taken says nothing about either.
        right_user = hmac.compare_digest(asked.form.get("user", "").encode(), self._user.encode())
        right_password = hmac.compare_digest(asked.form.get("password", "").encode(), self._password.encode())
        if not (right_user and right_password):
            return self._login_form(asked, status=403, message="The name or the password is not right.")
        self._sessions.close(asked)
        cookie = f"{SESSION_COOKIE}={self._sessions.open(self._user)}; {_COOKIE_RULES}; Max-Age={SESSION_TIME:.0f}"
        return redirect(_local(asked.form.get("next", "/")), headers=[("Set-Cookie", cookie)])

    def _account(self, asked: Asked) -> Reply:
        user = self._sessions.user(asked)
        if user is None:
            return redirect("/login?next=/account")
        token = _form_token(asked)
        return self._page(asked, 200, "Account", fill(_ACCOUNT, user=user, token=token), token)

    def _logout(self, asked: Asked) -> Reply:
        if not _form_is_ours(asked):
            return self._message(asked, 403, "This form is out of date")
        self._sessions.close(asked)
        return redirect("/", headers=[("Set-Cookie", f"{SESSION_COOKIE}=; {_COOKIE_RULES}; Max-Age=0")])

    def _message(self, asked: Asked, status: int, text: str) -> Reply:
        return self._page(asked, status, text, fill('<h1>{text}</h1><p><a href="/">To the shop</a></p>', text=text))

    def _page(self, asked: Asked, status: int, title: str, content: Html, form_token: str = "") -> Reply:
        body = page(title, content, backend=self.name, path=asked.path, user=self._sessions.user(asked))
        headers = [("Cache-Control", "no-store")]
        if form_token:
            headers.append(("Set-Cookie", f"{FORM_COOKIE}={form_token}; {_COOKIE_RULES}"))
        return Reply(status, body, headers=headers)


_COOKIE_RULES = "Path=/; Secure; HttpOnly; SameSite=Lax"


def _form_token(asked: Asked) -> str:
    """The token of this browser, a new one if it has none."""
    token = asked.cookies.get(FORM_COOKIE, "")
    return token if _TOKEN.fullmatch(token) else secrets.token_urlsafe(32)


def _form_is_ours(asked: Asked) -> bool:
    token = asked.cookies.get(FORM_COOKIE, "")
    return _TOKEN.fullmatch(token) is not None and hmac.compare_digest(
        token.encode(), asked.form.get("token", "").encode()
    )


def _local(target: str) -> str:
    """`target` if it is a path on this host, else `/`: a login must not lead to another site."""
    if not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    return quote(target, safe="/?&=%+-._~")
