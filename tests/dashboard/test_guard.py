"""Who may ask the dashboard for what: real servers, requests with headers written by hand."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from PIL import Image

import nasproxy as nap
from nasproxy.comparing import compare_trials
from nasproxy.dashboard import Dashboard
from nasproxy.dashboard.guard import find_refusal
from nasproxy.rundir import create_run
from nasproxy.space import SearchSpace
from nasproxy.store import create_store, find_study, sqlite_url
from nasproxy.trials import Rung, State, Trial, Trials
from tests import records

NAME = records.INFO.name
NOTE = json.dumps({"version": 1, "body": "rewritten"})
RENAME = json.dumps({"study_name": "stolen"})
DELETE = json.dumps({"remove_associated_artifacts": True})
CHANGES = {
    "study note": ("PUT", "/api/studies/1/note", NOTE),
    "trial note": ("PUT", "/api/studies/1/2/note", NOTE),
    "attributes": ("POST", "/api/trials/1/user-attrs", json.dumps({"user_attrs": {"arch_id": "other"}})),
    "rename": ("POST", "/api/studies/1/rename", RENAME),
    "create": ("POST", "/api/studies", json.dumps({"study_name": "new", "directions": ["maximize"]})),
    "delete": ("DELETE", "/api/studies/1", DELETE),
    "delete in small letters": ("delete", "/api/studies/1", DELETE),
    "upload": ("POST", "/api/artifacts/1", json.dumps({"file": "data:text/html;base64,PGI+", "filename": "x.html"})),
    "migrate": ("POST", "/incompatible-rdb-schema", ""),
}
READS = (
    "/dashboard/studies/1",
    "/api/meta",
    "/api/studies",
    "/api/studies/1?after=0",
    "/api/studies/1/param_importances",
    "/csv/1",
    "/static/bundle.js",
)
FOREIGN_HOSTS = (
    None,
    "",
    "evil.com",
    "evil.com:{port}",
    "127.0.0.1",
    "localhost",
    "127.0.0.1:{other}",
    "127.0.0.1:0{port}",
    "127.0.0.1.evil.com:{port}",
    "localhost.evil.com:{port}",
    "evil.com/127.0.0.1:{port}",
    "evil.com@127.0.0.1:{port}",
    "127.0.0.1:{port}@evil.com",
    "127.0.0.1:{port}, evil.com",
    "127.0.0.1.:{port}",
    "localhost.:{port}",
    "127.1:{port}",
    "2130706433:{port}",
    "0.0.0.0:{port}",
    "127.0.0.2:{port}",
    "::1:{port}",
    "[::ffff:127.0.0.1]:{port}",
)
OWN_HOSTS = ("127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LocalHost:{port}")
FOREIGN_ORIGINS = (
    "",
    "null",
    "file://",
    "http://evil.com",
    "http://evil.com:{port}",
    "http://127.0.0.1",
    "http://127.0.0.1:{other}",
    "https://127.0.0.1:{port}",
    "http://localhost:{port}",
    "http://127.0.0.1.evil.com:{port}",
    "http://127.0.0.1:{port}.evil.com",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port} http://evil.com",
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def reason(self) -> str:
        """Of a refusal: one line, whatever asked."""
        text: str = json.loads(self.content)["reason"] if self.content.startswith(b"{") else self.content.decode()
        assert self.status == 403
        assert text.strip().count("\n") == 0
        return text.strip()


class Client:
    """Sends to a dashboard exactly the headers given; {port} in them is its own port, {other} the next."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.port = int(dashboard.address.split(":")[2].partition("/")[0])

    def ask(
        self, method: str, path: str, body: str = "", *, host: str | None = "127.0.0.1:{port}", **more: str | None
    ) -> Answer:
        """`more` are headers, with _ for -; those that are None are not sent."""
        headers = {"Host": host, **{name.replace("_", "-"): value for name, value in more.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Accept-Encoding", "gzip")
        if body:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value.format(port=self.port, other=self.port + 1))
        connection.endheaders(body.encode() or None)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return Answer(answer.status, dict(answer.getheaders()), content)

    def study(self, number: int) -> Any:
        return json.loads(self.ask("GET", f"/api/studies/{number}?after=0").content)


@contextmanager
def serving(dashboard: Dashboard) -> Iterator[Client]:
    with dashboard:
        thread = threading.Thread(target=dashboard.serve, daemon=True)
        thread.start()
        yield Client(dashboard)
        dashboard.stop()
        thread.join(10)


@pytest.fixture(scope="module")
def trials(mini_space: SearchSpace) -> Trials:
    """Three architectures with a score."""
    archs = mini_space.archs()[:3]
    rungs = [Rung((0.5 + number / 10,), (0.5,)) for number in range(len(archs))]
    items = [Trial(arch.id, arch.factors, State.COMPLETE, (rung,)) for arch, rung in zip(archs, rungs, strict=True)]
    return Trials(records.INFO, tuple(items))


def make_record(folder: Path, trials: Trials, space: SearchSpace) -> str:
    """The URL of a search's own study."""
    url = sqlite_url(folder / "study.db")
    store = create_store(trials.info, space.factors, url)
    for trial in trials:
        store.add(trial)
    return url


def recorded_archs(url: str) -> list[str]:
    """All that a search's own study still holds, read from its file."""
    storage, study_id = find_study(NAME, url)
    return [trial.user_attrs["arch_id"] for trial in storage.get_all_trials(study_id)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, trials: Trials, mini_space: SearchSpace) -> str:
    return make_record(tmp_path_factory.mktemp("guard"), trials, mini_space)


@pytest.fixture(scope="module")
def read_only(url: str) -> Iterator[Client]:
    with serving(Dashboard.of_search(NAME, url, 0)) as client:
        yield client


@pytest.fixture(scope="module")
def writable(url: str) -> Iterator[Client]:
    """Only for requests that must be refused all the same."""
    with serving(Dashboard.of_search(NAME, url, 0, allow_changes=True)) as client:
        yield client


@pytest.mark.parametrize("path", READS)
def test_the_page_and_what_it_asks_for_are_answered(read_only: Client, path: str) -> None:
    answer = read_only.ask("GET", path)
    assert answer.status == 200
    assert answer.content
    assert read_only.ask("HEAD", path).status == 200


@pytest.mark.parametrize("path", READS)
def test_no_foreign_page_reads(read_only: Client, path: str) -> None:
    assert "is not this dashboard" in read_only.ask("GET", path, host="evil.com:{port}").reason
    assert "may not ask this dashboard" in read_only.ask("GET", path, Origin="http://evil.com").reason


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(read_only: Client, writable: Client, trials: Trials, url: str, host: str) -> None:
    assert "is not this dashboard" in read_only.ask("GET", "/api/studies", host=host).reason
    assert "is not this dashboard" in writable.ask("PUT", "/api/studies/1/note", NOTE, host=host).reason
    assert "is not this dashboard" in writable.ask("DELETE", "/api/studies/1", DELETE, host=host).reason
    assert recorded_archs(url) == [trial.arch_id for trial in trials]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_names_of_this_machine_with_the_own_port_are_answered(read_only: Client, host: str) -> None:
    assert read_only.ask("GET", "/api/studies", host=host).status == 200
    assert read_only.ask("GET", "/api/studies", host=host, Origin=f"http://{host.lower()}").status == 200


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_foreign_origin_is_refused(
    read_only: Client, writable: Client, trials: Trials, url: str, origin: str
) -> None:
    """Null is what a file, a sandboxed frame or a redirect from elsewhere asks as."""
    assert "may not ask this dashboard" in read_only.ask("GET", "/api/studies", Origin=origin).reason
    assert "may not ask this dashboard" in read_only.ask("OPTIONS", "/api/studies/1", Origin=origin).reason
    assert "may not ask this dashboard" in writable.ask("PUT", "/api/studies/1/note", NOTE, Origin=origin).reason
    assert "may not ask this dashboard" in writable.ask("DELETE", "/api/studies/1", DELETE, Origin=origin).reason
    assert recorded_archs(url) == [trial.arch_id for trial in trials]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Same-Origin"])
def test_another_site_changes_nothing_but_may_link_to_the_page(writable: Client, site: str) -> None:
    """The report links to the dashboard; another port of this machine is the same site."""
    refused = writable.ask("DELETE", "/api/studies/1", DELETE, Sec_Fetch_Site=site)
    assert "may not change what this dashboard shows" in refused.reason
    assert writable.ask("GET", "/dashboard/studies/1", Sec_Fetch_Site=site).status == 200


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_changed_without_leave(
    read_only: Client, trials: Trials, url: str, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    method, path, body = CHANGES[change]
    before = read_only.study(1)
    own = {"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}
    for headers in (own, dict.fromkeys(own)):
        refused = read_only.ask(method, path, body, **headers)
        assert refused.reason == (
            f"{method!r} would change something, this dashboard is read-only; start it again with --allow-changes"
        )
        is_json = refused.headers["Content-Type"] == "application/json"
        assert is_json == path.startswith("/api/")
    assert recorded_archs(url) == [trial.arch_id for trial in trials]
    assert read_only.study(1) == before
    assert len(json.loads(read_only.ask("GET", "/api/studies").content)["study_summaries"]) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT", "PROPFIND", "PROXY", "get", "Head"])
def test_methods_that_are_not_known_to_read_are_refused(read_only: Client, method: str) -> None:
    assert "--allow-changes" in read_only.ask(method, "/api/studies/1").reason


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_with_leave_the_page_itself_writes_renames_and_deletes(
    tmp_path: Path, trials: Trials, mini_space: SearchSpace, host: str
) -> None:
    url = make_record(tmp_path, trials, mini_space)
    own = {"host": host, "Origin": f"http://{host.lower()}", "Sec_Fetch_Site": "same-origin"}
    with serving(Dashboard.of_search(NAME, url, 0, allow_changes=True)) as client:
        assert client.ask("PUT", "/api/studies/1/note", NOTE, **own).status == 204
        assert client.study(1)["note"]["body"] == "rewritten"
        assert client.ask("POST", "/api/studies/1/rename", RENAME, **own).status == 201
        assert client.study(2)["name"] == "stolen"
        assert len(client.study(2)["trials"]) == 3
        assert client.ask("DELETE", "/api/studies/2", DELETE, **own).status == 204
        assert json.loads(client.ask("GET", "/api/studies").content)["study_summaries"] == []


def test_with_leave_programs_without_an_origin_write(tmp_path: Path, trials: Trials, mini_space: SearchSpace) -> None:
    url = make_record(tmp_path, trials, mini_space)
    with serving(Dashboard.of_search(NAME, url, 0, allow_changes=True)) as client:
        assert client.ask("PUT", "/api/studies/1/note", NOTE).status == 204


def test_a_refusal_arrives_although_much_was_sent(read_only: Client) -> None:
    body = json.dumps({"file": "data:text/plain;base64," + "A" * 30_000_000})
    assert "--allow-changes" in read_only.ask("POST", "/api/artifacts/1", body).reason


@pytest.mark.parametrize("length", ["-1", "many", "9" * 5000, "0"])
def test_a_refusal_waits_for_no_body_of_nonsensical_length(read_only: Client, length: str) -> None:
    assert "--allow-changes" in read_only.ask("DELETE", "/api/studies/1", Content_Length=length).reason


def test_the_port_is_the_one_it_got_not_the_one_wanted(url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        with serving(Dashboard.of_search(NAME, url, wanted)) as client:
            assert client.port != wanted
            assert client.ask("GET", "/api/studies").status == 200
            refused = client.ask("GET", "/dashboard", host=f"127.0.0.1:{wanted}").reason
    assert refused == (
        f"Host '127.0.0.1:{wanted}' is not this dashboard; open http://127.0.0.1:{client.port}, and let a tunnel keep "
        f"the port {client.port}"
    )


@pytest.mark.parametrize(("host", "is_own"), [("127.0.0.1", True), ("localhost:80", True), ("evil.com", False)])
def test_browsers_leave_out_port_80(host: str, is_own: bool) -> None:
    environ: dict[str, Any] = {"HTTP_HOST": host, "SERVER_PORT": "80", "HTTP_ORIGIN": f"http://{host}"}
    setup_testing_defaults(environ)
    assert (find_refusal(environ, allow_changes=False) is None) == is_own


@pytest.mark.parametrize("path", [*READS, "/nowhere", "/api/studies/7"])
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "evil.com"])
def test_every_answer_forbids_frames_embedding_and_guessing_of_types(read_only: Client, path: str, host: str) -> None:
    headers = read_only.ask("GET", path, host=host).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers.get("Cache-Control") == (None if path.startswith("/static/") else "no-store")


def test_the_policy_of_the_page_itself_stays(read_only: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", read_only.port, timeout=10)
    connection.request("GET", "/dashboard/studies/1")
    answer = connection.getresponse()
    policies = answer.headers.get_all("Content-Security-Policy") or []
    answer.read()
    connection.close()
    assert len(policies) == 2
    assert "default-src 'self'" in policies[0]


def test_artifacts_are_those_that_a_study_lists_and_for_its_own_page(tmp_path: Path) -> None:
    picture, secret = tmp_path / "proxy.png", tmp_path / "secret"
    Image.new("RGB", (4, 4), (1, 2, 3)).save(picture)
    secret.write_text("secret")
    truth, proxy = records.make_truth(), records.make_proxy()
    comparison = compare_trials([proxy], truth, top=0.5)
    with serving(Dashboard.of_comparison("both", comparison, {proxy.info.name: picture}, 0)) as client:
        artifact_id = client.study(0)["artifacts"][0]["artifact_id"]
        path = f"/artifacts/0/{artifact_id}"
        assert client.ask("GET", path).content == picture.read_bytes()
        assert "Access-Control-Allow-Origin" not in client.ask("GET", path).headers
        assert "may not ask" in client.ask("GET", path, Origin="null").reason
        assert client.ask("GET", f"/artifacts/1/{artifact_id}").status == 404
        for outside in (secret, f"../{secret.name}", f"..%2f{secret.name}", f"{artifact_id}/../../{secret.name}", ".."):
            assert client.ask("GET", f"/artifacts/0/{outside}").status in (400, 404)
            assert client.ask("GET", f"/static/{outside}").status in (403, 404)
        assert "--allow-changes" in client.ask("DELETE", f"/api{path}").reason
        assert client.ask("GET", path).content == picture.read_bytes()


def test_a_snapshot_is_read_only_too_unless_changes_are_allowed(trials: Trials) -> None:
    with serving(Dashboard.of_searches([trials], 0)) as client:
        assert client.ask("GET", "/dashboard/studies/0").status == 200
        assert "--allow-changes" in client.ask("DELETE", "/api/studies/0", DELETE).reason
        assert len(client.study(0)["trials"]) == 3
    with serving(Dashboard.of_searches([trials], 0, allow_changes=True)) as client:
        assert client.ask("DELETE", "/api/studies/0", DELETE).status == 204


@pytest.mark.parametrize("snapshot", [False, True])
@pytest.mark.parametrize("allow_changes", [False, True])
def test_runs_hand_on_whether_changes_are_allowed(
    tmp_path: Path, trials: Trials, mini_space: SearchSpace, snapshot: bool, allow_changes: bool
) -> None:
    settings = '[search]\nproxy = "naswot"\n'
    run = create_run(tmp_path, NAME, "", command="search", config_text=settings, parents={})
    make_record(run.path, trials, mini_space)
    opened = nap.Runs(tmp_path).dashboard([run], snapshot=snapshot, allow_changes=allow_changes)
    with serving(opened) as client:
        number = int(opened.address.rpartition("/")[2])
        status = client.ask("DELETE", f"/api/studies/{number}", DELETE).status
    assert status == (204 if allow_changes else 403)
