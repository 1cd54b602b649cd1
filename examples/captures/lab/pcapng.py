"""Take the names of processor and operating system out of a pcapng file; dumpcap writes them in.

A pcapng file is a row of blocks: type, length, body, length again. Only the section header and the
interface descriptions carry options that tell about the machine; everything else stays as it is.
"""

import struct

SECTION_HEADER, INTERFACE = 0x0A0D0D0A, 1
OPTIONS_AT = {SECTION_HEADER: 16, INTERFACE: 8}  # the fixed part of the body before the options
TELLING = {SECTION_HEADER: {2, 3}, INTERFACE: {12, 15}}  # hardware, os; if_os, if_hardware


def forget_the_machine(path):
    path.write_bytes(b"".join(rewritten(kind, body) for kind, body in blocks(path.read_bytes())))


def blocks(data):
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        yield kind, data[at + 8:at + length - 4]
        at += length


def rewritten(kind, body):
    if kind in OPTIONS_AT:
        fixed = OPTIONS_AT[kind]
        kept = (option for code, option in options(body[fixed:]) if code not in TELLING[kind])
        body = body[:fixed] + b"".join(kept)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def options(data):
    """Yield (code, the whole option with its padding)."""
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, at)
        end = at + 4 + (length + 3) // 4 * 4
        yield code, data[at:end]
        at = end
