"""The pictures of the README, taken in Chromium from a running demo city (./run).

    .venv/bin/python scripts/screenshots.py [--url URL] [--data DIR] [--out docs/images]

Signs in as the demo's people (their password is in the data folder) and writes one PNG a picture, each below 300 kB.
Needs Playwright (requirements/dev.txt) and Debian's Chromium.
"""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 300_000
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@dataclass(frozen=True)
class Picture:
    """A page as one role sees it. ``follow``: the link on it that is opened first; ``wait``: what must be there."""

    name: str
    role: str
    path: str
    wait: str
    follow: str = ""
    phone: bool = False
    dark: bool = False


PICTURES = (
    Picture("board", "city_office", "/board/", "#board-chart svg"),
    Picture("today", "town_office", "/", "main h1"),
    Picture(
        "alarm",
        "town_office",
        "/monitoring/alarms/?sort=-raised_at&programme=catering_gas&level=2",
        "#alarm-chart[data-drawn]:not([data-drawn='']) canvas",
        follow="main table tbody a[href*='/monitoring/alarms/']",
    ),
    Picture("hazard", "town_office", "/hazards/", "main h1", follow="main table tbody a[href*='/hazards/']"),
    Picture("map", "city_office", "/map/", "#map canvas"),
    Picture("figures", "city_office", "/indicators/", "main h1"),
    Picture("phone", "grid_worker", "/", "main h1", phone=True),
)


def take(browser: Browser, url: str, picture: Picture, account: dict[str, str], folder: Path) -> Path:
    """One picture, made small enough. Raises ValueError when it cannot be."""
    context = browser.new_context(
        viewport=PHONE if picture.phone else DESK,
        device_scale_factor=2 if picture.phone else 1,
        is_mobile=picture.phone,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
    )
    page = context.new_page()
    sign_in(page, url, account)
    page.goto(url + picture.path)
    if picture.follow:
        page.locator(picture.follow).first.click()
        page.wait_for_url(lambda where: not where.partition("?")[0].endswith(picture.path.partition("?")[0]))
    page.locator(picture.wait).first.wait_for(state="visible", timeout=20_000)
    page.wait_for_timeout(1500)  # charts and tiles finish drawing
    path = folder / f"{picture.name}.png"
    page.screenshot(path=path)
    context.close()
    return shrunk(path)


def sign_in(page: Page, url: str, account: dict[str, str]) -> None:
    page.goto(f"{url}/accounts/login/")
    page.locator("input[name=login]").fill(account["username"])
    page.locator("input[name=password]").fill(account["password"])
    page.locator("form:has(input[name=password]) [type=submit]").click()
    page.wait_for_url(lambda where: "/accounts/login" not in where)


def shrunk(path: Path) -> Path:
    """The same picture with fewer colours, and smaller if need be, until it is below the bound."""
    image = Image.open(path).convert("RGB")
    for colours, scale in ((256, 1.0), (128, 1.0), (128, 0.8), (64, 0.66)):
        small = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.LANCZOS)
        small.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return path
    raise ValueError(f"{path}: {path.stat().st_size} bytes, at most {MOST_BYTES}")


def accounts_of(data: Path) -> dict[str, dict[str, str]]:
    """An account by role, with the demo's password."""
    path = data / "demo-accounts.json"
    if not path.exists():
        raise SystemExit(f"screenshots: no {path}; start ./run with its demo city first")
    told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {a["role"]: {"username": a["username"], "password": told["password"]} for a in reversed(told["accounts"])}


def main() -> int:
    """Take every picture; a line each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="")
    parser.add_argument("--data", type=Path, default=ROOT / ".data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    asked = parser.parse_args()
    running = asked.data / "run" / "engines.json"
    url = (asked.url or json.loads(running.read_text("utf-8"))["web_url"]).rstrip("/")
    accounts = accounts_of(asked.data)
    asked.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--lang=zh-CN", "--enable-unsafe-swiftshader"]
        )
        for picture in PICTURES:
            path = take(browser, url, picture, accounts[picture.role], asked.out)
            sys.stdout.write(f"{path} {path.stat().st_size // 1000} kB\n")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
