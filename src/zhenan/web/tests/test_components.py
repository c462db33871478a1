"""Badges and numbers: words beside every colour, spans that a person reads at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.template import Context, Template
from django.utils import timezone, translation

from zhenan.web.templatetags.zhenan import deadline, level, number, progress, span_words, status


@pytest.fixture(autouse=True)
def _english():
    with translation.override("en"):
        yield


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a minute"), (59, "less than a minute"), (60, "1 minute"), (3599, "59 minutes"), (3600, "1 hour"),
        (3660, "1 h 1 min"), (43200, "12 hours"), (172799, "47 hours"), (172800, "2 days"), (-86400 * 9, "9 days"),
    ],
)  # fmt: skip
def test_a_span_is_said_in_its_fitting_words(seconds, words):
    assert span_words(seconds) == words


@pytest.mark.parametrize(
    ("hours", "tone", "words"),
    [(-1, "red", "overdue"), (5, "orange", "left"), (30, "yellow", "left"), (24 * 10, "blue", "left")],
)
def test_a_deadline_changes_its_colour_as_time_runs_out(hours, tone, words):
    html = deadline(timezone.now() + timedelta(hours=hours, seconds=1))
    assert f"tone-{tone}" in html
    assert words in html


def test_a_stopped_clock_says_whether_it_was_in_time():
    due = timezone.now()
    assert "tone-green" in deadline(due, closed=due - timedelta(hours=1))
    assert "2 days late" in deadline(due, closed=due + timedelta(days=2, minutes=1))
    assert "tone-green" in deadline(due - timedelta(days=9), closed=True)
    assert "no deadline" in deadline(None)


def test_levels_and_states_have_words_and_escape_what_comes():
    assert "level-1" in level(1)
    assert "Level 1" in level("1")
    assert "level-" not in level(7)
    assert "&lt;b&gt;" in status("<b>", "nonsense")
    assert "tone-grey" in status("x", "nonsense")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (1234567, "1,234,567"),
        (96.4, "96.4"),
        (12.0, "12"),
        (0.25, "0.25"),
        (1234.56, "1,234.6"),
        (0.005, "0.01"),
        (float("nan"), "nan"),
        ("n/a", "n/a"),
    ],
)
def test_numbers_are_grouped_and_have_no_needless_digits(value, shown):
    assert number(value) == shown


def test_progress_never_leaves_its_bar():
    assert progress(5, 0)["pct"] == 0
    assert progress(9, 4)["pct"] == 100
    assert progress(1, 3)["pct"] == 33.3


def test_a_form_field_names_its_error_to_screen_readers():
    from zhenan.web.forms import PasswordForm

    html = Template("{% load zhenan %}{% form_fields form %}").render(Context({"form": PasswordForm({})}))
    assert 'aria-describedby="id_password_errors id_password_help"' in html
    assert 'aria-invalid="true"' in html
