"""A wrong setting stops the start, with what came and what would be right."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from zhenan.server import config

WRONG = [
    ("DATABASE_URL", "mysql://root@localhost/zhenan", "want postgresql://"),
    ("DATABASE_URL", "postgresql://localhost", "want postgresql://"),
    ("ZHENAN_DEBUG", "perhaps", "want 1 or 0"),
    ("ZHENAN_SECRET_KEY", "short", "want 32 or more"),
    ("ZHENAN_DATABASE_POOL", "many", "want a whole number"),
    ("ZHENAN_DATA", "/dev/null/data", "name a writable folder"),
]


@pytest.mark.parametrize(("name", "value", "right"), WRONG)
def test_a_wrong_setting_is_one_line_and_exit_status_1(name, value, right, tmp_path):
    given = {"DATABASE_URL": "postgresql://given/zhenan", "ZHENAN_DATA": str(tmp_path)}
    environment = {**os.environ, **given, name: value}
    argv = [sys.executable, "-c", "import zhenan.server.settings"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert name in done.stderr
    assert right in done.stderr


def test_a_password_with_special_characters_reaches_the_database_unchanged():
    entry = config.django_database("postgresql://city:p%40ss%2Fword@db.example:5433/zhen%20an")
    assert (entry["USER"], entry["PASSWORD"], entry["NAME"]) == ("city", "p@ss/word", "zhen an")
    assert (entry["HOST"], entry["PORT"]) == ("db.example", "5433")


@pytest.mark.parametrize(
    ("url", "host", "port", "attrs"),
    [
        ("postgresql://u:p@a:5432,b:5433/z", "a,b", "5432,5433", "read-write"),
        ("postgresql://u:p@a,b/z", "a,b", "5432,5432", "read-write"),
        ("postgresql://u:p@a,b/z?target_session_attrs=any&sslmode=require", "a,b", "5432,5432", "any"),
        ("postgresql://u:p@a/z", "a", "5432", None),
        ("postgresql://u:p@/z?host=/run/postgresql", "/run/postgresql", "5432", None),
    ],
)
def test_of_several_servers_the_one_that_takes_writes_is_used(url, host, port, attrs):
    entry = config.django_database(url)
    assert (entry["HOST"], entry["PORT"]) == (host, port)
    assert entry["OPTIONS"].get("target_session_attrs") == attrs
    assert entry["OPTIONS"].get("sslmode") == ("require" if "sslmode" in url else None)


def test_the_environment_wins_over_the_embedded_engines(tmp_path, monkeypatch):
    monkeypatch.setenv("ZHENAN_DATA", str(tmp_path))
    config.engines_file().parent.mkdir()
    config.engines_file().write_text('{"database_url": "postgresql://embedded/zhenan", "nats_url": "nats://embedded"}')
    monkeypatch.setenv("DATABASE_URL", "postgresql://given/zhenan")
    monkeypatch.delenv("NATS_URL", raising=False)  # another test of this process may have started one
    assert config.engines().database_url == "postgresql://given/zhenan"
    assert config.engines().nats_url == "nats://embedded"


def test_the_secret_key_is_made_once_and_readable_by_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("ZHENAN_DATA", str(tmp_path))
    monkeypatch.delenv("ZHENAN_SECRET_KEY", raising=False)
    first = config.secret_key()
    assert len(first) >= 32
    assert config.secret_key() == first
    assert (tmp_path / "secret.key").stat().st_mode & 0o077 == 0
