"""A wrong option raises where it is given, not when the first WebSocket opens."""

import inspect
import typing

import pytest
from wire import opened

from mintws import Connection, Http1, Http2, LocalProtocolError, Role
from mintws.connection import Options, check_options

WRONG = [
    ({"limit": -1}, LocalProtocolError),
    ({"limit": 1 << 63}, LocalProtocolError),
    ({"limit": 1e6}, TypeError),
    ({"limit": "5"}, TypeError),
    ({"limit": True}, TypeError),
    ({"max_frame": 0}, LocalProtocolError),
    ({"max_frame": -1}, LocalProtocolError),
    ({"max_frame": 1 << 63}, LocalProtocolError),
    ({"max_frame": 65536.0}, TypeError),
    ({"max_frame": True}, TypeError),
    ({"parts": 1}, TypeError),
    ({"parts": None}, TypeError),
    ({"text_as_bytes": "x"}, TypeError),
    ({"auto_pong": None}, TypeError),
    ({"entropy": b"x"}, TypeError),
]


@pytest.fixture(params=[Http1, Http2])
def carrier(request):
    return request.param


@pytest.mark.parametrize(("options", "error"), WRONG, ids=str)
def test_wrong_option_raises_where_it_is_given(carrier, options, error):
    for role in Role:
        with pytest.raises(error, match=next(iter(options))):
            carrier(role, **options)
        with pytest.raises(error, match=next(iter(options))):
            Connection(role, carrier(role), **options)
    with pytest.raises(error, match=next(iter(options))):
        check_options(options)


@pytest.mark.parametrize("role", [0, 1, "client", None, True])
def test_role_is_a_role(carrier, role):
    with pytest.raises(TypeError):
        carrier(role)
    with pytest.raises(TypeError):
        Connection(role, carrier(Role.CLIENT))


@pytest.mark.parametrize("case", ["upper", "", None, 5])
def test_header_case_is_title_or_lower(case):
    with pytest.raises(LocalProtocolError, match="header_case"):
        Http1(Role.CLIENT, header_case=case)


def test_each_option_reaches_the_connection():
    options: Options = {
        "limit": 0,
        "memory_limit": 2 << 20,
        "max_frame": 1,
        "parts": True,
        "text_as_bytes": True,
        "auto_pong": False,
        "entropy": bytes,
    }
    assert options.keys() == Options.__annotations__.keys()
    check_options(options)
    for cls in [Http1, Http2]:
        opened(cls, **options)
    opened(Http1, limit=(1 << 63) - 1)
    opened(Http1, limit=None)
    opened(Http1, max_frame=(1 << 63) - 1)
    opened(Http1, max_frame=None)


@pytest.mark.parametrize("cls", [Http1, Connection])
def test_the_signature_shows_the_options_and_their_types(cls):
    shown = inspect.signature(cls).parameters
    assert Options.__annotations__.keys() <= shown.keys()
    hints = typing.get_type_hints(cls.__init__)
    assert {name: hints[name] for name in Options.__annotations__} == typing.get_type_hints(Options)
