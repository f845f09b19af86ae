"""What an address means, and that it never shows its credentials."""

from __future__ import annotations

import pytest

from workbench.errors import InvalidAddress
from workbench.kurrent.address import Address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("esdb://localhost", "esdb://localhost:2113"),
        ("esdb://localhost:2114?tls=false", "esdb://localhost:2114"),
        ("kurrentdb://ops:s3cret@a:1,b:2,c", "kurrentdb://a:1,b:2,c:2113"),
        ("kurrentdb+discover://ops:s3cret@cluster.example?tls=true", "kurrentdb+discover://cluster.example:2113"),
        ("kdb+discover://cluster.example", "kdb+discover://cluster.example:2113"),
        ("ESDB://host", "esdb://host:2113"),
        ("esdb://[::1]?tls=false", "esdb://[::1]:2113"),
    ],
)
def test_an_address_is_shown_in_one_form_without_its_credentials(text: str, shown: str) -> None:
    address = Address.parse(text)
    assert str(address) == shown
    assert "s3cret" not in repr(address)
    assert "s3cret" not in f"{address!s}{address!r}"


def test_user_and_password_may_be_percent_encoded() -> None:
    address = Address.parse("esdb://user%40corp:p%40ss%3A%2F@host")
    assert (address.username, address.password) == ("user@corp", "p@ss:/")


def test_a_login_given_wins_over_the_address_and_the_address_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURRENTDB_USERNAME", "from-env")
    monkeypatch.setenv("KURRENTDB_PASSWORD", "env-pass")
    plain = Address.parse("esdb://host").with_login()
    assert (plain.username, plain.password) == ("from-env", "env-pass")
    own = Address.parse("esdb://a:b@host").with_login()
    assert (own.username, own.password) == ("a", "b")
    given = Address.parse("esdb://a:b@host").with_login("c", "d")
    assert (given.username, given.password) == ("c", "d")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:2113",
        "http://h:s3cret@localhost",
        "esdb://",
        "esdb://u:s3cret@",
        "esdb://u:s3cret@host:x",
        "esdb://h:0",
        "esdb://h:70000",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_with_an_example_and_without_its_password(text: str) -> None:
    with pytest.raises(InvalidAddress, match=r"write it like esdb://") as caught:
        Address.parse(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["esdb://::1:2113", "esdb://fe80::1?tls=false", "esdb://[::1"])
def test_an_ipv6_address_without_brackets_is_told_to_have_them(text: str) -> None:
    with pytest.raises(InvalidAddress, match="Write an IPv6 address in brackets"):
        Address.parse(text)
