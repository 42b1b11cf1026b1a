"""Models from a hub: a real HTTP server on loopback, and processes that take it for the hub."""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
from PIL import Image
from safetensors.torch import save
from tiny import command, environment

from t2igan.inference.hub import resolve
from t2igan.inference.pipeline import Pipeline

pytest_plugins = ["kit"]
COMMIT = "c0ffee" * 6 + "c0ff"
RESOLVE = """
import sys
from t2igan.errors import run_script
from t2igan.inference.hub import resolve
run_script(lambda: print(resolve(sys.argv[1])))
"""

FEATURES = """
import sys
from t2igan.errors import UserError
from t2igan.features.image_maps import ImageMaps

for weights in sys.argv[1:]:
    network = ImageMaps(weights, "test_vit", ("block1",))
    try:
        network.load_pretrained()
        print(network.digest)
    except UserError as error:
        print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's API that downloads of model repositories use."""

    repositories: dict[str, dict[str, bytes]]
    requests: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0].strip("/")
        self.requests.append(path)
        for name, files in self.repositories.items():
            if path == f"api/models/{name}/revision/main":
                return self.answer_json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]})
            if path == f"api/models/{name}/tree/{COMMIT}":
                rows = [{"type": "file", "path": file, "size": len(data), "oid": digest(data)} for file, data in files.items()]
                return self.answer_json(rows)
            file = path.removeprefix(f"{name}/resolve/{COMMIT}/")
            if file in files:
                return self.answer(200, files[file], {"ETag": f'"{digest(files[file])}"', "X-Repo-Commit": COMMIT})
        if "/broken" in path:
            return self.answer(500, b"", {})
        self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def answer_json(self, content):
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, body: bytes, headers: dict):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing on stderr."""


def digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture(scope="module")
def hub(folder):
    """(the address, the paths that were requested)"""
    files = {file.name: file.read_bytes() for file in (folder / "model").iterdir()}
    files["optimizer.bin"] = b"not to be downloaded"
    repositories = {"org/tiny": files, "org/halved": {"config.json": files["config.json"], "notes.txt": b"no weights"}}
    repositories["org/bare"] = {"notes.txt": b"no weights", "README.md": b"x"}
    repositories["org/vit"] = {"model.safetensors": save(timm.create_model("test_vit").state_dict())}
    handler = type("TinyHub", (Hub,), {"repositories": repositories, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.requests
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def nobody():
    """An address that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def process(tmp_path):
    """process(endpoint, arguments) -> a finished process that takes `endpoint` for the hub, and keeps its cache in tmp_path."""

    def run(endpoint: str, *arguments, offline: bool = False) -> subprocess.CompletedProcess:
        own = environment(tmp_path / "cache") | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf")}
        own = {name: value for name, value in own.items() if name not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN")}
        if offline:
            own["HF_HUB_OFFLINE"] = "1"
        return subprocess.run(arguments, env=own, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def line_of(process):
    """line_of(endpoint, arguments) -> the one line on stderr of a process that ends with code 2."""

    def run(endpoint: str, *arguments, **options) -> str:
        done = process(endpoint, *arguments, **options)
        assert done.returncode == 2 and done.stdout == "", done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        line = done.stderr.strip()
        return line

    return run


def test_sample_and_open_model_take_a_hub_id(hub, nobody, folder, process, tmp_path):
    endpoint, requests = hub
    done = process(endpoint, *command("sample", "org/tiny", "thing 1", "--seeds", "3", "--out", "out"))
    assert done.returncode == 0 and done.stdout == "1 images in out\n", done.stderr
    expected = Pipeline.load(folder, "cpu")(["thing 1"], [3])[0][0]
    assert Image.open(tmp_path / "out" / "00000_seed3.png").tobytes() == expected.tobytes()
    downloaded = {path.rsplit("/", 1)[1] for path in requests if path.startswith("org/tiny/resolve")}
    assert downloaded == {"config.json", "model.safetensors", "README.md"}, "what the model needs and nothing else"

    code = (
        "import t2igan\nmodel = t2igan.open_model('org/tiny')\nmodel(['thing 1'], [3])[0][0].save('again.png')\nprint(type(model).__name__)"
    )
    again = process(nobody, sys.executable, "-c", code)
    assert again.returncode == 0 and again.stdout == "Pipeline\n", "from its cache, where the hub cannot be reached" + again.stderr
    assert Image.open(tmp_path / "again.png").tobytes() == expected.tobytes()


def test_a_model_that_the_hub_does_not_have_is_one_line(hub, line_of):
    line = line_of(hub[0], *command("sample", "org/missing", "thing 1"))
    assert line.startswith("error: there is no folder org/missing, and the hub has no model of that name that you may read")


def test_a_hub_that_refuses_connections_is_one_line(nobody, line_of):
    line = line_of(nobody, *command("sample", "org/tiny", "thing 1"))
    assert re.match(r"error: there is no folder org/tiny, and the hub cannot be reached \(.*refused\)", line), line


def test_a_hub_that_fails_is_one_line(hub, line_of):
    line = line_of(hub[0], sys.executable, "-c", RESOLVE, "org/broken")
    assert line.startswith("error: there is no folder org/broken, and the hub cannot be reached (") and "500" in line


def test_offline_mode_is_named(hub, line_of):
    line = line_of(hub[0], sys.executable, "-c", RESOLVE, "org/tiny", offline=True)
    assert "there is no folder org/tiny, and HF_HUB_OFFLINE keeps" in line


def test_a_repository_without_weights_is_one_line(hub, line_of):
    line = line_of(hub[0], sys.executable, "-c", RESOLVE, "org/halved")
    assert line == "error: org/halved on the hub is not a t2igan model: it has no model.safetensors; choose another"


def test_a_name_that_the_hub_does_not_allow_is_one_line(hub, line_of):
    assert "the hub allows no such name" in line_of(hub[0], sys.executable, "-c", RESOLVE, "org/a--b")


def test_weights_of_a_feature_network_come_from_the_hub(hub, nobody, process):
    names = ("hf-hub:org/vit", "hf-hub:org/missing", "hf-hub:org/bare")
    done = process(hub[0], sys.executable, "-c", FEATURES, *names)
    assert done.returncode == 0 and done.stderr == ""
    found, missing, bare = done.stdout.splitlines()
    assert missing.startswith("model.safetensors of org/missing is not in the hub's cache, and the hub has no model of that name")
    assert bare == "org/bare on the hub has no model.safetensors; choose another repository"
    again = process(nobody, sys.executable, "-c", FEATURES, "hf-hub:org/vit", "hf-hub:org/other")
    cached, other = again.stdout.splitlines()
    assert cached == found and len(found) == 64, "from its cache, where the hub cannot be reached"
    assert other.startswith("model.safetensors of org/other is not in the hub's cache, and the hub cannot be reached")


def test_a_folder_is_never_looked_up(tmp_path, monkeypatch):
    """Nor is a path that has not the form of a hub id."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("t2igan.inference.hub.download_folder", None)
    (tmp_path / "org" / "tiny").mkdir(parents=True)
    for path in ("org/tiny", tmp_path / "missing", "missing", "./org/missing", "../org", "a/b/c", "~/model", "org/"):
        assert str(resolve(path)) == str(path).removeprefix("./").removesuffix("/")
    shutil.rmtree(tmp_path / "org")
    with pytest.raises(TypeError):  # the download that is not there
        resolve("org/tiny")
