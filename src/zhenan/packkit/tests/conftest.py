"""A little pack on disk that tests may spoil."""

from pathlib import Path

import pytest

from zhenan.packkit import registry as registry_module
from zhenan.packkit.scaffold import new_pack


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return new_pack("cold_stores", tmp_path)


@pytest.fixture(autouse=True)
def fresh_registry():
    registry_module.invalidate()
    yield
    registry_module.invalidate()


@pytest.fixture
def spoil(pack: Path):
    """Replace a text in one file of the pack, and be sure it was there."""

    def change(file: str, old: str, new: str) -> None:
        path = pack / file
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    return change
