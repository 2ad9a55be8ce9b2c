"""Downloads from a server that breaks off, stalls, redirects, lies, and from a hub."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch_names
from safetensors.numpy import save

from resnet_keras import zoo
from resnet_keras.errors import InputError, MissingExtraError
from resnet_keras.zoo import weights

download = weights.download

ROOT = Path(__file__).parents[3]
CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT below any path; the path says what goes wrong, `requests` what was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.files: dict[str, bytes] = {}
        self.hang = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        server, trouble = self.server, self.path.split("/")[1]
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        content = server.files.get(self.path, CONTENT)
        if trouble == "redirect":
            return self.head(302, Location=f"{server.url}/moved/file")
        if trouble == "loop":
            return self.head(302, Location=f"{server.url}/loop/file")
        if trouble in ("404", "503"):
            return self.head(int(trouble))
        if trouble == "timm" and self.path not in server.files:
            return self.head(404, X_Error_Code="RepoNotFound")
        if trouble == "recovers" and len(server.requests) < 3:
            return self.head(503)
        if trouble == "ignores_ranges":
            asked, start = None, 0
        if trouble == "wrong_bytes":
            content = bytes(len(content))
        if start >= len(content):
            return self.head(416)
        headers = {"Content-Length": str(len(content) - start)}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if trouble == "timm":  # a hub
            headers |= {
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Repo-Commit": "c0" * 20,
            }
            if server.files.get("lie"):
                headers["ETag"] = f'"{"ab" * 32}"'
        if trouble == "huge":
            headers["Content-Length"] = str(2**40)
        self.head(206 if asked else 200, **headers)
        if head:
            return None
        body = content[start:]
        if trouble == "breaks_off":
            body = body[: 1 + len(content) // 3]
        if trouble == "stalls" and len(server.requests) == 1:
            self.wfile.write(body[:1000])
            self.wfile.flush()
            server.hang.wait(30)
            return None
        if trouble == "slow":
            for part in range(0, len(body), 30_000):
                self.wfile.write(body[part : part + 30_000])
                time.sleep(0.1)
            return None
        self.wfile.write(body)
        return None

    def head(self, status, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.hang.set()
    server.shutdown()
    server.server_close()


def fetched(server, trouble, path, checksum=SHA256):
    download.download(f"{server.url}/{trouble}/file", path, checksum)
    assert path.read_bytes() == CONTENT
    assert not path.with_name(f"{path.name}.part").exists()


@pytest.mark.parametrize(
    "trouble", ["well", "redirect", "recovers", "stalls", "breaks_off", "slow"]
)
def test_comes_whole(server, tmp_path, trouble):
    fetched(server, trouble, tmp_path / "folder" / "file")


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_progress_is_shown_on_a_terminal_only(server, tmp_path, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    fetched(server, "slow", tmp_path / "file")
    shown = stream.getvalue()
    assert ("file:" in shown and "300k" in shown) == stream.isatty()


def test_a_broken_download_is_resumed_where_it_ended(server, tmp_path):
    fetched(server, "breaks_off", tmp_path / "file")
    starts = [asked for _, asked in server.requests]
    third = 1 + len(CONTENT) // 3
    assert starts == [None, f"bytes={third}-", f"bytes={2 * third}-"]


def test_a_later_process_resumes_too(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    fetched(server, "well", tmp_path / "file")
    assert server.requests == [("/well/file", "bytes=1234-")]


@pytest.mark.parametrize("left", [b"other bytes", CONTENT + b"and more", CONTENT])
def test_what_is_left_of_another_file_is_dropped(server, tmp_path, left):
    (tmp_path / "file.part").write_bytes(left)
    fetched(server, "well", tmp_path / "file")


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    fetched(server, "ignores_ranges", tmp_path / "file")


def test_a_present_file_is_verified_and_not_asked_for(server, tmp_path):
    fetched(server, "well", tmp_path / "file")
    fetched(server, "well", tmp_path / "file")
    assert len(server.requests) == 1
    (tmp_path / "file").write_bytes(b"flipped")
    with pytest.raises(InputError, match=r"damaged.* Delete it"):
        download.download(f"{server.url}/well/file", tmp_path / "file", SHA256)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("wrong_bytes", "did not bring the file that was expected: its SHA256 is"),
        ("404", "404"),
        ("503", "503"),
        ("loop", "302"),
        ("huge", "no file of a ResNet has"),
    ],
)
def test_what_cannot_be_had_leaves_nothing(server, tmp_path, trouble, words):
    with pytest.raises(InputError) as error:
        fetched(server, trouble, tmp_path / "file")
    assert words in str(error.value)
    assert f"{server.url}/{trouble}/file" in str(error.value)
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "file.part").exists()


def test_no_connection(tmp_path, server):
    url = f"{server.url}/file"
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"refused.*weights_dir"):
        download.download(url, tmp_path / "file", SHA256)


def test_a_folder_that_cannot_be_written_to(server):
    with pytest.raises(InputError, match="/proc/nowhere"):
        fetched(server, "well", Path("/proc/nowhere/file"))
    assert server.requests == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are those of POSIX")
def test_a_file_in_a_folder_of_another_user_is_used(server, tmp_path, monkeypatch):
    fetched(server, "well", tmp_path / "file")
    monkeypatch.setattr(download, "make_folder", lambda path: pytest.fail("written to"))
    monkeypatch.setattr(download, "locked", lambda *_: pytest.fail("locked"))
    download.download(f"{server.url}/well/file", tmp_path / "file", SHA256)


def test_two_processes_at_once_bring_it_once(server, tmp_path):
    code = f"""
        from pathlib import Path
        from resnet_keras.zoo.weights import download
        download.download("{server.url}/slow/file", Path("{tmp_path}/file"), "{SHA256}")
        """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=environment)
        for _ in range(3)
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.requests) == 1


# Entries


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_KERAS_HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path
    monkeypatch.delenv("RESNET_KERAS_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    if sys.platform == "linux":
        assert download.cache_folder() == tmp_path / "caches" / "resnet_keras"


def test_pickles_are_asked_for_only_where_torch_is(tmp_path, monkeypatch):
    """Or where the converted file is, as the error says."""
    monkeypatch.setenv("RESNET_KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        zoo.get("resnet20", weights="cifar10")
    for words in ("resnet_keras[torch]", "import torch, safetensors.torch; ", str(tmp_path)):
        assert words in str(error.value)
    (tmp_path / "resnet20-12fca82f.safetensors").write_bytes(weights_file(tmp_path))
    assert zoo.get("resnet20", weights="cifar10").name == "resnet20"
    network, file = zoo.weights.find("resnet20", "cifar10")
    assert file.class_names[0] == "airplane"
    other = zoo.get("resnet20", weights="cifar10", weights_dir=tmp_path)
    assert other.name == network.name


def registered(monkeypatch, **changed):
    """ResNet-20's CIFAR entry with another address and checksum, as ours does not need torch."""
    entry = zoo.ENTRIES["resnet20", "akamaster_cifar10"]._replace(**changed)
    monkeypatch.setitem(zoo.ENTRIES, (entry.model, entry.tag), entry)
    return entry


def weights_file(tmp_path):
    """The digits' weights under torch's names are work enough; this package's do here."""
    path = tmp_path / "w.safetensors"
    zoo.weights.save(path, zoo.get("resnet20"))
    return path.read_bytes()


def test_get_downloads_once_and_works_offline(server, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_KERAS_HOME", str(tmp_path / "home"))
    server.files["/well/w.safetensors"] = content = weights_file(tmp_path)
    digest = hashlib.sha256(content).hexdigest()
    registered(
        monkeypatch, address=f"{server.url}/well/w.safetensors", checksum=f"sha256:{digest[:8]}"
    )
    assert zoo.get("resnet20", weights="cifar10").output_shape == (None, 10)
    server.shutdown()
    server.server_close()
    assert zoo.get("resnet20", weights="akamaster_cifar10").output_shape == (None, 10)
    assert len(server.requests) == 1


def test_weights_dir_needs_no_network(tmp_path, monkeypatch):
    content = weights_file(tmp_path)
    digest = hashlib.sha256(content).hexdigest()
    entry = registered(monkeypatch, checksum=f"sha256:{digest}")
    with pytest.raises(InputError, match=r"has no resnet20-12fca82f.th: download https"):
        zoo.get("resnet20", weights="cifar10", weights_dir=tmp_path)
    (tmp_path / entry.file_name).write_bytes(content)
    assert zoo.get("resnet20", weights="cifar10", weights_dir=tmp_path).name == "resnet20"
    (tmp_path / entry.file_name).write_bytes(content[:-1])
    with pytest.raises(InputError, match="damaged or another file"):
        zoo.get("resnet20", weights="cifar10", weights_dir=tmp_path)


def test_every_address_is_whole():
    for entry in zoo.ENTRIES.values():
        if not entry.packaged:
            assert entry.address.startswith("https://")
            assert entry.file_name
            assert entry.checksum == "hub" or ":" in entry.checksum
    assert zoo.ENTRIES["resnet34", "a2_in1k"].hub == "timm/resnet34.a2_in1k"


# The hub


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """A server that answers as the Hugging Face hub does, with ResNet-18 of torch's layout."""
    monkeypatch.setenv("RESNET_KERAS_HOME", str(tmp_path / "home"))
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    tensors = {}
    for layer in zoo.get("resnet18").layers:
        for name, shape in torch_names.tensors(layer):
            tensors[name] = np.full(shape, 0.01, "float32")
    path = f"/timm/resnet18.tv_in1k/resolve/main/{zoo.entry.HUB_FILE}"
    server.files[path] = save(tensors, metadata={"format": "pt"})
    return server


def test_the_hub_brings_a_file_once(hub):
    model = zoo.get("resnet18", weights="imagenet")
    assert float(np.asarray(model.get_layer("conv1_conv").kernel).max()) == np.float32(0.01)
    asked = len(hub.requests)
    assert any(path.endswith(zoo.entry.HUB_FILE) for path, _ in hub.requests)
    assert zoo.get("resnet18", weights="tv_in1k").name == "resnet18"
    assert len(hub.requests) == asked


def test_bytes_that_are_not_the_hubs_own_are_refused(hub, tmp_path):
    hub.files["lie"] = b"yes"
    with pytest.raises(InputError, match="damaged file: its SHA256 is"):
        zoo.get("resnet18", weights="imagenet")
    del hub.files["lie"]
    assert zoo.get("resnet18", weights="imagenet").name == "resnet18"


def test_no_hub_and_no_such_repository(hub, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the hub's library tries again
    hub.files.clear()
    hub.files["/timm/resnet34.tv_in1k/resolve/main/model.safetensors"] = b"no weights"
    with pytest.raises(InputError, match="no weights file"):
        zoo.get("resnet34", weights="tv_in1k")
    with pytest.raises(InputError, match=r"resnet101.tv_in1k.*cannot be downloaded: 404"):
        zoo.get("resnet101", weights="tv_in1k")
    hub.shutdown()
    hub.server_close()
    with pytest.raises(InputError, match=r"cannot be downloaded.*weights_dir"):
        zoo.get("resnet50", weights="tv_in1k")


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"resnet_keras\[hub\]"):
        zoo.get("resnet18", weights="imagenet")


def test_hub_files_from_a_folder(hub, tmp_path):
    content = next(iter(hub.files.values()))
    nested = tmp_path / "local" / "resnet18.tv_in1k"
    nested.mkdir(parents=True)
    with pytest.raises(InputError, match=r"no resnet18.tv_in1k.safetensors and no"):
        zoo.get("resnet18", weights="imagenet", weights_dir=tmp_path / "local")
    (nested / zoo.entry.HUB_FILE).write_bytes(content)
    assert zoo.get("resnet18", weights="imagenet", weights_dir=tmp_path / "local").count_params()
    assert hub.requests == []


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
