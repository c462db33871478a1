"""The `zhenan` command: one-line errors, quick start, Django only where it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from zhenan.server import bootstrap, messages, supervisor


def zhenan(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "zhenan.server.cli", *arguments]
    env = {**os.environ, "ZHENAN_DEBUG": "0", **environment}
    return subprocess.run(argv, input=stdin, env=env, capture_output=True, text=True, timeout=60)


def test_a_mistyped_command_is_answered_with_the_nearest_right_one():
    done = zhenan("dcoder")
    assert done.returncode == 2
    assert (
        done.stderr == "zhenan: no command 'dcoder'; did you mean 'doctor'?\n" or "did you mean 'decode'" in done.stderr
    )


def test_help_is_there_at_once_and_names_every_command():
    zhenan("help")  # compiles the modules
    began = time.perf_counter()
    done = zhenan("help")
    assert time.perf_counter() - began < 1
    assert done.returncode == 0
    for name in (
        "up",
        "web",
        "gateway",
        "judge",
        "historian",
        "tracks",
        "worker",
        "decode",
        "doctor",
        "import",
        "packs",
        "bench",
    ):
        assert f"\n  {name} " in done.stdout


def test_decode_answers_every_line_and_never_with_a_traceback():
    done = zhenan("decode", "--protocol", "jt808", "--json", stdin="7E\nnot hex\n\n{\n")
    assert done.returncode == 0
    assert done.stdout.count('"ok":false') == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["decode", "--protocol", "jt808"], ["help"]])
def test_commands_that_need_no_database_start_without_django(arguments):
    code = (
        "import sys, runpy; sys.argv = ['zhenan', *sys.argv[1:]]\n"
        "try: runpy.run_module('zhenan.server.cli', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('django' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], input="", capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "False"


def test_a_process_starts_without_what_only_merging_needs():
    done = zhenan("judge", "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "zhenan.telemetry.judge.live" in imported
    assert "pandas" not in imported


def test_set_up_leaves_bytecode_for_those_who_may_not_write_it(tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    module = tmp_path / "src" / "one.py"
    module.write_text("ONE = 1\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    bootstrap.compile_source()
    assert Path(cache_from_source(str(module))).exists()


def test_an_error_is_one_line_and_a_traceback_only_when_asked_for():
    wrong = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    done = zhenan("territory", **wrong)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Connection refused" in done.stderr.splitlines()[-1]
    assert "Traceback" in zhenan("territory", **wrong | {"ZHENAN_DEBUG": "1"}).stderr


def test_doctor_names_what_is_not_running_and_fails(tmp_path):
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "NATS_URL": "", "MQTT_URL": ""}
    done = zhenan("doctor", ZHENAN_DATA=str(tmp_path), **nowhere)
    assert done.returncode == 1
    failing = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAIL")}
    assert {"supervisor", "pages", "database", "nats"} <= failing


def test_translations_are_compiled_once_and_a_broken_file_is_named(tmp_path):
    folder = tmp_path / "room" / "locale" / "zh_Hans" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    source = folder / "django.po"
    source.write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "Hazard"\nmsgstr "隐患"\n'
    )
    assert messages.compile_messages([tmp_path]) == 1
    assert messages.compile_messages([tmp_path]) == 0
    assert "隐患".encode() in (folder / "django.mo").read_bytes()
    source.write_text('msgid "Hazard"\nmsgster "隐患"\n')
    os.utime(source, (time.time() + 5,) * 2)
    with pytest.raises(ValueError, match=r"django\.po: not a readable message file"):
        messages.compile_messages([tmp_path])


def test_a_full_log_is_set_aside_and_its_writer_goes_on(tmp_path):
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(6):
            writer.write(b"%d" % number * 100)
            assert supervisor.turn_over(log, limit=100)
    assert log.stat().st_size == 0
    kept = [log.with_name(f"web.log.{age}").read_bytes()[:1] for age in (1, 2, 3)]
    assert kept == [b"5", b"4", b"3"]
    assert not log.with_name("web.log.4").exists()
