"""G2: the cache of calls is where the settings say, or nowhere."""

from __future__ import annotations

from pathlib import Path

from po_jupyter.config import Settings
from po_jupyter.worker.call_cache import cache_directory, open_call_cache


def test_settings_say_whether_there_is_a_cache(tmp_path: Path) -> None:
    cache = open_call_cache(Settings(data_dir=tmp_path))
    assert cache is not None
    cache.prepare()
    assert cache_directory(tmp_path).is_dir()
    cache.close()
    assert open_call_cache(Settings(data_dir=tmp_path, cache_max_bytes=0)) is None
