"""What each option of a connection string may be, and that what it may not be is refused by its name."""

from __future__ import annotations

import contextlib
import string
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidAddress, WorkbenchWarning
from workbench.kurrent.address import Address, Host
from workbench.kurrent.connection_options import KNOWN, NodePreference, Options

NUMBERS = ("maxDiscoverAttempts", "discoveryInterval", "gossipTimeout", "keepAliveInterval", "keepAliveTimeout", "defaultDeadline")


def test_without_options_the_defaults_of_the_clients_hold() -> None:
    assert Options.parse("") == Options()
    assert Address.parse("esdb://host").options == Address.parse("esdb://host/?").options == Options()


def test_names_and_words_are_read_in_any_case() -> None:
    options = Options.parse("TLS=False&NODEPREFERENCE=Follower&maxdiscoverattempts=3")
    assert (options.tls, options.node_preference, options.max_discover_attempts) == (False, NodePreference.FOLLOWER, 3)


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "tls"])
def test_an_option_that_is_given_twice_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidAddress, match=rf"{name} twice"):
        Options.parse(f"tls=false&{name}=1&{name.upper()}=1")


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("form", ["{}", "{}="])
def test_an_option_without_a_value_is_refused_by_name(name: str, form: str) -> None:
    with pytest.raises(InvalidAddress, match=rf"option {name} without a value"):
        Options.parse(form.format(name))


def test_an_option_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidAddress, match=r"unknown option keepAlive; the known ones are tls, connectionName"):
        Options.parse("keepAlive=1")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["2147483648", "99999999999999999999999", "1.5", "ten", "1_000", "%D9%A3", "0x10", "1e3"])
def test_a_number_beyond_32_bits_or_none_at_all_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidAddress, match=name):
        Options.parse(f"{name}={value}")


@pytest.mark.parametrize(("name", "least"), [("maxDiscoverAttempts", 1), ("discoveryInterval", 0), ("gossipTimeout", 1)])
def test_a_number_has_its_least_value(name: str, least: int) -> None:
    Options.parse(f"{name}={least}")
    with pytest.raises(InvalidAddress, match=rf"{name} in the address must be a whole number from {least} "):
        Options.parse(f"{name}={least - 1}")


@pytest.mark.parametrize("name", ["keepAliveInterval", "keepAliveTimeout"])
def test_a_keep_alive_of_nothing_and_less_turns_it_off_and_a_short_one_is_warned_of(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value, meant in (("0", None), ("-1", None), ("-99999999999", None), ("1000", 1000), ("2147483647", 2**31 - 1)):
            options = Options.parse(f"{name}={value}")
            assert (options.keep_alive_interval if name == "keepAliveInterval" else options.keep_alive_timeout) == meant
    with pytest.warns(WorkbenchWarning, match=rf"{name} in the address is 999 ms"):
        Options.parse(f"{name}=999")


@pytest.mark.parametrize("name", ["tls", "tlsVerifyCert", "throwOnAppendFailure"])
def test_a_switch_is_true_or_false(name: str) -> None:
    with pytest.raises(InvalidAddress, match=rf"{name} in the address must be true or false"):
        Options.parse(f"{name}=yes")


def test_a_preference_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidAddress, match="nodePreference in the address must be one of leader, follower, readonlyreplica, random"):
        Options.parse("nodePreference=replica")


def test_unverified_certificates_are_refused_by_name_with_the_way_on() -> None:
    with pytest.raises(InvalidAddress, match=r"tlsVerifyCert=false is not supported.*tlsCaFile="):
        Options.parse("tlsVerifyCert=false")
    assert Options.parse("tlsVerifyCert=false&tls=false").tls is False  # there is no certificate


@pytest.mark.parametrize(("has", "lacks"), [("userCertFile", "userKeyFile"), ("userKeyFile", "userCertFile")])
def test_a_certificate_without_its_key_is_refused_by_name(has: str, lacks: str) -> None:
    with pytest.raises(InvalidAddress, match=rf"has {has} but no {lacks}"):
        Options.parse(f"{has}=/etc/user.pem")


@pytest.mark.parametrize("name", ["caf%C3%A9", "café", "a%0Ab", "%20a", "a%20", "%00"])
def test_a_connection_name_that_no_header_can_hold_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidAddress, match="connectionName in the address must be printable ASCII"):
        Options.parse(f"connectionName={name}")
    assert Options.parse("connectionName=nightly%20copy").connection_name == "nightly copy"


def test_an_at_sign_in_an_option_is_no_password() -> None:
    address = Address.parse("esdb://host?tls=false&connectionName=x@y")
    assert address.options.connection_name == "x@y"
    assert (str(address), address.username) == ("esdb://host:2113", None)


def test_values_are_percent_decoded_and_a_plus_stays_a_plus() -> None:
    assert Options.parse("tlsCaFile=/srv/a%20b%26c+d/ca.pem").tls_ca_file == "/srv/a b&c+d/ca.pem"
    with pytest.raises(InvalidAddress, match="tlsCaFile in the address is percent-encoded"):
        Options.parse("tlsCaFile=%FF")


def test_options_of_other_clients_that_mean_nothing_here_are_taken() -> None:
    assert Options.parse("defaultDeadline=-1&throwOnAppendFailure=false&") == Options()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("host", Host("host", 2113)),
        ("my_db-1.example.:1", Host("my_db-1.example.", 1)),
        ("[::1]", Host("::1", 2113)),
        ("[fe80::1%25eth0]:65535", Host("fe80::1%eth0", 65535)),
        ("[fe80::1%eth0]", Host("fe80::1%eth0", 2113)),
    ],
)
def test_a_host_is_a_name_or_an_address_and_a_port(text: str, host: Host) -> None:
    assert Host.parse(text) == host
    assert Host.parse(str(host)) == host


@pytest.mark.parametrize(
    "text", ["::1", "[::1", "::1]", "[host]", "[]", "", "a b", "bücher.example", "h:", "h:+1", "h:\u0663", "h:0", "a:b:1"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        Host.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "esdb://u:{}/x@host",
        "esdb://u:{}?x@host:2113?tls=true",
        "esdb://u:{}?{}=y@host",
        "esdb://u:1?{}=y@host",
        "esdb://u:1?tls=true&{}@host",
        "esdb://u:1?{}&x@host",
        "esdb://u:{}#x@host",
        "esdb://host/{}",
        "esdb://host#{}",
        "esdb://u:{}%FF@host",
        "esdb://host?{}%FF=1",
    ],
)
def test_a_password_in_the_wrong_place_is_never_repeated(text: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        Address.parse(text.format("s3cret", "s3cret"))
    assert "s3cret" not in str(caught.value)


def test_a_user_name_with_a_colon_is_refused() -> None:
    with pytest.raises(InvalidAddress, match="colon"):
        Address.parse("esdb://a%3Ab:c@host").with_login()


@given(st.text(string.printable, max_size=40))
def test_any_text_is_an_address_or_an_invalid_one(rest: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WorkbenchWarning)
        for text in (rest, f"esdb://{rest}", f"esdb://host?{rest}", f"esdb://u:p@host?{rest}"):
            with contextlib.suppress(InvalidAddress):
                Address.parse(text)
