"""Expressions of .NET find in Python what they find there, or are refused by name."""

import pytest

from workbench.embedded.calls.filter_expressions import UnreadableExpression, compiled


@pytest.mark.parametrize(
    ("expression", "found", "not_found"),
    [
        (r"^I1\z", "I1", "I1\n"),
        (r"^I1\Z", "I1\n", "I1\n\n"),
        (r"\p{Lu}1", "É1", "é1"),
        (r"\P{L}", "1", "é"),
        (r"[^\P{L}x]", "é", "x1"),
        (r"[\w-[b-d]]1", "a1", "c1"),
        (r"[a-z-[^aeiou]]", "u", "xyz"),
        (r"[[:alpha:]]", "a]", "a"),
        (r"(?<n>a)-\k<n>", "a-a", "a-b"),
        (r"(?'n'a)-\k'n'", "a-a", "a-b"),
        (r"(?n)(a)b", "ab", "a"),
        (r"a(?i)b", "aB", "AB"),
        (r"a(?i)b|c", "C", "A"),
        (r"(a(?i)b)c", "aBc", "aBC"),
        (r"(?i)a(?-i)b", "Ab", "AB"),
        (r"(?x) a b # c", "ab", "a b"),
        (r"(?x: a b )c", "abc", "ab c"),
        (r"(?#nothing)a", "a", "b"),
        (r"(a)?(?(1)b|c)$", "c", "d"),
        (r"x{,2}", "x{,2}", "xx"),
        (r"\x41\u00e9\e\cA", "Aé\x1b\x01", "A"),
        (r"^(?!(\$\$)?\$(ce-|et-)).*", "$svc-catch-all", "$ce-order"),
        (r"(?>a+)b", "aab", "aac"),
    ],
)
def test_an_expression_finds_what_it_finds_in_dotnet(expression: str, found: str, not_found: str) -> None:
    pattern = compiled(expression)
    assert pattern.search(found)
    assert not pattern.search(not_found)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("(", "a group is not closed"),
        (")", "a parenthesis is closed that was not opened"),
        ("[a", "a class of characters is not closed"),
        ("*", "nothing to repeat"),
        ("\\", "a backslash ends the expression"),
        ("a++", "nested quantifier"),
        ("a{2}{3}", "nested quantifier"),
        ("(?P<n>a)", "Python's"),
        (r"\N{DIGIT ONE}", "means nothing"),
        (r"\y", "means nothing"),
        ("(?<a-b>x)", "balancing groups"),
        (r"\p{IsGreek}", "only general categories"),
        (r"\p{Xx}", "no category 'Xx'"),
        (r"\Ga", "cannot be translated"),
        (r"(?<n>a)(b)\1", "references by number"),
    ],
)
def test_an_expression_that_means_nothing_or_cannot_be_translated_is_refused_by_name(expression: str, told: str) -> None:
    with pytest.raises(UnreadableExpression, match=told):
        compiled(expression)
