"""Files as seeds: what they become, and what is not read whoever asks."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import Forbidden, InvalidInput, InvalidSeed
from po_jupyter.orchestrator.schedules.records import SeedSource
from po_jupyter.orchestrator.schedules.seed_files import MOST_FILES, SeedFiles, SlotSeed
from tests.support.schedules import settings_of


@pytest.fixture
def files(tmp_path: Path) -> SeedFiles:
    return SeedFiles(settings_of(tmp_path))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "project"


def read(
    files: SeedFiles, name: str, *, code: bool = False, had: tuple[str, ...] = (), **more: bool
) -> SlotSeed | None:
    source: SeedSource = {"files": name, **more}  # type: ignore[typeddict-item]
    return files.read(source, code_allowed=code, has_file=lambda digest: digest in had)


@pytest.mark.parametrize(
    ("name", "text", "data"),
    [
        ("a.csv", "text,n\nx,1\n", {"rows": [{"text": "x", "n": "1"}]}),
        ("a.TSV", "text\tn\nx\t1\n", {"rows": [{"text": "x", "n": "1"}]}),
        ("a.json", '{"who": "you"}', {"who": "you"}), ("a.json", "[1, 2]", {"rows": [1, 2]}),
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n', {"rows": [{"a": 1}, {"a": 2}]}),
        ("a.txt", "hello", {"file": "a.txt", "text": "hello"}),
    ],
)  # fmt: skip
def test_one_file_is_the_seed_that_a_run_would_have(
    files: SeedFiles, project: Path, name: str, text: str, data: object
) -> None:
    (project / name).write_text(text)
    seed = read(files, name)
    assert seed is not None
    assert (seed.data, seed.files) == (data, ())


def test_data_stay_as_they_are(files: SeedFiles) -> None:
    seed = files.read({"data": {"a": 1}}, code_allowed=False, has_file=lambda _: True)
    assert seed is not None
    assert seed.data == {"a": 1}


def test_a_pattern_is_the_rows_of_all_in_the_order_of_their_names(files: SeedFiles, project: Path) -> None:
    for name, text in (("b.csv", "two"), ("a.csv", "one"), ("c.txt", "no")):
        (project / name).write_text(f"text\n{text}\n")
    (project / ".hidden.csv").write_text("text\nno\n")
    seed = read(files, "*.csv")
    assert seed is not None
    assert seed.data["rows"] == [{"text": "one"}, {"text": "two"}]
    assert [file["rows"] for file in seed.data["files"]] == [1, 1]
    with pytest.raises(InvalidSeed, match="there is no file"):
        read(files, "x*.csv")
    assert read(files, "x*.csv", only_new=True) is None


def test_a_pattern_has_files_alone_and_those_that_are_still_there(
    files: SeedFiles, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a folder, a dead link or a file that goes would hold up all others, for ever."""
    (project / "folder.csv").mkdir()
    (project / "dead.csv").symlink_to(project / "nowhere.csv")
    for name in ("a", "b"):
        (project / f"{name}.csv").write_text(f"text\n{name}\n")
    iglob = glob.iglob

    def listed_and_removed(pattern: str) -> list[str]:
        names = list(iglob(pattern))
        (project / "a.csv").unlink()
        return names

    monkeypatch.setattr("glob.iglob", listed_and_removed)
    seed = read(files, "*.csv", only_new=True)
    assert seed is not None and seed.data["rows"] == [{"text": "b"}]


def test_a_project_may_be_called_like_a_pattern(tmp_path: Path) -> None:
    files = SeedFiles(settings_of(tmp_path / "[2026] tickets"))
    project = tmp_path / "[2026] tickets" / "project"
    (project / "a[1].csv").write_text("text\nx\n")
    for name in ("*.csv", "a[1].csv", str(project / "a[1].csv")):
        seed = read(files, name, only_new=True, code=True)
        assert seed is not None and seed.data["rows"] == [{"text": "x"}]
    assert read(files, str(project / "a[1].csv"), code=True) == SlotSeed({"rows": [{"text": "x"}]})


def test_a_file_is_new_by_its_name_and_its_content(files: SeedFiles, project: Path) -> None:
    (project / "a.json").write_text('{"n": 1}')
    seed = read(files, "a.json", only_new=True)
    assert seed is not None
    assert seed.data["rows"] == [{"n": 1}]
    had = tuple(file.digest for file in seed.files)
    assert read(files, "a.json", only_new=True, had=had) is None
    (project / "b.json").write_text('{"n": 1}')
    assert read(files, "*.json", only_new=True, had=had) is not None
    (project / "a.json").write_text('{"n": 2}')
    assert read(files, "a.json", only_new=True, had=had) is not None


def test_new_files_beyond_what_one_slot_takes_are_left_for_the_next(tmp_path: Path, project: Path) -> None:
    files = SeedFiles(settings_of(tmp_path, inbox_max_bytes=1024))
    for n in range(4):
        (project / f"{n}.txt").write_text("x" * 400)
    first = read(files, "*.txt", only_new=True)
    assert first is not None
    assert len(first.files) == 2
    had = tuple(file.digest for file in first.files)
    second = read(files, "*.txt", only_new=True, had=had)
    assert second is not None
    assert [Path(file.name).name for file in second.files] == ["2.txt", "3.txt"]
    with pytest.raises(InvalidSeed, match=f"more than {MOST_FILES} or 1,024 bytes"):
        read(files, "*.txt")
    (project / "large.txt").write_text("x" * 2000)
    with pytest.raises(InvalidSeed, match="larger than 1,024 bytes"):
        read(files, "large.txt")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", 'a\n"x\n', "quote that is never closed"), ("a.json", "{", "not JSON"),
        ("a.json", "3", "not an object"),
        ("a.jsonl", '{"a": 1}\nx', "line 2 of a.jsonl"), ("a.csv", "", "is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_the_file(
    files: SeedFiles, project: Path, name: str, text: str, message: str
) -> None:
    (project / name).write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read(files, name)
    (project / "latin.csv").write_bytes(b"a\n\xff\n")
    with pytest.raises(InvalidSeed, match=r"latin\.csv is not UTF-8"):
        read(files, "latin.csv")


# -- security ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["/etc/hosts.txt", "../outside.txt", "sub/../../outside.txt", "../*.txt", ".env/x.txt", ".secret.json", "link.txt",
     "linked/outside.txt", "lin*.txt", "*/outside.txt"],
)  # fmt: skip
def test_whoever_may_not_run_code_reads_files_of_the_project_alone(
    files: SeedFiles, project: Path, name: str
) -> None:
    (project.parent / "outside.txt").write_text("secret")
    (project / ".env").mkdir()
    (project / ".env" / "x.txt").write_text("secret")
    (project / ".secret.json").write_text("{}")
    (project / "link.txt").symlink_to(project.parent / "outside.txt")
    (project / "linked").symlink_to(project.parent)
    (project / "sub").mkdir()
    with pytest.raises(Forbidden):
        read(files, name)
    with pytest.raises(Forbidden):
        read(files, name, only_new=True)


def test_whoever_may_run_code_reads_any_file_but_those_of_the_store(
    files: SeedFiles, project: Path, tmp_path: Path
) -> None:
    """P10: keys and tokens are in the data directory, and they are an administrator's."""
    (tmp_path / "outside.txt").write_text("mine")
    assert read(files, str(tmp_path / "outside.txt"), code=True) is not None
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "keys.json").write_text("{}")
    (project / "link.json").symlink_to(tmp_path / "data" / "keys.json")
    for name in ("link.json", str(tmp_path / "data" / "keys.json"), str(tmp_path / "data" / "*.json"), "lin*.json",
                 "../data/keys.json"):  # fmt: skip
        with pytest.raises(Forbidden, match="data directory"):
            read(files, name, code=True)


@pytest.mark.parametrize("name", ["a.exe", "", "a\0.csv", "**/a.csv", "id_rsa"])
def test_what_is_no_file_of_rows_is_refused_when_it_is_added(files: SeedFiles, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        files.check(name, code_allowed=True)
    assert caught.value.violations[0].where == "seed.files"


def test_a_link_to_a_file_of_another_kind_is_not_read(files: SeedFiles, project: Path) -> None:
    (project / "id_rsa").write_text("secret")
    (project / "a.txt").symlink_to(project / "id_rsa")
    with pytest.raises(InvalidSeed, match="another kind"):
        read(files, "a.txt")


def test_pipes_directories_and_circles_are_refused_at_once(files: SeedFiles, project: Path) -> None:
    os.mkfifo(project / "pipe.txt")
    (project / "folder.txt").mkdir()
    (project / "circle.txt").symlink_to(project / "circle.txt")
    for name in ("pipe.txt", "folder.txt", "circle.txt", "missing.txt"):
        with pytest.raises(InvalidSeed):
            read(files, name)


def test_without_a_project_a_path_is_absolute(tmp_path: Path) -> None:
    files = SeedFiles(Settings(data_dir=tmp_path / "data"))
    with pytest.raises(InvalidInput, match="give an absolute one"):
        files.check("a.csv", code_allowed=True)
    with pytest.raises(Forbidden):
        files.check("/tmp/a.csv", code_allowed=False)
    files.check("/tmp/a.csv", code_allowed=True)
