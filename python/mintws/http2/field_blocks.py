"""Header blocks that are not worth decoding: hpack takes 10 µs for a field, however short."""

from __future__ import annotations

from collections.abc import Iterable

import hpack
from hpack.exceptions import HPACKDecodingError, OversizedHeaderListError

#: The most fields of a header block. Gateways pass 100 or so.
FIELDS_LIMIT = 512


class Decoder(hpack.Decoder):
    """A decoder that refuses a block of more than `FIELDS_LIMIT` fields before it decodes any.

    The table of who has sent it is unknown from then on, so that the connection has to end (RFC 9113 §10.5.1).
    """

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        # A field takes a byte at least.
        if len(data) > FIELDS_LIMIT and count_fields(data, FIELDS_LIMIT + 1) > FIELDS_LIMIT:
            # h2 says "Oversized header block: ".
            raise OversizedHeaderListError(f"it has more than {FIELDS_LIMIT} fields")
        return super().decode(data, raw)


def count_fields(block: bytes, most: int) -> int:
    """Count the fields of a header block, up to `most`, by their lengths alone (RFC 7541 §6).

    Where the block ends too early, those before are counted: the decoder finds the fault.

    Raises:
        HPACKDecodingError: an integer is longer than any that is needed (RFC 7541 §5.1).
    """
    at = count = 0
    try:
        while at < len(block) and count < most:
            first = block[at]
            if first & 0x80:
                _, at = _integer(block, at, 7)
            elif first & 0xE0 == 0x20:
                # An update of the table's size is no field.
                _, at = _integer(block, at, 5)
                continue
            else:
                index, at = _integer(block, at, 6 if first & 0x40 else 4)
                for _ in range(1 if index else 2):
                    length, at = _integer(block, at, 7)
                    at += length
            count += 1
    except IndexError:
        pass
    return count


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """Read an integer with a prefix of so many bits (RFC 7541 §5.1), and give it with where it ends."""
    full = (1 << bits) - 1
    value = block[at] & full
    at += 1
    if value < full:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 28:
            raise HPACKDecodingError("an integer has more than 5 continuation bytes")
