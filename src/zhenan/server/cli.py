"""The `zhenan` command. Each command's module is imported only when it is asked for; Django only where it is needed."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from zhenan.server.services import NOT_BUILT

Main = Callable[[list[str]], int | None]


@dataclass(frozen=True)
class Command:
    """Where a command lives ("module:function"), what it does, and whether Django is set up before it is called."""

    where: str
    help: str
    django: bool = True


COMMANDS = {
    "up": Command(
        "zhenan.server.up:main", "engines, set-up, demo city and every process, under one supervisor", django=False
    ),
    "prepare": Command("zhenan.server.prepare:main", "messages, migrations, packs, territory, demo city", django=False),
    "web": Command("zhenan.server.web:main", "the pages and the API", django=False),
    "gateway": Command("zhenan.server.processes.gateway:main", "protocols of devices → the log"),
    "judge": Command("zhenan.server.processes.judge:main", "readings → alarms; with --input FILE.csv: judge a file"),
    "historian": Command("zhenan.server.processes.historian:main", "readings → history tables"),
    "tracks": Command("zhenan.server.processes.tracks:main", "positions → fences, tracks, last positions"),
    "worker": Command("zhenan.server.worker:main", "background jobs and schedules"),
    "simulate": Command("zhenan.server.processes.simulator:main", "synthetic devices speaking real protocols"),
    "replay": Command("zhenan.server.replay:main", "recorded device messages sent again"),
    "territory": Command("zhenan.server.prepare:territory_main", "load the city's divisions and boundaries"),
    "demo": Command("zhenan.server.demo:main", "build the demo city: --scale S --seed N"),
    "decode": Command("zhenan.server.decode:main", "device messages on stdin → JSON lines", django=False),
    "backtest": Command("zhenan.domains.backtest.commands:main", "run a rule over history before it goes live"),
    "import": Command("zhenan.kernel.imports.commands:import_main", "import TYPE FILE [--dry-run]"),
    "export": Command("zhenan.kernel.imports.commands:export_main", "export TYPE"),
    "packs": Command("zhenan.packkit.commands:main", "check, list, new, sync programme packs"),
    "indicators": Command("zhenan.domains.indicators.commands:main", "figures: --as-of DATE --division CODE --json"),
    "bench": Command("zhenan.server.bench:main", "measure, as ratios to a floor of the same run", django=False),
    "user": Command("zhenan.server.user:main", "make a person who can sign in, or set a new password"),
    "doctor": Command("zhenan.server.doctor:main", "what is running, versions, lag, disk"),
    "compilemessages": Command("zhenan.server.messages:main", "translations, where they changed", django=False),
}
JUDGE_A_FILE = Command("zhenan.telemetry.judge.cli:main", "judge a file of readings", django=False)
PACKS_WITHOUT_DJANGO = ("check", "new")


class Refused(Exception):
    """The command cannot be done as asked; the text is the whole message. ``status`` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def chosen(name: str, argv: list[str]) -> Command | None:
    """The entry for a command line; None leaves it to Django's own commands."""
    if name == "judge" and any(part.split("=")[0] == "--input" for part in argv):
        return JUDGE_A_FILE
    if name == "packs" and argv[:1] and argv[0] in PACKS_WITHOUT_DJANGO:
        return Command(COMMANDS[name].where, COMMANDS[name].help, django=False)
    return COMMANDS.get(name)


def load(name: str, command: Command) -> Main:
    """Import a command's function. Raises Refused when this installation does not have the module."""
    module, _, function = command.where.partition(":")
    if not _exists(module):
        raise Refused(f"{name}: not built in this installation (no module {module})", NOT_BUILT)
    if command.django:
        _set_up_django()
    found: Main = getattr(importlib.import_module(module), function)
    return found


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zhenan.server.settings")
    import django

    django.setup()


def run(argv: list[str]) -> int:
    """Do one command line; the exit status."""
    name, rest = (argv[0], argv[1:]) if argv else ("help", [])
    if name in ("help", "-h", "--help"):
        sys.stdout.write(usage() + "\n")
        return 0
    if name in ("version", "--version"):
        from zhenan import __version__

        sys.stdout.write(f"zhenan {__version__}\n")
        return 0
    command = chosen(name, rest)
    if command is not None:
        return int(load(name, command)(rest) or 0)
    return _django_command(name, argv)


def _django_command(name: str, argv: list[str]) -> int:
    """Management commands of Django and of the apps: makemigrations, migrate, shell …"""
    _set_up_django()
    from django.core.management import ManagementUtility, get_commands

    if name not in get_commands():
        near = difflib.get_close_matches(name, [*COMMANDS, *get_commands()], 1)
        raise Refused(
            f"no command {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; `zhenan help` lists them"), 2
        )
    ManagementUtility(["zhenan", *argv]).execute()
    return 0


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["usage: zhenan COMMAND …", "", *lines, "", "and Django's own commands (migrate, makemigrations, shell …)"]
    )


def main() -> None:
    """Entry point: an error is one line that says what was wrong; ZHENAN_DEBUG=1 shows the traceback."""
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader (head, a pager) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
    except Exception as err:
        if os.environ.get("ZHENAN_DEBUG", "").lower() in ("1", "true", "yes", "on"):
            raise
        lines = str(err).strip().splitlines() or [type(err).__name__]
        told = (
            lines[0]
            if isinstance(err, Refused | ValueError | OSError) or hasattr(err, "message")
            else f"{type(err).__name__}: {lines[0]}"
        )
        sys.stderr.write(f"zhenan: {told}\n")
        status = getattr(err, "status", 1) if isinstance(err, Refused) else 1
    sys.exit(status)


if __name__ == "__main__":
    main()
