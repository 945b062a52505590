"""URLs of proxies, and which one the environment names."""

from __future__ import annotations

import pytest

from mintws import LocalProtocolError
from mintws.session import PROXY_PORTS, Proxy, bypasses_proxy, environment_proxy, parse_proxy

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example", Proxy("http", "proxy.example", 3128)),
        ("https://proxy.example", Proxy("https", "proxy.example", 443)),
        ("socks4://proxy.example", Proxy("socks4", "proxy.example", 1080)),
        # As curl takes them.
        ("socks://proxy.example:1081/", Proxy("socks4", "proxy.example", 1081)),
        ("http://proxy.example:3128/path?query#fragment", Proxy("http", "proxy.example", 3128)),
        ("socks4a://proxy.example", Proxy("socks4a", "proxy.example", 1080)),
        ("socks5://proxy.example", Proxy("socks5", "proxy.example", 1080)),
        ("socks5h://proxy.example", Proxy("socks5h", "proxy.example", 1080)),
        ("proxy.example", Proxy("http", "proxy.example", 3128)),
        ("proxy.example:8080", Proxy("http", "proxy.example", 8080)),
        ("HTTP://Proxy.Example:8080/", Proxy("http", "proxy.example", 8080)),
        ("http://[2001:db8::1]:8080", Proxy("http", "2001:db8::1", 8080)),
        ("http://ann:secret@proxy.example", Proxy("http", "proxy.example", 3128, "ann", "secret")),
        ("http://a%3Ann@proxy.example:1", None),
        ("http://ann%40home:a%3Ab@proxy.example", Proxy("http", "proxy.example", 3128, "ann@home", "a:b")),
        ("http://ann@proxy.example", Proxy("http", "proxy.example", 3128, "ann")),
        ("socks4://ann@proxy.example", Proxy("socks4", "proxy.example", 1080, "ann")),
    ],
)
def test_urls_have_default_ports_and_credentials(url, proxy):
    if proxy is None:
        with pytest.raises(LocalProtocolError):
            parse_proxy(url)
    else:
        assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "ftp://proxy.example",
        "ws://proxy.example",
        "://proxy.example",
        "http://",
        "http://:3128",
        "http://proxy.example:0x1",
        "http://proxy.example:99999",
        "http://proxy example",
        "http://[::1",
        "http://ann:3128/secret@proxy.example",
        "http://ann:3128?secret@proxy.example",
        "http://ann:3128#secret@proxy.example",
        "http://ann:%ff@proxy.example",
        "http://ann:%0a@proxy.example",
        "socks5://ann@proxy.example",
        "socks5://ann:@proxy.example",
        "socks5://%C3%A4nn:secret@proxy.example",
        f"socks5://{'a' * 256}:secret@proxy.example",
        "http://ann:secret/x@proxy.example:3128",
        "http://ann:secret?@proxy.example",
        "http://ann:secret#1@proxy.example:3128",
        "http://ann:secret",
        "http://ann:secret\u2100@proxy.example",
        "ann:secret://x@proxy.example",
    ],
)
def test_what_is_no_proxy_is_refused(url):
    with pytest.raises(LocalProtocolError) as told:
        parse_proxy(url)
    assert "secret" not in str(told.value)


def test_a_proxy_is_a_str():
    with pytest.raises(TypeError):
        parse_proxy(b"http://proxy.example")


def test_no_representation_has_the_password():
    proxy = parse_proxy("http://ann:secret@[::1]:8080")
    assert str(proxy) == "http://[::1]:8080"
    assert "secret" not in repr(proxy)
    assert proxy.authorization == "Basic YW5uOnNlY3JldA=="


def test_names_are_resolved_as_curl_does():
    assert {name for name in PROXY_PORTS if Proxy(name, "a", 1).resolves_names} == {
        "http",
        "https",
        "socks4a",
        "socks5h",
    }


def chosen(environ, host="example.com", port=443, secure=True):
    proxy = environment_proxy(host, port, secure=secure, environ=environ)
    return proxy if proxy is None else proxy.host


def test_wss_takes_https_proxy_and_ws_http_proxy():
    environ = {"https_proxy": "http://secure", "http_proxy": "http://plain", "all_proxy": "http://any"}
    assert chosen(environ) == "secure"
    assert chosen(environ, secure=False) == "plain"
    assert chosen({"all_proxy": "http://any"}) == "any"
    assert chosen({"all_proxy": "http://any"}, secure=False) == "any"
    assert chosen({"http_proxy": "http://plain"}) is None
    assert chosen({}) is None


def test_names_of_variables_are_in_lower_case_or_else_in_upper():
    assert chosen({"HTTPS_PROXY": "http://upper"}) == "upper"
    assert chosen({"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower"}) == "lower"
    assert chosen({"HTTPS_PROXY": "http://upper", "https_proxy": ""}) is None
    assert chosen({"https_proxy": "http://a", "NO_PROXY": "example.com"}) is None


def test_a_header_of_a_cgi_request_is_no_proxy():
    environ = {"HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"}
    assert chosen(environ, secure=False) is None
    assert chosen({"HTTP_PROXY": "http://plain"}, secure=False) == "plain"


@pytest.mark.parametrize(
    "host", ["localhost", "a.localhost", "localhost.", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
)
def test_this_machine_is_reached_directly(host):
    assert chosen({"all_proxy": PROXY}, host=host) is None


def test_a_wrong_variable_is_named_and_its_value_is_not():
    with pytest.raises(LocalProtocolError, match="https_proxy") as told:
        chosen({"https_proxy": "gopher://ann:secret@proxy.example"})
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [
        ("", "example.com", False),
        ("*", "example.com", True),
        ("*", "192.0.2.1", True),
        ("example.com", "example.com", True),
        ("EXAMPLE.com", "example.com", True),
        ("example.com", "Example.COM.", True),
        ("example.com", "www.example.com", True),
        ("example.com", "badexample.com", False),
        (".example.com", "www.example.com", True),
        (".example.com", "example.com", True),
        ("*.example.com", "www.example.com", True),
        ("www.example.com", "example.com", False),
        ("a.test, example.com", "example.com", True),
        ("a.test example.com", "example.com", True),
        (" , ,", "example.com", False),
        (".", "example.com", False),
        ("example.com:443", "example.com", True),
        ("example.com:80", "example.com", False),
        ("example.com:", "example.com", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1:443", "192.0.2.1", True),
        ("192.0.2.1:80", "192.0.2.1", False),
        ("2.1", "192.0.2.1", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("10.0.0.0/8", "example.com", False),
        ("10.0.0.0/99", "10.1.2.3", False),
        ("2001:db8::/32", "2001:db8::5", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("10.0.0.0/8", "2001:db8::5", False),
        ("2001:db8::1", "2001:db8::1", True),
        ("2001:DB8:0::1", "2001:db8::1", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]:443", "2001:db8::1", True),
        ("[2001:db8::1]:80", "2001:db8::1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
    ],
)
def test_no_proxy_names_servers(no_proxy, host, bypassed):
    assert bypasses_proxy(host, 443, no_proxy) is bypassed
