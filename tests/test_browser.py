"""The browser that the journeys use starts, and Chinese letters have glyphs in it."""

from __future__ import annotations


def test_chromium_starts_in_chinese_with_a_font_for_it(page):
    page.set_content("<p id=a style='font-size:40px'>镇</p><p id=b style='font-size:40px'>安</p>")
    assert page.evaluate("navigator.language") == "zh-CN"
    # A missing glyph is drawn as the same box for every letter.
    assert page.locator("#a").screenshot() != page.locator("#b").screenshot()
