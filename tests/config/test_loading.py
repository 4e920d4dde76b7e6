"""R2.1: one frozen Settings from defaults, file and environment, each value with its source."""

import json
from pathlib import Path

import pytest

from po_jupyter import config
from po_jupyter.config import Settings, load
from po_jupyter.errors import InvalidSettings, StoreUnusable


def test_every_option_is_documented_and_has_a_default(tmp_path: Path) -> None:
    schema = Settings.model_json_schema()
    assert [n for n, s in schema["properties"].items() if not s.get("description")] == []
    settings = load({"PO_DATA_DIR": str(tmp_path)})
    assert settings.heartbeat == 2.0
    assert settings.source_of("heartbeat") == "default"
    assert settings.data_dir == tmp_path
    assert settings.source_of("data_dir") == "PO_DATA_DIR"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("po.json", json.dumps({"max_running": 3, "log_level": "DEBUG"})),
        ("po.toml", 'max_running = 3\nlog_level = "DEBUG"\n'),
        ("po.yaml", "max_running: 3\nlog_level: DEBUG\n"),
    ],
)
def test_weight_grows_from_file_to_environment_to_jupyter(tmp_path: Path, name: str, text: str) -> None:
    """R2.1: environment over file, traits over both."""
    (tmp_path / name).write_text(text)
    environ = {"PO_DATA_DIR": str(tmp_path)}
    settings = load(environ)
    assert (settings.max_running, settings.source_of("max_running")) == (3, str(tmp_path / name))
    settings = load({**environ, "PO_MAX_RUNNING": "4"})
    assert (settings.max_running, settings.source_of("max_running")) == (4, "PO_MAX_RUNNING")
    settings = load({**environ, "PO_MAX_RUNNING": "4"}, jupyter={"max_running": 5})
    assert (settings.max_running, settings.source_of("max_running")) == (5, "jupyter")
    assert settings.log_level == "DEBUG", "what nobody overrides stays"


def test_a_chosen_file_wins_over_the_one_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "po.json").write_text('{"max_running": 3}')
    (tmp_path / "other.toml").write_text("max_running = 7")
    environ = {"PO_DATA_DIR": str(tmp_path), "PO_CONFIG": str(tmp_path / "other.toml")}
    assert load(environ).max_running == 7
    assert load(environ, file=tmp_path / "po.json").max_running == 3


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("PO_MAX_RUNNING", "many", "whole number"),
        ("PO_MAX_RUNNING", "0", "greater than or equal to 1"),
        ("PO_HEARTBEAT", "-1", "greater than 0"),
        ("PO_LOG_LEVEL", "LOUD", "'DEBUG', 'INFO'"),
        ("PO_ALLOW_NETWORK_STORE", "perhaps", "true or false"),
        ("PO_STORE_SHARDS", "65", "less than or equal to 64"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, value: str, says: str) -> None:
    """R2.1, P11."""
    with pytest.raises(InvalidSettings, match=says) as caught:
        load({variable: value})
    assert str(caught.value).splitlines()[1].startswith(f"{variable}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"openai:x": {"input": 1}}', "prices.openai:x needs `output`"),
        (
            '{"openai:x": {"input": 1, "outptu": 2, "output": 3}}',
            "`outptu` is not a field of prices.openai:x; did",
        ),
        ('{"x": {"input": 1, "output": 2}}', "is written provider:model (given: 'x')"),
    ],
)
def test_prices_that_are_none(text: str, says: str) -> None:
    """P11: which price it is, and what is wrong with it."""
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_PRICES": text})
    assert says in str(caught.value)


def test_the_hint_of_wrong_settings_is_no_circle(tmp_path: Path) -> None:
    """P11: `po config` cannot show settings that cannot be read."""
    (tmp_path / "po.yaml").write_text("max_running: lots\n")
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_DATA_DIR": str(tmp_path)})
    assert "po config" not in caught.value.hint and "Correct it there" in caught.value.hint


def test_all_violations_of_a_file_come_at_once(tmp_path: Path) -> None:
    file = tmp_path / "po.yaml"
    file.write_text("max_runing: 3\nheartbeat: fast\nlease_ttl: 0\n")
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_DATA_DIR": str(tmp_path)})
    text = str(caught.value)
    assert "`max_runing` is not a setting; did you mean `max_running`?" in text
    assert "heartbeat: needs a number" in text
    assert "lease_ttl: input should be greater than 0" in text
    assert text.count(str(file)) == 3


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("po.json", "{", "cannot be read"),
        ("po.toml", "x = ", "cannot be read"),
        ("po.yaml", "a: [", "cannot be read"),
        ("po.yaml", "- a", "mapping of settings"),
        ("po.json", "[1]", "mapping of settings"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidSettings, match=says) as caught:
        load({"PO_DATA_DIR": str(tmp_path)})
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_chosen_file_is_named_and_an_empty_one_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"gone\.yaml cannot be read: No such file"):
        load({"PO_CONFIG": str(tmp_path / "gone.yaml")})
    (tmp_path / "po.yaml").write_text("# nothing yet\n")
    assert load({"PO_DATA_DIR": str(tmp_path)}).max_running == Settings().max_running


def test_a_secret_shows_nowhere(tmp_path: Path) -> None:
    """P10: not in a repr, not in JSON, not in the error about it."""
    settings = load({"PO_AUTH_TOKEN": "hunter2-hunter2-hunter2"})
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.auth_token is not None
    assert settings.auth_token.get_secret_value() == "hunter2-hunter2-hunter2"
    (tmp_path / "po.yaml").write_text("auth_token: 8675309\n")
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_DATA_DIR": str(tmp_path)})
    assert "8675309" not in str(caught.value) + json.dumps(caught.value.to_json())


def test_paths_are_absolute_and_lists_are_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = load({"PO_DATA_DIR": "here", "PO_MODELS_DIR": "~/weights", "PO_WORKER_ENV": "A, B ,,C"})
    assert settings.data_dir == tmp_path / "here"
    assert settings.models_dir == tmp_path / "home" / "weights"
    assert settings.worker_env == ("A", "B", "C")


def test_variables_that_clients_read_are_not_settings() -> None:
    assert (
        load({"PO_JUPYTER_URL": "http://x", "PO_JUPYTER_TOKEN": "y", "PO_TEST_STRICT": "1"}).max_running == 16
    )
    assert "PO_JUPYTER_TOKEN" in config.OTHER_VARIABLES


def project(root: Path, text: str = "inbox_dir: .\npipelines_dir: ../pipelines\nmax_running: 3\n") -> Path:
    data = root / "pipeline-data"
    data.mkdir(parents=True)
    (data / "po.yaml").write_text(text)
    return data


def test_a_project_says_where_its_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R2.1, B9: in the project's folder and below; paths are relative to the settings file."""
    data = project(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    for place in (tmp_path, tmp_path / "a" / "b", data):
        monkeypatch.chdir(place)
        settings = load({})
        assert settings.data_dir == settings.inbox_dir == data
        assert settings.pipelines_dir == tmp_path / "pipelines"
        assert settings.max_running == 3
        assert settings.source_of("data_dir") == str(data / "po.yaml")
    # Whoever is told the data directory reads the same settings, wherever it was started.
    monkeypatch.chdir(tmp_path.parent)
    told = load({"PO_DATA_DIR": str(data)})
    assert (told.inbox_dir, told.pipelines_dir) == (data, tmp_path / "pipelines")


def test_the_environment_weighs_more_than_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R2.1: PO_DATA_DIR and PO_CONFIG mean another place altogether."""
    project(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("data_dir: here\n")
    assert load({"PO_DATA_DIR": str(tmp_path / "x")}).max_running != 3
    assert load({"PO_CONFIG": str(tmp_path / "own.yaml")}).data_dir == tmp_path / "here"
    assert load({"PO_MAX_RUNNING": "5"}).max_running == 5


def test_a_folder_without_settings_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R2.1: `pipeline-data` alone is a folder like any other."""
    (tmp_path / "pipeline-data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load({}).data_dir != tmp_path / "pipeline-data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PO_INBOX_SUFFIX", "a/b.json"), ("PO_INBOX_SUFFIX", "seed"), ("PO_INBOX_ZIP_SUFFIX", "-seed.json"),
        ("PO_INBOX_PENDING", "../out"), ("PO_INBOX_CURRENT", ""), ("PO_INBOX_STABLE", "-1"),
        ("PO_RETENTION_DONE", "-1"), ("PO_RETENTION_DONE", "never"), ("PO_ZIP_MAX_FILES", "0"),
    ],
)  # fmt: skip
def test_settings_of_the_watch_folder_are_checked(name: str, value: str) -> None:
    """R2.1, P11: each message names its variable."""
    with pytest.raises(InvalidSettings, match=name):
        load({name: value})


def test_rate_limits_come_from_a_file_or_as_json(tmp_path: Path) -> None:
    """G3."""
    (tmp_path / "po.yaml").write_text("rate_limits:\n  openai: {requests: 500, tokens: 200000}\n")
    environ = {"PO_DATA_DIR": str(tmp_path)}
    assert load(environ).rate_limits["openai"].tokens == 200_000
    settings = load({**environ, "PO_RATE_LIMITS": '{"openai:gpt-5-mini": {"concurrency": 4}}'})
    assert settings.rate_limits["openai:gpt-5-mini"].concurrency == 4
    assert settings.source_of("rate_limits") == "PO_RATE_LIMITS"
    again = Settings.model_validate(settings.model_dump(mode="json", exclude={"auth_token"}))
    assert again.rate_limits == settings.rate_limits, "as a worker gets them"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("500", "needs a mapping"),
        ("{openai: 500}", "PO_RATE_LIMITS is not JSON"),
        ('{"openai": 500}', "rate_limits.openai: needs a mapping"),
        ('{"openai": {}}', "needs at least one of requests, tokens"),
        ('{"openai": {"request": 500}}', "`request` is not a field of a rate limit; did you mean `requests`?"),
        ('{"openai": {"requests": 0}}', "greater than or equal to 1"),
        ('{"openai": {"requests": "500"}}', "rate_limits.openai.requests"),
        ('{"openai": {"requests": 1.5}}', "rate_limits.openai.requests: needs a whole number"),
        ('{"openai": {"requests": true}}', "rate_limits.openai.requests"),
    ],
)
def test_rate_limits_that_are_none(text: str, says: str) -> None:
    """G3, P11."""
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_RATE_LIMITS": text})
    assert says in str(caught.value) and "PO_RATE_LIMITS" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "PO_MCP_SERVERS"),
        ('{"a": {}}', "either a `command` (a list) or a `url`"),
        ('{"a": {"command": ["x"], "url": "http://y"}}', "either a `command` (a list) or a `url`"),
        ('{"a": {"url": "ftp://y"}}', "a.url"),
        ('{"a.b": {"command": ["x"]}}', "letters, digits"),
        ('{"a": {"command": "npx x"}}', "needs a list"),
    ],
)
def test_wrong_mcp_servers_are_said(tmp_path: Path, text: str, words: str) -> None:
    """G15, P11."""
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_DATA_DIR": str(tmp_path), "PO_MCP_SERVERS": text})
    assert words in str(caught.value)


def test_settings_of_remote_logs_are_checked() -> None:
    with pytest.raises(InvalidSettings):
        load({"PO_LOG_REMOTE_URL": "file:///etc/passwd"})
    settings = load({"PO_LOG_REMOTE_URL": "https://logs.example/v1/logs", "PO_LOG_REMOTE_TOKEN": "t" * 20})
    assert "t" * 20 not in repr(settings)


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_a_variable_that_is_set_to_nothing_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    """D: `PO_DATA_DIR=` was the current folder; so were the other directories."""
    monkeypatch.chdir(tmp_path)
    default = load({})
    for name in (
        "data_dir",
        "models_dir",
        "inbox_dir",
        "pipelines_dir",
        "auth_token",
    ):
        variable = f"PO_{name.upper()}"
        settings = load({variable: empty})
        assert getattr(settings, name) == getattr(default, name), variable
        assert settings.source_of(name) == "default"
    assert load({"PO_CONFIG": empty, "PO_DATA_DIR": empty}).data_dir == default.data_dir


@pytest.mark.parametrize("value", ["", " ", "a\0b", "~nobody-is-called-so/x"])
def test_a_directory_that_is_none_is_refused_wherever_it_is_written(tmp_path: Path, value: str) -> None:
    """D: an empty directory in a settings file was the file's own."""
    (tmp_path / "po.json").write_text(json.dumps({"inbox_dir": value}))
    with pytest.raises(InvalidSettings, match="inbox_dir"):
        load({"PO_DATA_DIR": str(tmp_path)})
    with pytest.raises(InvalidSettings, match="data_dir"):
        load({}, jupyter={"data_dir": value})


def test_a_data_directory_that_cannot_be_read_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: a foreign one was a raw PermissionError, and the extension did not load."""
    unreadable(monkeypatch, tmp_path)
    with pytest.raises(StoreUnusable, match="Permission denied") as caught:
        load({"PO_DATA_DIR": str(tmp_path)})
    assert "PO_DATA_DIR" in caught.value.hint


def test_somebody_elses_folders_above_are_no_project_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(monkeypatch, tmp_path)
    assert config.project_data(tmp_path / "a" / "b") is None


def test_settings_are_read_in_a_folder_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone)
    monkeypatch.setattr("os.getcwd", gone)  # what pathlib asks since Python 3.13
    assert load({}).data_dir.is_absolute()
    with pytest.raises(InvalidSettings, match="data_dir"):
        load({"PO_DATA_DIR": "relative"})


def unreadable(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing below the folder can be looked at: as for another user (this one may be root)."""
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if path.is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
