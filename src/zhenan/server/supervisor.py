"""Start the engines and every process, start again what dies, stop all of it together.

One thread, one loop. Each child has a session of its own and is tied to this process (posix.die_with_parent), so that
neither Ctrl-C at the terminal nor a killed supervisor leaves anything running.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from zhenan.server import embedded, posix
from zhenan.server.embedded import Engine, Say
from zhenan.server.services import NOT_BUILT, Service

LOG_BYTES = 20 * 1024 * 1024
LOGS_KEPT = 3
STEADY_S = 60  # running this long, a process has earned a fresh count of restarts
LONGEST_PAUSE_S = 30
STOP_S = 10
KILL = signal.SIGKILL


class AlreadyRunning(SystemExit):
    """Another supervisor holds this data folder."""

    def __init__(self, holder: str) -> None:
        super().__init__(
            f"zhenan: already running on this data folder ({holder}); stop that one first, or name another --data"
        )


@dataclass
class Child:
    """One supervised process and what became of it."""

    name: str
    argv: Callable[[], list[str]]
    options: Callable[[], dict[str, Any]] = dict
    prepare: Callable[[Say], None] = lambda _: None
    stop_signal: signal.Signals = signal.SIGTERM
    tie_signal: signal.Signals = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = None
    state: str = "waiting"  # waiting, running, pausing, absent, stopped
    started: float = 0
    restarts: int = 0
    failures: int = 0
    next_start: float = 0
    last_exit: int | None = None
    history: list[str] = field(default_factory=list)

    @classmethod
    def of_engine(cls, engine: Engine) -> Child:
        return cls(
            name=engine.name,
            argv=engine.argv,
            options=engine.popen_options,
            prepare=engine.prepare,
            stop_signal=engine.stop_signal,
            tie_signal=engine.stop_signal,  # an engine ends cleanly when the supervisor was killed
        )

    @classmethod
    def of_service(cls, service: Service) -> Child:
        return cls(name=service.name, argv=service.argv)


class Supervisor:
    """Owns the data folder's lock, the children and the status file."""

    def __init__(self, data: Path, *, say: Say, env: dict[str, str] | None = None) -> None:
        self.data, self.say, self.env = data, say, env or {}
        self.children: dict[str, Child] = {}
        self.engines: dict[str, Engine] = {}
        self.url = ""
        self.began = time.time()
        self.stopping = False
        self.written = 0.0
        self.lock = self._take_lock()
        posix.become_reaper()

    def _take_lock(self) -> IO[str]:
        path = self.data / "run" / "supervisor.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise AlreadyRunning(handle.read().strip() or "starting") from None
        handle.truncate(0)
        handle.write(f"process {os.getpid()}")
        handle.flush()
        return handle

    def catch_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP ask for an orderly stop."""
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, self._asked_to_stop)

    def _asked_to_stop(self, *_: object) -> None:
        if self.stopping:
            return
        self.stopping = True
        raise KeyboardInterrupt

    # starting

    def start_engine(self, engine: Engine) -> None:
        """Start an engine and wait until it answers."""
        child = Child.of_engine(engine)
        self.children[engine.name], self.engines[engine.name] = child, engine
        child.process = embedded.start(engine, log=self.log_of(child), say=self.say)
        child.state, child.started = "running", time.time()
        self.write_status()

    def add(self, services: Iterable[Service]) -> None:
        """Start processes; they are not waited for."""
        for service in services:
            self.children[service.name] = Child.of_service(service)
            self._launch(self.children[service.name])
        self.write_status()

    def log_of(self, child: Child) -> Path:
        return self.data / "logs" / f"{child.name}.log"

    def _launch(self, child: Child) -> None:
        log = self.log_of(child)
        log.parent.mkdir(parents=True, exist_ok=True)
        options = child.options()
        environment = {**options.pop("env", os.environ), **self.env}
        with log.open("ab") as out:
            child.process = subprocess.Popen(
                child.argv(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,
                preexec_fn=posix.die_with_parent(child.tie_signal),
                **options,
            )
        child.state, child.started = "running", time.time()

    # watching

    def watch(self) -> None:
        """Keep everything running until a signal comes."""
        while not self.stopping:
            self.tick()
            time.sleep(0.2)

    def tick(self) -> None:
        """One look at every child: notice deaths, start again what has paused long enough, turn logs over."""
        now = time.time()
        for child in self.children.values():
            if child.state == "running" and child.process is not None and child.process.poll() is not None:
                self._died(child, child.process.returncode, now)
            elif child.state == "pausing" and now >= child.next_start:
                self._again(child)
        self._reap_orphans()
        if now - self.written > 2:
            for child in self.children.values():
                turn_over(self.log_of(child))
            self.write_status()

    def _died(self, child: Child, status: int, now: float) -> None:
        child.last_exit = status
        if status == NOT_BUILT:
            child.state = "absent"
            self._note(child, "process.absent", "is not part of this installation")
            return
        child.failures = 0 if now - child.started > STEADY_S else child.failures + 1
        pause = 0.2 if child.failures <= 1 else min(LONGEST_PAUSE_S, 0.5 * 2 ** (child.failures - 2))
        child.state, child.next_start = "pausing", now + pause
        how = (
            f"was ended by signal {-child.last_exit}" if child.last_exit < 0 else f"ended with status {child.last_exit}"
        )
        self._note(
            child, "process.died", f"{how}; starting it again in {pause:g} s (log: {self.log_of(child)})", pause_s=pause
        )

    def _again(self, child: Child) -> None:
        child.restarts += 1
        try:
            child.prepare(self.say)
            self._launch(child)
        except (OSError, embedded.EngineError) as err:
            child.failures += 1
            child.next_start = time.time() + min(LONGEST_PAUSE_S, 0.5 * 2**child.failures)
            self._note(child, "process.not_started", f"could not be started: {err}")
            return
        self._note(child, "process.restarted", f"is running again (start {child.restarts + 1})")

    def _note(self, child: Child, event: str, words: str, **more: object) -> None:
        """A line for people on the terminal, a structured one in the supervisor's log."""
        self.say(f"{child.name} {words}")
        line = {
            "event": event,
            "level": "warning",
            "logger": "zhenan.supervisor",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "process": child.name,
            "exit": child.last_exit,
            "restarts": child.restarts,
            **more,
        }
        with (self.data / "logs" / "supervisor.log").open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _reap_orphans(self) -> None:
        """Collect ended grandchildren that came to us when their parent died."""
        ours = {child.process.pid for child in self.children.values() if child.process is not None}
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.Error, ChildProcessError):
                if process.pid not in ours and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)

    def write_status(self) -> None:
        """What `zhenan doctor` reads."""
        self.written = time.time()
        processes = {
            child.name: {
                "pid": child.process.pid if child.process is not None and child.state == "running" else None,
                "state": child.state,
                "since": child.started,
                "restarts": child.restarts,
                "last_exit": child.last_exit,
            }
            for child in self.children.values()
        }
        status = {"pid": os.getpid(), "began": self.began, "at": self.written, "url": self.url, "processes": processes}
        path = self.data / "run" / "status.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(status), "utf-8")
        fresh.replace(path)

    # stopping

    def stop(self) -> None:
        """Stop everything: processes first, then the engines they use, newest first; then whatever they left behind."""
        self.stopping = True
        engines = [child for child in self.children.values() if child.name in ("postgres", "nats")]
        services = [child for child in self.children.values() if child not in engines]
        self._end(services)
        self._end_strays({child.process.pid for child in engines if child.process is not None})
        self._end(engines)
        self._end_strays(set())
        for name in ("status.json", "engines.json"):
            (self.data / "run" / name).unlink(missing_ok=True)

    def _end(self, children: list[Child]) -> None:
        for child in children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(child.stop_signal)
        deadline = time.monotonic() + STOP_S
        for child in children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{child.name} did not stop within {STOP_S} s and is ended")
                child.process.kill()
                child.process.wait(5)
            child.state = "stopped"

    def _end_strays(self, spared: set[int]) -> None:
        strays = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process().children():
                if process.pid not in spared:
                    strays += [process, *process.children(recursive=True)]
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.kill()
        psutil.wait_procs(strays, timeout=3)


def turn_over(log: Path, *, limit: int = LOG_BYTES) -> bool:
    """Copy a full log aside and empty it (its writer appends, so it goes on in the emptied file). True when done."""
    try:
        if log.stat().st_size < limit:
            return False
    except FileNotFoundError:
        return False
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
    return True


def end_leftovers(data: Path, say: Say) -> None:
    """End processes that an earlier, killed supervisor of this data folder listed and that are still running."""
    path = data / "run" / "status.json"
    try:
        listed = json.loads(path.read_text("utf-8"))["processes"]
    except (FileNotFoundError, ValueError, KeyError):
        return
    for name, known in listed.items():
        if name in ("postgres", "nats") or not known.get("pid"):
            continue  # engines know how to find and stop a forerunner
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(known["pid"])
            if abs(process.create_time() - known["since"]) < 5 and "zhenan.server.cli" in process.cmdline():
                say(f"{name}: ending process {process.pid}, left over from an earlier run")
                process.kill()
                process.wait(5)
    path.unlink(missing_ok=True)
