"""Check digits of GB 32100-2015 and GB 11714: vectors worked by hand, an independent checker, properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc

from zhenan.rules import credit_code

VECTORS = ["91321100MA1ABCDE8H", "91321100MA0000007A", "91321100123456788Q", "91350100M000100Y43"]
bodies = st.builds(
    lambda two, district, rest: two + district + rest,
    st.sampled_from(["91", "92", "11", "52"]),
    st.from_regex(r"[0-9]{6}", fullmatch=True),
    st.text(alphabet=credit_code.ALPHABET, min_size=9, max_size=9),
)


@pytest.mark.parametrize("code", VECTORS)
def test_the_known_codes_are_valid(code):
    assert credit_code.problem_of(code) is None


def test_the_organisation_code_of_the_worked_example():
    assert credit_code.organisation_check_character("MA1ABCDE") == "8"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("91321100MA1ABCDE8", "length"),
        ("91321100MA1ABCDE8HH", "length"),
        ("", "length"),
        ("91321100MA1ABCDE8I", "character"),
        ("91321100MA1ABCDEOH", "character"),
        ("9132110AMA1ABCDE8H", "district"),
        ("91321100MA1ABCDE8J", "check"),
        ("91321100ma1abcde8h", "character"),
    ],
)
def test_a_wrong_code_says_why(code, why):
    assert credit_code.problem_of(code) == why


@given(bodies)
def test_a_completed_code_is_valid_here_and_to_an_independent_checker(body):
    code = body + credit_code.check_character(body)
    assert credit_code.is_valid(code)
    assert uscc.calc_check_digit(body) == code[17]


@given(bodies, st.integers(0, 16), st.sampled_from(credit_code.ALPHABET))
def test_one_changed_character_is_always_noticed(body, place, other):
    code = body + credit_code.check_character(body)
    changed = code[:place] + other + code[place + 1 :]
    assert credit_code.is_valid(changed) == (changed == code)


@given(st.text(max_size=25))
def test_any_text_gets_an_answer(text):
    assert credit_code.problem_of(text) in (None, "length", "character", "district", "check")


def test_a_code_as_people_write_it_is_made_plain():
    assert credit_code.normalised(" 91321100-ma1abcde８h ") == "91321100MA1ABCDE8H"


def test_complete_puts_both_check_characters():
    assert credit_code.complete("91", "321100", "MA000000") == "91321100MA0000007A"


@pytest.mark.parametrize("body", ["", "9132110", "91321100MA1ABCDEI8"])
def test_a_body_of_the_wrong_form_is_refused(body):
    with pytest.raises(ValueError, match=r"want the first 17|not allowed"):
        credit_code.check_character(body)
