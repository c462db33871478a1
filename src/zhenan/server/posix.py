"""What the supervisor asks of the operating system: ties of parent and child, PostgreSQL's account under root."""

from __future__ import annotations

import ctypes
import locale
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ACCOUNT = "zhenan-postgres"
OTHERS_ENTER = stat.S_IXOTH
OTHERS_READ = stat.S_IROTH | stat.S_IXOTH


def _prctl() -> Callable[[int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    call = ctypes.CDLL(None, use_errno=True).prctl
    return lambda option, value: int(call(option, value, 0, 0, 0))


def die_with_parent(sig: signal.Signals) -> Callable[[], None] | None:
    """For Popen's preexec_fn: the kernel sends ``sig`` to the child when its parent dies, however it dies (Linux)."""
    prctl, parent = _prctl(), os.getpid()
    if prctl is None:
        return None

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, int(sig))
        if os.getppid() != parent:  # the parent died before the tie was made
            os._exit(1)

    return in_child


def become_reaper() -> None:
    """Orphaned grandchildren come to this process, so that it can end them too (Linux)."""
    prctl = _prctl()
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def service_account(cluster: Path) -> tuple[int, int]:
    """(uid, gid) for PostgreSQL, which refuses to run as root: the cluster's owner, else an account of its own."""
    if cluster.exists() and cluster.stat().st_uid != 0:
        kept = cluster.stat()
        return kept.st_uid, kept.st_gid
    entry = _entry(ACCOUNT)
    if entry is None and shutil.which("useradd"):
        argv = [
            "useradd",
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            ACCOUNT,
        ]
        subprocess.run(argv, capture_output=True, check=False)
        entry = _entry(ACCOUNT)
    entry = entry or _entry("nobody")
    if entry is None:
        raise RuntimeError(
            f"PostgreSQL does not run as root, and account {ACCOUNT} cannot be made; run as a normal user"
        )
    return entry.pw_uid, entry.pw_gid


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def utf8_ctype() -> str:
    """A libc locale that knows Chinese letters: pg_trgm asks libc, not the builtin provider, what a letter is."""
    kept = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8", "zh_CN.UTF-8", "UTF-8"):
            try:
                locale.setlocale(locale.LC_CTYPE, name)
            except locale.Error:
                continue
            return name
    finally:
        locale.setlocale(locale.LC_CTYPE, kept)
    raise RuntimeError("this system has no UTF-8 locale (tried C.UTF-8, en_US.UTF-8, zh_CN.UTF-8); install one")


def let_pass(uid: int, *, folder: Path, programs: Path, say: Callable[[str], None]) -> None:
    """Let PostgreSQL's account reach its cluster and its programs: opens only what is closed, and says so."""
    _enter(folder.resolve(), say)
    cluster = folder / "data"
    if folder.stat().st_uid == 0 or (cluster.exists() and cluster.stat().st_uid == 0):
        _give(folder, uid)
    if _runs(programs / "postgres", uid):
        return
    package = programs.parent.parent.resolve()
    _enter(package, say)
    for tree in (package, package.with_name(f"{package.name}.libs")):
        _open(tree)


def _open(tree: Path) -> None:
    """Let others read a tree of installed files (a strict umask at the time of installing closes it)."""
    for path in (tree, *tree.rglob("*")):
        wanted = OTHERS_READ if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else stat.S_IROTH
        if path.stat().st_mode & wanted != wanted:
            path.chmod(path.stat().st_mode | wanted)


def _enter(path: Path, say: Callable[[str], None]) -> None:
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & OTHERS_ENTER:
            parent.chmod(mode | OTHERS_ENTER)
            say(f"postgres: opened {parent} for passage (not for listing), so that its own account reaches its files")


def _give(folder: Path, uid: int) -> None:
    gid = pwd.getpwuid(uid).pw_gid
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _runs(program: Path, uid: int) -> bool:
    try:
        return subprocess.run([program, "-V"], user=uid, extra_groups=[], capture_output=True, cwd="/").returncode == 0
    except PermissionError:
        return False
