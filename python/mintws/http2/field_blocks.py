"""Header blocks that are not worth decoding: hpack takes 10 µs for a field, however short."""

from __future__ import annotations

import re
from collections.abc import Iterable

import hpack
from hpack.exceptions import HPACKDecodingError, HPACKError, OversizedHeaderListError

from mintws import _core

#: The most fields of a header block. Gateways pass 100 or so.
FIELDS_LIMIT = 512

#: How hpack names the bytes that it could not decode: by the address of its buffer.
_BUFFER = re.compile(r"(?: from|:) <memory at [^>]*>")


class Decoder(hpack.Decoder):
    """A decoder that refuses a block of more than `FIELDS_LIMIT` fields before it decodes any.

    The table of who has sent it is unknown from then on, so that the connection has to end (RFC 9113 §10.5.1).
    """

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        # A field takes a byte at least.
        if len(data) > FIELDS_LIMIT:
            fields = _core.count_fields(data, FIELDS_LIMIT + 1)
            if fields is None:
                raise HPACKDecodingError("an integer has more than 5 continuation bytes")
            if fields > FIELDS_LIMIT:
                # h2 says "Oversized header block: ".
                raise OversizedHeaderListError(f"it has more than {FIELDS_LIMIT} fields")
        try:
            return super().decode(data, raw)
        except HPACKDecodingError as error:
            raise type(error)(describe(error)) from error


def describe(error: HPACKError) -> str:
    """Say what hpack has found wrong, without addresses of memory."""
    return _BUFFER.sub("", str(error))
