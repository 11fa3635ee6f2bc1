import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hoiclip.errors import InputError
from hoiclip.fetch.addresses import is_http, told_address, told_text
from hoiclip.fetch.download import Source, download, plan

SECRET = "http://user:pass%40word@127.0.0.1:{port}{path}?token=hidden#part"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.server.locations[self.path.partition("?")[0]])
            self.end_headers()
        elif self.path.startswith("/file"):
            self.send_response(200)
            self.send_header("Content-Length", "4" if "short" in self.path else "3")
            self.end_headers()
            self.wfile.write(b"abc")
        else:
            self.send_error(403)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.port = [], server.server_port
    server.locations = {
        "/to/file": f"http://localhost:{server.port}/file",
        "/to/disk": "file:///etc/passwd?token=hidden",
        "/to/ftp": "ftp://user:pass@localhost/file?token=hidden",
        "/to/bad": "http://user:pass@localhost:x/?token=hidden",
        "/to/itself": "/to/itself?token=hidden",
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://a.org/b.zip", "https://a.org/b.zip"),
        ("https://a.org:8080/@scope/b?c=d#e", "https://a.org:8080/@scope/b"),
        ("https://user@a.org/b", "https://a.org/b"),
        ("https://user:pass@a.org/b?c@d", "https://a.org/b"),
        ("https://user:p/a?s#s@a.org/b?c", "https://a.org/b"),
        ("https://user:p@ss@a.org/b", "https://a.org/b"),
        ("ftp://user:pass@a.org/b?c", "ftp://a.org/b"),
        ("//user:pass@a.org/b?c", "a.org/b"),
        ("user:pass@a.org", "a.org"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("https://a.org?token=b", "https://a.org"),
        ("", ""),
    ],
)
def test_what_of_an_address_is_told(url, told):
    assert told_address(url) == told
    assert told_text(f"url: '{url}' # note") == f"url: '{told if '://' in url else url}' # note"


def test_each_of_several_addresses_is_told_without_its_password():
    text = "https://a:b@c.org/d?e,https://f:g@h.org"
    assert told_text(text) == "https://c.org/d" + "https://h.org"


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://a.org", True),
        ("HTTP://a.org", True),
        ("https://user:pass@[::1]:80/a", True),
        ("https:///a", False),
        ("https://[::1", False),
        ("https://a.org:x/", False),
        ("https://a.org/a b", False),
        ("https://a.org/a\nb", False),
        ("javascript:alert(1)", False),
    ],
)
def test_which_addresses_are_allowed(url, good):
    assert is_http(url) == good


def test_user_and_password_open_the_file_and_go_to_no_other_host(server, tmp_path):
    url = SECRET.format(port=server.port, path="/to/file")
    download(url, tmp_path / "a.bin", progress=False)
    assert (tmp_path / "a.bin").read_bytes() == b"abc"
    (first, sent), (_, forwarded) = server.requests
    assert first == "/to/file?token=hidden"
    assert sent["Authorization"] == "Basic dXNlcjpwYXNzQHdvcmQ="  # user:pass@word
    assert "Authorization" not in forwarded


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/to/disk", "not allowed"),
        ("/to/ftp", "a redirect to ftp://localhost/file is not allowed"),
        ("/to/bad", "a redirect to http://localhost:x/ is not allowed"),
        ("/to/itself", "infinite loop"),
        ("/none", "the server says 403"),
        ("/file/short", "ended after 3 of 4 bytes"),
    ],
)
def test_an_error_tells_no_secret(server, tmp_path, path, message):
    with pytest.raises(InputError, match=message) as info:
        download(SECRET.format(port=server.port, path=path), tmp_path / "a.bin", progress=False)
    assert f"http://127.0.0.1:{server.port}{path}" in str(info.value)
    assert not any(secret in str(info.value) for secret in ("user", "word", "hidden"))
    assert not (tmp_path / "a.bin").exists()


def test_a_plan_tells_no_secret(tmp_path):
    source = Source(path="a", url="https://u:p@a.org/b?token=c", sha256=None, note="free")
    assert [str(step) for step in plan([source], tmp_path)] == [
        "a: will be fetched from https://a.org/b (free)"
    ]
