"""What stands before the Optuna dashboard: only its own page may ask, and unless changes are allowed it only looks.

Every page that a browser on this machine shows can reach 127.0.0.1. One whose name was made to resolve to it (DNS
rebinding) even has the dashboard as its own origin and could read and delete all studies; its `Host` tells. Any other
can still send forms; its `Origin` or `Sec-Fetch-Site` tells. No page can set these headers. Programs and other users
of this machine can, and are not kept out.

Methods, read in optuna-dashboard 0.21: no GET changes a study, and what its page needs for looking at one are GETs
only. So a read-only dashboard lets no POST through; those that only read are for a language model, which we give it
none of. An artifact is sent only if its study lists it: a name of hexadecimal digits in the folder of artifacts, so
no path leads out of there. A search that is shown live has no artifacts at all.
"""

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Of this machine, as a browser writes them in `Host`; without the dot at the end that makes another origin of it."""
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; in capitals only, because the dashboard takes `delete` for DELETE."""
HEADERS = (
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),  # beside the dashboard's own policy: both hold
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),  # `no-referrer` would turn the page's own `Origin` into null
)
"""Of every answer: no other page may frame or embed it, and nothing is taken for another type than it has."""
CHUNK_BYTES = 2**16


class Guard:
    """A WSGI application that answers what it may and passes it on; all else is 403 with the reason on one line."""

    def __init__(self, app: "WSGIApplication", *, allow_changes: bool) -> None:
        self._app = app
        self._allow_changes = allow_changes

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answers one request, as WSGI has it."""
        path = environ.get("PATH_INFO", "")

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            return start_response(status, safe_headers(headers, path), *exc_info)

        reason = find_refusal(environ, allow_changes=self._allow_changes)
        return self._app(environ, start) if reason is None else _refuse(reason, environ, start)


def find_refusal(environ: "WSGIEnvironment", *, allow_changes: bool) -> str | None:
    """Why a request is refused; None if it is not.

    The port is the server's own one, from `SERVER_PORT`, not the one that was wanted.
    """
    port, method = environ["SERVER_PORT"], environ["REQUEST_METHOD"]
    host = environ.get("HTTP_HOST", "").lower()
    if host not in _hosts(port):
        return (
            f"Host {host!a} is not this dashboard; open http://127.0.0.1:{port}, and let a tunnel keep the port {port}"
        )
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin != f"http://{host}":
        return f"Origin {origin!a} may not ask this dashboard; open http://{host} itself"
    if method in READING:
        return None
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    if site not in ("same-origin", "none"):
        return f"a {site!a} page may not change what this dashboard shows; open http://{host} itself"
    if not allow_changes:
        return f"{method!a} would change something, this dashboard is read-only; start it again with --allow-changes"
    return None


def safe_headers(headers: Iterable[tuple[str, str]], path: str) -> list[tuple[str, str]]:
    """Headers of an answer with ours; without leave for other pages, which the dashboard gives for artifacts.

    Browsers keep no answer but the page's own code, which is megabytes and the same for everybody.
    """
    kept = [(name, value) for name, value in headers if name.lower() != "access-control-allow-origin"]
    caching = [] if path.startswith("/static/") else [("Cache-Control", "no-store")]
    return [*kept, *HEADERS, *caching]


def _hosts(port: str) -> set[str]:
    """All that `Host` may be; browsers leave the port out where it is 80."""
    return {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == "80" else set())


def _refuse(reason: str, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """403; under /api/ as the dashboard's page shows it to people, elsewhere as text."""
    _drop_body(environ)
    is_api = environ.get("PATH_INFO", "").startswith("/api/")
    content = (json.dumps({"reason": reason}) if is_api else f"{reason}\n").encode()
    status = HTTPStatus.FORBIDDEN
    start_response(
        f"{status.value} {status.phrase}",
        [
            ("Content-Type", "application/json" if is_api else "text/plain; charset=utf-8"),
            ("Content-Length", str(len(content))),
        ],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]


def _drop_body(environ: "WSGIEnvironment") -> None:
    """Reads what was sent: a connection closed before that is reset, and the answer may be lost."""
    length = environ.get("CONTENT_LENGTH", "")
    num_bytes = int(length) if length.isdecimal() and len(length) < 10 else 0
    while num_bytes > 0 and (chunk := environ["wsgi.input"].read(min(num_bytes, CHUNK_BYTES))):
        num_bytes -= len(chunk)
