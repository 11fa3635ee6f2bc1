import errno
import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hoiclip.errors import InputError, NetworkError
from hoiclip.fetch.download import RECORD, Source, State, download, fetch, plan

DATA = bytes(range(256)) * 5000
HASH = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if self.path != "/file":
            self.send_error(404)
            return
        data, start = server.data, 0
        given = self.headers.get("Range")
        if given and self.headers.get("If-Range") == server.etag:
            start = int(given.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + server.cut_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.data, server.etag, server.cut_after = [], DATA, '"one"', len(DATA)
    server.url = f"http://127.0.0.1:{server.server_port}/file"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_file(tmp_path, server):
    path = tmp_path / "folder" / "a.bin"
    assert download(server.url, path, sha256=HASH.upper(), progress=False) == HASH
    assert path.read_bytes() == DATA
    assert names(path.parent) == ["a.bin"]


def test_empty_file(tmp_path, server):
    server.data = b""
    assert download(server.url, tmp_path / "a.bin") == hashlib.sha256(b"").hexdigest()
    assert names(tmp_path) == ["a.bin"]


def test_a_full_disk_is_not_blamed_on_the_server(tmp_path, server, monkeypatch):
    refused = OSError(errno.ENOSPC, "No space left on device")

    def full(*_, **__):
        raise refused

    monkeypatch.setattr("hoiclip.fetch.download.tqdm", full)
    with pytest.raises(InputError, match=r"kept on this disk \(No space left on device\)"):
        download(server.url, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def cut_short(tmp_path, server):
    server.cut_after = 1000
    with pytest.raises(InputError, match=r"ended after 1000 of 1280000 bytes. Run again to go on"):
        download(server.url, tmp_path / "a.bin", sha256=HASH)
    assert not (tmp_path / "a.bin").exists()
    server.cut_after = len(DATA)


def test_goes_on_where_it_stopped(tmp_path, server):
    cut_short(tmp_path, server)
    assert download(server.url, tmp_path / "a.bin", sha256=HASH) == HASH
    assert server.requests[-1]["Range"] == "bytes=1000-"
    assert names(tmp_path) == ["a.bin"]


def test_starts_anew_when_the_file_has_changed(tmp_path, server):
    cut_short(tmp_path, server)
    server.etag, server.data = '"two"', b"other"
    assert download(server.url, tmp_path / "a.bin") == hashlib.sha256(b"other").hexdigest()
    assert (tmp_path / "a.bin").read_bytes() == b"other"


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_starts_anew_when_nothing_vouches_for_the_first_part(tmp_path, server, etag):
    server.etag = etag
    cut_short(tmp_path, server)
    assert download(server.url, tmp_path / "a.bin", sha256=HASH) == HASH
    assert "Range" not in server.requests[-1]


def test_starts_anew_when_there_is_no_rest(tmp_path, server):
    cut_short(tmp_path, server)
    (tmp_path / ".a.bin.part").write_bytes(DATA + b"too long")
    assert download(server.url, tmp_path / "a.bin", sha256=HASH) == HASH


def test_another_hash_keeps_nothing(tmp_path, server):
    with pytest.raises(InputError, match=f"SHA-256 is {HASH}, expected 00"):
        download(server.url, tmp_path / "a.bin", sha256="00")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "is not http or https"),
        ("", "is not http or https"),
        ("http://127.0.0.1:1/file", "cannot be read"),
    ],
)
def test_addresses_that_are_none(tmp_path, url, message):
    with pytest.raises(InputError, match=message):
        download(url, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_absent_file(tmp_path, server):
    with pytest.raises(InputError, match="the server says 404"):
        download(server.url + "s", tmp_path / "a.bin")


def test_plan_and_fetch(tmp_path, server):
    fetched = Source(path="a.bin", url=server.url, sha256=None, note="free to use")
    placed = Source(path="sub/b.bin", url=None, sha256=HASH, note="register at its site")
    steps = plan([fetched, placed], tmp_path)
    assert [step.state for step in steps] == [State.FETCH, State.PLACE]
    assert str(steps[0]) == f"a.bin: will be fetched from {server.url} (free to use)"
    with pytest.raises(InputError, match=r"sub/b\.bin: has to be placed .*register at its site"):
        fetch([fetched, placed], tmp_path, progress=False)
    assert names(tmp_path) == []
    assert server.requests == []
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bin").write_bytes(DATA)
    fetch([fetched, placed], tmp_path, progress=False)
    assert json.loads((tmp_path / RECORD).read_text()) == {"a.bin": HASH}
    fetch([fetched, placed], tmp_path, progress=False)
    assert len(server.requests) == 1
    assert {step.state for step in plan([fetched, placed], tmp_path)} == {State.PRESENT}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def test_a_fetched_archive_is_unpacked_and_deleted(tmp_path, server):
    server.data = zipped({"top/a.txt": b"one"})
    source = Source(path="a.zip", url=server.url, sha256=None, note="", unpack="images/a")
    fetch([source], tmp_path, progress=False)
    assert names(tmp_path) == ["images", RECORD]
    assert (tmp_path / "images/a/a.txt").read_bytes() == b"one"
    found = json.loads((tmp_path / RECORD).read_text())
    assert found == {"a.zip": hashlib.sha256(server.data).hexdigest()}
    assert [str(step) for step in plan([source], tmp_path)] == ["a.zip: is there as images/a/"]
    fetch([source], tmp_path, progress=False)
    assert len(server.requests) == 1


def test_a_placed_archive_is_unpacked_and_stays(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"top/a.txt": b"one"}))
    source = Source(path="a.zip", url=None, sha256=None, note="", unpack="out")
    assert [step.state for step in plan([source], tmp_path)] == [State.UNPACK]
    fetch([source], tmp_path, progress=False)
    assert names(tmp_path) == ["a.zip", "out", RECORD]
    (tmp_path / "a.zip").unlink()
    assert [step.state for step in plan([source], tmp_path)] == [State.PRESENT]
    fetch([source], tmp_path, progress=False)


def test_of_a_damaged_archive_no_hash_is_recorded(tmp_path, server):
    source = Source(path="a.zip", url=server.url, sha256=None, note="", unpack="out")
    with pytest.raises(InputError, match=r"a\.zip: cannot be unpacked .* delete it"):
        fetch([source], tmp_path, progress=False)
    assert names(tmp_path) == ["a.zip"]


def test_fetch_checks_what_is_there(tmp_path, server):
    source = Source(path="a.bin", url=server.url, sha256=None, note="")
    fetch([source], tmp_path, progress=False)
    (tmp_path / "a.bin").write_bytes(b"altered")
    with pytest.raises(InputError, match=f"expected {HASH}"):
        fetch([source], tmp_path, progress=False)


def test_plan_tells_what_will_go_on(tmp_path, server):
    cut_short(tmp_path, server)
    source = Source(path="a.bin", url=server.url, sha256=HASH, note="")
    assert [step.state for step in plan([source], tmp_path)] == [State.RESUME]


def source(path="a.bin", url=None, sha256=None):
    return Source(path=path, url=url, sha256=sha256, note="")


@pytest.mark.parametrize("content", ["", '{"vali', "[]", '{"validator": 1}', "null"])
def test_starts_anew_where_a_kill_left_half_of_the_note(tmp_path, server, content):
    (tmp_path / ".file.part").write_bytes(b"half")
    (tmp_path / ".file.part.json").write_text(content)
    assert download(server.url, tmp_path / "file") == HASH
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("content", ["[]", '{"a.bin": 1}', "null"])
def test_a_record_that_is_none(tmp_path, server, content):
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(InputError, match="not a table of hashes"):
        fetch([source(url=server.url)], tmp_path)


def test_digits_in_the_params_count_more_than_the_record(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    (tmp_path / RECORD).write_text(json.dumps({"a.bin": "0" * 64}))
    fetch([source(sha256=HASH[:8])], tmp_path)
    assert json.loads((tmp_path / RECORD).read_text()) == {"a.bin": HASH}


def test_no_file_takes_the_name_of_the_record():
    with pytest.raises(ValueError, match="this name is for the hashes' file"):
        source(path=f"folder/{RECORD}")


def test_two_at_once_fetch_a_file_once(tmp_path, server):
    threads = [
        threading.Thread(target=fetch, args=([source(url=server.url)], tmp_path)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(server.requests) == 1
    assert (tmp_path / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("code", "passes"),
    [(404, False), (401, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_what_may_pass_is_an_error_of_its_own(tmp_path, server, monkeypatch, code, passes):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.send_error(code))
    with pytest.raises(InputError, match=f"the server says {code}") as error:
        download(server.url, tmp_path / "a.bin")
    assert isinstance(error.value, NetworkError) == passes


def test_a_transfer_cut_short_and_no_answer_may_pass(tmp_path, server):
    server.cut_after = 1000
    with pytest.raises(NetworkError):
        download(server.url, tmp_path / "a.bin")
    with pytest.raises(NetworkError, match="cannot be read"):
        download("http://127.0.0.1:9/file", tmp_path / "b.bin")


def test_a_redirect_that_is_not_allowed_does_not_pass(tmp_path, server, monkeypatch):
    def redirect(self):
        self.send_response(302)
        self.send_header("Location", "file:///etc/hostname")
        self.end_headers()

    monkeypatch.setattr(Handler, "do_GET", redirect)
    with pytest.raises(InputError) as error:
        download(server.url, tmp_path / "a.bin")
    assert not isinstance(error.value, NetworkError)
