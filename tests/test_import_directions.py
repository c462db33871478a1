"""The house stands: each floor, domain and mechanism imports only what is below it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120)


def test_imports_go_only_downwards():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_an_import_upwards_is_found(tmp_path):
    package = tmp_path / "house"
    for name in ("", "cellar", "roof"):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").write_text("from house import roof\n" if name == "cellar" else "")
    (tmp_path / ".importlinter").write_text(
        "[importlinter]\nroot_package = house\n"
        "[importlinter:contract:1]\nname = floors\ntype = layers\nlayers =\n  house.roof\n  house.cellar\n"
    )
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "house.cellar is not allowed to import house.roof" in done.stdout
