"""Two ends of an IRC conversation, one of which sends the other a file directly (DCC SEND).

    irc_peer.py offer SERVER OWN FILE   logs in, waits for the other, offers a file and serves it
    irc_peer.py take SERVER             logs in, says to the other that it is ready, takes what is offered

What is offered names an address as a number and a port, in the text of a message: whoever translates
addresses on the way must translate these as well.
"""

import ipaddress
import pathlib
import re
import socket
import sys

PATIENCE = 10


class Session:
    """A connection to an IRC server, by name."""

    def __init__(self, server, name):
        self.socket = socket.create_connection((server, 6667), PATIENCE)
        self.lines = self.socket.makefile("r", newline="\r\n", errors="replace")
        self.say(f"NICK {name}", f"USER {name} 0 * :{name}")
        self.wait(" 001 ")

    def say(self, *lines):
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def wait(self, word):
        """The next line that holds a word; the server's pings are answered on the way."""
        for line in self.lines:
            if line.startswith("PING"):
                self.say(line.strip().replace("PING", "PONG", 1))
            elif word in line:
                return line
        raise RuntimeError(f"the server never said {word!r}")


def offer(server, own, file):
    data = pathlib.Path(file).read_bytes()
    session = Session(server, "alice")
    listener = socket.create_server((own, 0))
    listener.settimeout(PATIENCE)
    number, port = int(ipaddress.ip_address(own)), listener.getsockname()[1]
    session.wait("ready")
    session.say(f"PRIVMSG bob :\x01DCC SEND page.html {number} {port} {len(data)}\x01")
    connection, _ = listener.accept()
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(4096):
        pass
    session.say("QUIT :done")


def take(server):
    session = Session(server, "bob")
    session.say("PRIVMSG alice :ready")
    found = re.search(r"DCC SEND \S+ (\d+) (\d+) (\d+)", session.wait("DCC SEND"))
    number, port, size = map(int, found.groups())
    connection = socket.create_connection((str(ipaddress.ip_address(number)), port), PATIENCE)
    taken = 0
    while taken < size:
        taken += len(connection.recv(4096))
        connection.sendall(taken.to_bytes(4, "big"))
    connection.close()
    session.say("QUIT :thanks")


if __name__ == "__main__":
    {"offer": offer, "take": take}[sys.argv[1]](*sys.argv[2:])
