"""A PPP that is just enough for PPTP: both ends run it where pppd would be run.

It speaks HDLC framing (RFC 1662) on its standard input and output, as pppd does on a terminal:
LCP (RFC 1661) with a magic number, LCP echoes, IPCP (RFC 1332) with an address, then pings. It asks
for nothing that the other end, being the same program, could refuse.

    ppp_peer.py ADDRESS [PEER]    with PEER it is the end that pings and then hangs up
"""

import os
import select
import socket
import struct
import sys
import time
import tty

FLAG, ESCAPE = 0x7E, 0x7D
LCP, IPCP, IPV4 = 0xC021, 0x8021, 0x0021
REQUEST, ACK, TERMINATE, TERMINATED, ECHO, ECHOED = 1, 2, 5, 6, 9, 10


def fcs(frame):
    """The 16-bit frame check sequence of RFC 1662."""
    check = 0xFFFF
    for byte in frame:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ (0x8408 if check & 1 else 0)
    return struct.pack("<H", check ^ 0xFFFF)


def send(protocol, payload):
    frame = b"\xff\x03" + struct.pack("!H", protocol) + payload
    stuffed = bytearray([FLAG])
    for byte in frame + fcs(frame):
        plain = byte >= 0x20 and byte not in (FLAG, ESCAPE)
        stuffed += bytes([byte]) if plain else bytes((ESCAPE, byte ^ 0x20))
    os.write(1, bytes(stuffed + bytes([FLAG])))


def control(protocol, code, number, data=b""):
    send(protocol, struct.pack("!BBH", code, number, 4 + len(data)) + data)


def frames():
    """Yield (protocol, payload) as they come; None when a second passes without any."""
    waiting, escaped = bytearray(), False
    while True:
        ready, _, _ = select.select([0], [], [], 1.0)
        if not ready:
            yield None
            continue
        try:
            block = os.read(0, 4096)
        except OSError:
            return
        if not block:
            return
        for byte in block:
            if byte == FLAG:
                if len(waiting) > 6 and fcs(waiting[:-2]) == bytes(waiting[-2:]):
                    yield struct.unpack("!H", waiting[2:4])[0], bytes(waiting[4:-2])
                waiting.clear()
            elif byte == ESCAPE:
                escaped = True
            else:
                waiting.append(byte ^ 0x20 if escaped else byte)
                escaped = False


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


def ping(own, peer, kind, rest):
    message = bytes((kind, 0, 0, 0)) + rest
    message = message[:2] + checksum(message) + message[4:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(message), 1, 0, 64, 1, 0, own, peer)
    send(IPV4, header[:10] + checksum(header) + header[12:] + message)


def main():
    own = socket.inet_aton(sys.argv[1])
    peer = socket.inet_aton(sys.argv[2]) if len(sys.argv) > 2 else None
    if os.isatty(0):
        tty.setraw(0)
    magic, pings = os.urandom(4), 0
    control(LCP, REQUEST, 1, b"\x05\x06" + magic)
    for frame in frames():
        if frame is None:  # the other end was not listening yet
            control(LCP, REQUEST, 1, b"\x05\x06" + magic)
            continue
        protocol, payload = frame
        code, number, data = payload[0], payload[1], payload[4:]
        if protocol in (LCP, IPCP) and code == REQUEST:
            control(protocol, ACK, number, data)
        elif protocol == LCP and code == ACK:
            control(IPCP, REQUEST, 2, b"\x03\x06" + own)
        elif protocol == LCP and code == ECHO:
            control(LCP, ECHOED, number, magic + data[4:])
        elif protocol == LCP and code == TERMINATE:
            control(LCP, TERMINATED, number)
            time.sleep(1.5)  # leave it to the caller to clear the call
            return
        elif protocol == LCP and code == TERMINATED:
            return
        elif protocol == IPCP and code == ACK and peer:
            control(LCP, ECHO, 3, magic)
            ping(own, peer, 8, struct.pack("!HH", 1, 0) + bytes(56))
        elif protocol == IPV4 and payload[20] == 8:
            ping(payload[16:20], payload[12:16], 0, payload[24:])
        elif protocol == IPV4 and payload[20] == 0:
            pings += 1
            time.sleep(0.2)
            if pings < 4:
                ping(own, peer, 8, struct.pack("!HH", 1, pings) + bytes(56))
            else:
                control(LCP, TERMINATE, 4)


main()
