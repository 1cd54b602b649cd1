"""Two things usrsctp's own examples do not do, done with its library.

    sctp_abort.py                 answer whatever comes out of the blue with ABORT, for five seconds
    sctp_abort.py ADDRESS PORT    set up an association, say hello, and abort it
"""

import ctypes
import socket
import struct
import sys
import time

SOL_SOCKET, SO_LINGER, IPPROTO_SCTP = 1, 13, 132
LIBRARY = ctypes.CDLL("libusrsctp.so.2")
LIBRARY.usrsctp_socket.restype = ctypes.c_void_p


def abort(address, port):
    one = ctypes.c_void_p(LIBRARY.usrsctp_socket(
        socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP, None, None, 0, None))
    where = struct.pack("=H", socket.AF_INET)
    where += struct.pack("!H4s8x", port, socket.inet_aton(address))
    if LIBRARY.usrsctp_connect(one, where, len(where)) != 0:
        sys.exit("no association")
    LIBRARY.usrsctp_sendv(one, b"hello", 5, None, 0, None, 0, 0, 0)
    time.sleep(0.2)
    at_once = struct.pack("ii", 1, 0)
    LIBRARY.usrsctp_setsockopt(one, SOL_SOCKET, SO_LINGER, at_once, len(at_once))
    LIBRARY.usrsctp_close(one)
    time.sleep(0.2)


LIBRARY.usrsctp_init(0, None, None)
LIBRARY.usrsctp_sysctl_set_sctp_blackhole(0)
if len(sys.argv) == 3:
    abort(sys.argv[1], int(sys.argv[2]))
else:
    time.sleep(5)
