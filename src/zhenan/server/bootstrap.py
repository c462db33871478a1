"""From a fresh clone to a working environment: virtual environment, pinned requirements, front-end packages.

Runs on any Python ≥ 3.11 with nothing installed, so it uses the standard library alone. What is done is remembered by
the hash of its input, so a second start skips all of it. Where packages come from is pip's and npm's own business.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zhenan.server import arguments
from zhenan.server.progress import say, step

ROOT = Path(__file__).resolve().parents[3]
VENV = Path(os.environ.get("ZHENAN_VENV") or ROOT / ".venv")
PYTHON = VENV / "bin" / "python"
PIP = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
OLDEST_NODE = 18
SETUP_LOG = VENV / "zhenan-setup.log"
COMMAND = """\
#!/bin/sh
here=$(dirname "$(readlink -f "$0" 2>/dev/null || echo "$0")")
exec "$here/python" -m zhenan.server.cli "$@"
"""


class CannotSetUp(SystemExit):
    """Set-up failed: one line with the cause and the remedy."""

    def __init__(self, what: str) -> None:
        super().__init__(f"zhenan: {what}")


def main(argv: list[str]) -> None:
    """`run ARGS`: set up, then become `zhenan up ARGS`. `setup [--dev]`: set up alone."""
    task, rest = argv[0], argv[1:]
    if task == "run":
        arguments.of_up("./run").parse_args(rest)  # a wrong argument is told before minutes of set-up
    with alone():
        set_up(dev=task == "setup" and "--dev" in rest)
    if task == "run":
        if "ZHENAN_VENV" not in os.environ:
            os.environ.pop("PYTHONPATH", None)
        sys.stdout.flush()
        os.execv(PYTHON, [str(PYTHON), "-m", "zhenan.server.cli", "up", *rest])  # noqa: S606  one process to signal


@contextmanager
def alone() -> Iterator[None]:
    """Two starts of one checkout set up one after the other."""
    VENV.parent.mkdir(parents=True, exist_ok=True)
    with (VENV.parent / f"{VENV.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this checkout")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def set_up(*, dev: bool) -> None:
    """Everything that is missing; front-end packages are fetched while Python's are installed."""
    if not _works(PYTHON):
        with step("virtual environment"):
            make_venv()
    node = _start_npm() if _npm_stale() else None
    install("base")
    if dev:
        install("dev")
    compile_source()
    if "ZHENAN_VENV" not in os.environ:  # an environment shared by several checkouts belongs to none of them
        link_package()
    if _npm_stale():
        with step("front-end packages"):
            _finish_npm(node or _start_npm(own_node=True))


def _works(python: Path) -> bool:
    try:
        return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """A virtual environment with pip; on Debian the module for it may have to be installed first."""
    made = _venv()
    if made.returncode and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Python's venv module is missing; installing it with apt-get")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", version], capture_output=True)
        made = _venv()
    if made.returncode:
        why = (made.stderr or made.stdout).strip().splitlines()
        raise CannotSetUp(
            f"no virtual environment: {why[-1] if why else 'unknown cause'}; on Debian: apt-get install python3-venv"
        )


def _venv() -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    return subprocess.run(argv, capture_output=True, text=True)


def install(name: str) -> None:
    """Install requirements/NAME.txt unless exactly that was installed before. uv where it works, else pip."""
    wanted = ROOT / "requirements" / f"{name}.txt"
    stamp = VENV / f"zhenan-{name}.stamp"
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text("ascii") == digest:
        return
    with step(f"Python packages ({name})"):
        by_uv = [str(VENV / "bin" / "uv"), "pip", "install", "-q", "--compile-bytecode", "--python", str(PYTHON), "-r",
                 str(wanted)]  # fmt: skip
        by_pip = [*PIP, "install", "--prefer-binary", "-r", str(wanted)]
        if not (_uv() and _logged(by_uv)) and not _logged(by_pip):
            raise CannotSetUp(f"the packages of {wanted.name} cannot be installed; see the end of {SETUP_LOG}")
    stamp.write_text(digest, "ascii")


def compile_source() -> None:
    """Our own modules as bytecode, once instead of at each start of each process: those may not be allowed to write it,
    in an image or as another user, and a start is three times as long without."""
    compileall.compile_dir(ROOT / "src", quiet=2, workers=0)  # skips what is compiled and has not changed


def _uv() -> bool:
    """Whether uv is there (fetched when not), and pip is not told to look elsewhere, in ways that uv does not read."""
    told = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    keys = {line.partition("=")[0].rpartition(".")[2] for line in told.splitlines()}
    if keys & {"index-url", "no-index", "proxy"}:
        return False
    return (VENV / "bin" / "uv").exists() or _logged([*PIP, "install", "uv"])


def _logged(argv: list[str], *, cwd: Path = ROOT) -> bool:
    with SETUP_LOG.open("ab") as out:
        environment = {**os.environ, "UV_SYSTEM_CERTS": "1"}
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=environment)
        return done.returncode == 0


def link_package() -> None:
    """Make `import zhenan` and the command `zhenan` work. Plain ASCII, whatever the path and the locale."""
    libraries = next(VENV.glob("lib/python3*/site-packages"))
    source = ascii(str(ROOT / "src"))
    _write(libraries / "zhenan.pth", f"import sys; sys.path.append({source})\n")
    command = VENV / "bin" / "zhenan"
    _write(command, COMMAND)
    command.chmod(0o755)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text("ascii", "replace") != text:
        path.write_text(text, "ascii")


def _npm_stamp() -> tuple[Path, str]:
    lock = ROOT / "package-lock.json"
    return ROOT / "node_modules" / ".zhenan-stamp", hashlib.sha256(lock.read_bytes()).hexdigest()


def _npm_stale() -> bool:
    stamp, digest = _npm_stamp()
    return not stamp.exists() or stamp.read_text("ascii") != digest


def _start_npm(*, own_node: bool = False) -> subprocess.Popen[bytes] | None:
    """npm at work in the background; None when this machine has no usable Node and none was asked for."""
    npm, environment = shutil.which("npm"), dict(os.environ)
    if npm is None or not _node_is_recent():
        if not own_node:
            return None
        if not _logged([*PIP, "install", "-r", str(ROOT / "requirements" / "node.txt")]):
            raise CannotSetUp(f"Node.js cannot be installed from its wheel; see the end of {SETUP_LOG}")
        npm = str(VENV / "bin" / "npm")
        environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment['PATH']}"
    out = SETUP_LOG.open("ab")
    argv = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    return subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)


def _node_is_recent() -> bool:
    try:
        told = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
        return int(told.removeprefix("v").split(".")[0]) >= OLDEST_NODE
    except (OSError, ValueError):
        return False


def _finish_npm(npm: subprocess.Popen[bytes] | None) -> None:
    if npm is None or npm.wait():
        raise CannotSetUp(f"the front-end packages cannot be fetched with npm; see the end of {SETUP_LOG}")
    stamp, digest = _npm_stamp()
    stamp.write_text(digest, "ascii")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
