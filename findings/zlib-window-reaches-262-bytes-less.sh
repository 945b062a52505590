#!/usr/bin/env bash
# Surprise: zlib's DEFLATE window of 2^n bytes finds repeats only up to 2^n - 262 bytes away. With the 9 bits that
# permessage-deflate may negotiate that is 250 bytes, less than half of the window; with 12 bits, the choice of several
# WebSocket servers, a message of 3,900 bytes that is sent twice shares nothing with its first copy. zlib-ng behaves the
# same. ISA-L, which can replace zlib in aiohttp, uses the window to its end.
# Versions: Python's zlib module (seen with zlib 1.2.13), zlib-ng 1.1.0 and isal 1.9.1 from PyPI.
# Source: zlib.h names the 262 bytes once, where it tells how much of a dictionary deflateSetDictionary uses; the
# documentation of wbits in Python's zlib module and RFC 7692, section 7.1.2, give the window as 2^n bytes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check isal==1.9.1 zlib-ng==1.1.0

timeout 120 "$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import random
import zlib

from isal import isal_zlib
from zlib_ng import zlib_ng

random_text = random.Random(1)


def text(length):
    return bytes(random_text.choices(b"abcdefghijklmnopqrstuvwxyzABCDEF", k=length))


def size(library, level, bits, data):
    stream = library.compressobj(level, library.DEFLATED, -bits)
    return len(stream.compress(data) + stream.flush(library.Z_SYNC_FLUSH))


def finds(library, level, bits, distance):
    """Tell whether 200 bytes that come again `distance` bytes later cost less than 200 new ones."""
    repeated, between = text(200), text(distance - 200)
    return size(library, level, bits, repeated + between + repeated) < size(
        library, level, bits, repeated + between + text(200)
    ) - 40


def reach(library, level, bits):
    low, high = 200, 2**bits
    while low < high:
        middle = (low + high + 1) // 2
        if finds(library, level, bits, middle):
            low = middle
        else:
            high = middle - 1
    return low


print("zlib", zlib.ZLIB_RUNTIME_VERSION)
print("zlib-ng", importlib.metadata.version("zlib-ng"))
print("isal", importlib.metadata.version("isal"))
for name, library, level in (("zlib", zlib, 6), ("zlib-ng", zlib_ng, 6), ("isal", isal_zlib, 1)):
    for bits in (9, 10, 12):
        reached = reach(library, level, bits)
        print(f"{name:8} wbits {bits:2}: window {2**bits:5}, farthest repeat that it finds {reached:5}")
        if library is isal_zlib:
            assert 2**bits - reached <= 1, "isal does not use its window to the end"
        else:
            assert 2**bits - reached == 262, f"{name} does not fall 262 bytes short"

message = text(3900)
for bits in (12, 13):
    stream = zlib.compressobj(6, zlib.DEFLATED, -bits)
    costs = [len(stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)) for _ in range(2)]
    print(f"zlib, wbits {bits}: the same message of 3,900 bytes costs {costs[0]}, then {costs[1]} bytes")
    assert (costs[1] > costs[0] / 2) == (bits == 12)
PYTHON
