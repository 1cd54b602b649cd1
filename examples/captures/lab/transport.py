"""TCP, UDP and UDP-Lite: what happens between two ends, and what only part of it looks like.

Where no program does a thing on demand, this file opens the sockets itself, inside the two
namespaces; the packets are still the kernel's own. A packet lost at the `input` of a host was seen
by the capture; one that the gateway loses at `prerouting`, coming from the server, was not.
"""

import contextlib
import socket
import struct
import time

from lab import servers
from lab.catalogue import topic
from lab.network import CLIENT, GATEWAY, SERVER

PERSON, SITE = "192.168.1.10", "203.0.113.5"
PERSON6, SITE6 = "fd00:1::10", "fd00:2::5"
CURL = ("curl", "-sS", "-o", "/dev/null")
PAIRS = ((PERSON, SITE), (PERSON6, SITE6))
UDPLITE, UDPLITE_SEND_COVERAGE, UDPLITE_RECEIVE_COVERAGE = 136, 10, 11
MPTCP = 262
ONE_KILOBYTE = bytes(range(256)) * 4


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(lab, where, address, port=0, kind=socket.SOCK_STREAM, protocol=0):
    """A socket in a namespace, bound to an address of it."""
    with lab.inside(where):
        one = socket.socket(family(address), kind, protocol)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.settimeout(10)
    one.bind((address, port))
    return one


@contextlib.contextmanager
def listener(lab, address, port, receive_buffer=None, protocol=0):
    with bound(lab, SERVER, address, port, protocol=protocol) as one:
        if receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.listen()
        yield one


def connected(lab, port, addresses=(PERSON, SITE), own_port=0):
    """Both ends of a fresh connection through the gateway, and no listener left."""
    own, theirs = addresses
    with listener(lab, theirs, port) as door:
        client = bound(lab, CLIENT, own, own_port)
        client.connect((theirs, port))
        server, _ = door.accept()
        server.settimeout(10)
        return client, server


def reset(one):
    """Close with RST instead of FIN."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


def exchange(client, server, question=b"question", answer=b"answer"):
    client.sendall(question)
    server.recv(4096)
    server.sendall(answer)
    client.recv(4096)


@topic("loss.pcap", ("curl", "nginx", "socat"),
       ("tcp.analysis.retransmission", "tcp.options.sack_le", "tcp.analysis.lost_segment",
        "tcp.analysis.duplicate_ack",
        "tcp.flags.syn == 1 && tcp.analysis.retransmission",
        "tcp.flags.fin == 1 && tcp.analysis.retransmission", "tcp.options.sack.count > 1 && ipv6",
        "tcp.dstport == 9200 && tcp.analysis.retransmission"))
def loss(lab):
    """Lost and reordered segments, IPv4 and IPv6: holes and duplicates in both directions, SACK
    with several blocks, tail loss, repeated SYN, SYN/ACK and FIN."""
    servers.web(lab)
    slow_down(lab)
    page, page6 = f"http://{SITE}/photo.jpg", f"http://[{SITE6}]/photo.jpg"
    servers.sink(lab, 9200)
    upload = servers.upload("photo.jpg", SITE, 9200)
    data, dial = "meta length > 500 ", "tcp flags & (syn|ack) == "
    with lab.capture():
        for where, hook, rule, words in (
                (CLIENT, "input", data + "numgen inc mod 6 == 4", (*CURL, page)),
                (GATEWAY, "prerouting", data + "iif wan0 numgen inc mod 5 < 2", (*CURL, page6)),
                (SERVER, "input", data + "numgen inc mod 9 == 7", upload),
                (SERVER, "input", dial + "syn numgen inc mod 2 == 0", (*CURL, f"http://{SITE}/")),
                (CLIENT, "input", dial + "(syn|ack) numgen inc mod 2 == 0",
                 (*CURL, f"http://{SITE}/")),
                (SERVER, "input", "tcp flags & fin == fin numgen inc mod 2 == 0",
                 (*CURL, f"http://[{SITE6}]/"))):
            lab.drop(where, hook, rule)
            lab.run(CLIENT, *words)
            time.sleep(0.4)
            lab.lose_nothing(where)
        lab.overtake(GATEWAY, data + "oif lan0 numgen inc mod 6 == 2", "1:2")
        lab.run(CLIENT, *CURL, page)


def slow_down(lab):
    """Give lan0 of the gateway two lanes, 20 Mbit/s for all and a slow one for `overtake`."""
    def tc(*words):
        lab.run(GATEWAY, "tc", *words)
    tc("qdisc", "add", "dev", "lan0", "root", "handle", "1:", "htb", "default", "1")
    for lane, rate in (("1:1", "20mbit"), ("1:2", "3mbit")):
        tc("class", "add", "dev", "lan0", "parent", "1:", "classid", lane, "htb", "rate", rate,
           "burst", "1600", "cburst", "1600")


@topic("resets.pcap", ("python3", "curl", "nginx"),
       ("tcp.flags.reset == 1 && tcp.flags.ack == 1", "tcp.flags.reset == 1 && tcp.flags.ack == 0",
        "tcp.flags.reset == 1 && ipv6", "tcp.flags.reset == 1 && ip.src == 192.168.1.10"))
def resets(lab):
    """Connections that end with RST, IPv4 and IPv6: refused, aborted by either end, closed with
    data unread, data sent to an end that has closed, a download broken off."""
    servers.web(lab)
    with lab.capture():
        for number, addresses in enumerate(PAIRS):
            with bound(lab, CLIENT, addresses[0]) as refused:
                refused.connect_ex((addresses[1], 4000))
            client, server = connected(lab, 4001, addresses)
            exchange(client, server)
            reset(client)
            server.close()
            client, server = connected(lab, 4002, addresses)
            reset(server)
            client.close()
            client, server = connected(lab, 4003, addresses)
            client.sendall(b"never read")
            time.sleep(0.05)
            server.close()
            client.close()
            client, server = connected(lab, 4004, addresses)
            server.close()
            client.sendall(b"too late")
            time.sleep(0.05)
            client.close()
        lab.try_run(CLIENT, *CURL, "--limit-rate", "10k", "--max-time", "1",
                    f"http://{SITE}/photo.jpg")


@topic("half-open.pcap", ("python3", "nmap"),
       ("tcp.flags.syn == 1 && tcp.flags.ack == 0 && tcp.analysis.retransmission",
        "tcp.flags == 0x10 && tcp.port == 5003", "tcp.flags == 0x04 && tcp.port == 5003",
        "tcp.flags == 0x02 && tcp.analysis.reused_ports"))
def half_open(lab):
    """Only half a connection: SYNs nobody answers, one end that forgot everything and answers data
    with RST, one that forgot and dials again from the same port (challenge ACK, RST, new
    connection), and one closed in one direction while data still flows in the other."""
    with lab.capture():
        lab.drop(SERVER, "input", "tcp dport 5000")
        lab.run(CLIENT, "nmap", "-sS", "-n", "-Pn", "-p", "5000", "--max-retries", "2", SITE)
        with bound(lab, CLIENT, PERSON) as patient:
            patient.settimeout(1.5)
            patient.connect_ex((SITE, 5000))
        lab.lose_nothing(SERVER)

        for addresses in PAIRS:
            client, server = connected(lab, 5001, addresses)
            exchange(client, server)
            forget(lab, SERVER, server)
            client.sendall(b"are you there?")
            time.sleep(0.05)
            client.close()

            client, server = connected(lab, 5003, addresses, own_port=45003)
            exchange(client, server)
            forget(lab, CLIENT, client)
            with listener(lab, addresses[1], 5003) as door:
                again = bound(lab, CLIENT, addresses[0], 45003)
                again.connect((addresses[1], 5003))
                accepted, _ = door.accept()
                exchange(again, accepted)
                again.close()
                accepted.close()
            server.close()

            client, server = connected(lab, 5004, addresses)
            client.sendall(b"send me everything")
            client.shutdown(socket.SHUT_WR)
            server.recv(4096)
            for _ in range(3):
                server.sendall(ONE_KILOBYTE)
                time.sleep(0.1)
                client.recv(4096)
            server.close()
            client.close()


def forget(lab, where, one):
    """Lose a connection as a crash does: the end is gone and the other was not told."""
    lab.drop(where, "output", "tcp flags & rst == rst")
    reset(one)
    lab.lose_nothing(where)


@topic("simultaneous-open.pcap", ("python3",),
       ("tcp.flags == 0x02 && ip.src == 192.168.1.10", "tcp.flags == 0x02 && ip.src == 203.0.113.5",
        "tcp.flags == 0x12 && ip.src == 192.168.1.10", "tcp.flags == 0x12 && ip.src == 203.0.113.5",
        "tcp.flags == 0x02 && ipv6.src == fd00:2::5", "tcp.len > 0"))
def simultaneous_open(lab):
    """Both ends dial at once, IPv4 and IPv6: the SYNs cross, both answer SYN/ACK, and the
    connection is used and closed.

    For the SYNs to cross, the gateway's line to the server is slow and busy with a long datagram:
    the client's SYN waits behind it while the server's comes in.
    """
    lab.run(GATEWAY, "tc", "qdisc", "add", "dev", "wan0", "root", "tbf", "rate", "100kbit",
            "burst", "1600", "latency", "2s")
    with lab.capture():
        for addresses in PAIRS:
            own, theirs = addresses
            talker, hearer = udp_pair(lab, 6100, addresses)
            for _ in range(2):
                talker.send(ONE_KILOBYTE)
            client = bound(lab, CLIENT, own, 6000)
            server = bound(lab, SERVER, theirs, 6000)
            client.setblocking(False)
            client.connect_ex((theirs, 6000))
            server.connect((own, 6000))
            client.settimeout(10)
            exchange(client, server)
            client.close()
            time.sleep(0.2)
            server.close()
            time.sleep(0.2)
            hearer.close()


@topic("keepalive.pcap", ("socat",),
       ("tcp.analysis.keep_alive", "tcp.analysis.keep_alive_ack", "tcp.analysis.keep_alive && ipv6",
        "tcp.flags.reset == 1"))
def keepalive(lab):
    """Idle connections kept alive by probes that are answered, IPv4 and IPv6; then the peer is cut
    off, three probes go unanswered, and the prober gives up with RST."""
    probing = "keepalive,keepidle=1,keepintvl=1,keepcnt=3"
    lab.spawn(SERVER, "socat", "TCP4-LISTEN:7000,fork", "EXEC:cat")
    lab.spawn(SERVER, "socat", "TCP6-LISTEN:7000,fork,ipv6only", "EXEC:cat")
    lab.wait_listening(SERVER, 7000)
    with lab.capture():
        for target in (f"TCP4:{SITE}:7000", f"TCP6:[{SITE6}]:7000"):
            lab.spawn(CLIENT, "socat", "SYSTEM:echo hello; sleep 2.5; echo still here; sleep 9",
                      f"{target},{probing}")
        time.sleep(4)
        lab.drop(SERVER, "input", "tcp dport 7000")
        time.sleep(5)


@topic("zero-window.pcap", ("python3",),
       ("tcp.analysis.zero_window", "tcp.analysis.keep_alive", "tcp.analysis.window_update",
        "tcp.analysis.zero_window && ipv6"))
def zero_window(lab):
    """A reader that stops reading: the window closes, the sender probes it, the reader drains and
    the rest follows; IPv4 and IPv6."""
    with lab.capture():
        for own, theirs in PAIRS:
            with listener(lab, theirs, 8000, receive_buffer=4096) as door:
                client = bound(lab, CLIENT, own)
                client.connect((theirs, 8000))
                server, _ = door.accept()
            client.setblocking(False)
            sent = client.send(ONE_KILOBYTE * 16)
            time.sleep(1.2)
            while sent > 0:
                sent -= len(server.recv(1024))
                time.sleep(0.01)
            client.close()
            server.close()


@topic("midstream.pcap", ("curl", "nginx", "socat", "python3"),
       ("tcp.len > 1000", "ipv6 && tcp.len > 1000", "tcp.flags.fin == 1", "udp", "ipv6 && tcp"))
def midstream(lab):
    """The capture starts in the middle: downloads, chats and a UDP stream that were already
    running, no handshake of any of them; IPv4 and IPv6."""
    servers.web(lab)
    with contextlib.ExitStack() as open_ends:
        chats = [connected(lab, 7001 + number, addresses) for number, addresses in enumerate(PAIRS)]
        for client, server in chats:
            exchange(client, server)
            open_ends.enter_context(client)
            open_ends.enter_context(server)
        talker, hearer = udp_pair(lab, 7100)
        talk(talker, hearer, 2)
        downloads = [lab.spawn(CLIENT, *CURL, f"http://{site}/slow/plan.pdf")
                     for site in (SITE, f"[{SITE6}]")]
        time.sleep(1.2)
        with lab.capture():
            for client, server in chats:
                exchange(server, client)
                exchange(client, server)
            talk(talker, hearer, 4)
            for client, server in chats:
                client.close()
                server.close()
            for download in downloads:
                download.wait(timeout=20)


def one_way(lab, direction):
    servers.web(lab)
    with lab.capture(f"{direction} net 192.168.1.0/24 or {direction} net fd00:1::/64"):
        lab.run(CLIENT, *CURL, f"http://{SITE}/logo.svg")
        lab.run(CLIENT, *CURL, f"http://[{SITE6}]/style.css")
        lab.try_run(CLIENT, *CURL, f"http://{SITE}:81/")
        lab.run(CLIENT, "ping", "-c", "2", "-i", "0.2", SITE)
        lab.run(CLIENT, "traceroute", "-n", "-q", "1", SITE)
        client, server = connected(lab, 7000)
        exchange(client, server)
        reset(client)
        server.close()


@topic("one-way-out.pcap", ("curl", "nginx", "ping", "traceroute", "python3"),
       ("tcp.flags == 0x02", "tcp.flags == 0x11", "icmp.type == 8", "udp", "tcp && ipv6"))
def one_way_out(lab):
    """Asymmetric routing: only what the client sends comes past, the answers took another way."""
    one_way(lab, "src")


@topic("one-way-in.pcap", ("curl", "nginx", "ping", "traceroute", "python3"),
       ("tcp.flags == 0x12", "tcp.flags == 0x11", "icmp.type == 0", "icmp.type == 11",
        "icmp.type == 3", "tcp && ipv6"))
def one_way_in(lab):
    """The other half: only the answers come past, SYN/ACKs, data, echo replies and ICMP errors
    about packets that were never seen."""
    one_way(lab, "dst")


def udp_pair(lab, port, addresses=(PERSON, SITE), protocol=0):
    """Two UDP sockets that know each other."""
    ends = [bound(lab, where, address, port, socket.SOCK_DGRAM, protocol)
            for where, address in zip((CLIENT, SERVER), addresses)]
    ends[0].connect((addresses[1], port))
    ends[1].connect((addresses[0], port))
    return ends


def talk(client, server, times, pause=0.1):
    for _ in range(times):
        exchange(client, server)
        time.sleep(pause)


@topic("udp-stream.pcap", ("iperf3", "python3"),
       ("udp.port == 5201", "udp.port == 514 && icmp", "udp.port == 7100 && ipv6",
        "udp.dstport == 9999"))
def udp_stream(lab):
    """UDP that lasts: streams up and down for more than two seconds, so that they become ASSURED,
    slow questions and answers, one side only talking, a closed port talked to for long."""
    lab.spawn(SERVER, "iperf3", "-s")
    lab.wait_listening(SERVER, 5201)
    rate = ("-u", "-b", "80k", "-l", "200", "-t", "3")
    with lab.capture():
        lab.run(CLIENT, "iperf3", "-c", SITE, *rate)
        lab.run(CLIENT, "iperf3", "-c", SITE6, "-R", *rate)
        pairs = [udp_pair(lab, 7100, addresses) for addresses in PAIRS]
        silent = bound(lab, SERVER, SITE, 9999, socket.SOCK_DGRAM)
        closed = bound(lab, CLIENT, PERSON, 0, socket.SOCK_DGRAM)
        for _ in range(6):
            for client, server in pairs:
                exchange(client, server)
            closed.sendto(b"to nobody's ears", (SITE, 9999))
            closed.sendto(b"to a closed port", (SITE, 514))
            time.sleep(0.5)
        silent.close()


@topic("udplite.pcap", ("python3",),
       ("ip.proto == 136", "ipv6.nxt == 136", "udp.checksum_coverage == 8",
        "udp.checksum_coverage == 12", "icmp.type == 3", "icmpv6.type == 1"))
def udplite(lab):
    """UDP-Lite for more than two seconds, IPv4 and IPv6: whole and partial checksum coverage, and
    a closed port."""
    with lab.capture():
        for addresses in PAIRS:
            client, server = udp_pair(lab, 7200, addresses, UDPLITE)
            for one in (client, server):
                one.setsockopt(UDPLITE, UDPLITE_RECEIVE_COVERAGE, 8)
            for coverage in (0, 8, 12, 0):
                client.setsockopt(UDPLITE, UDPLITE_SEND_COVERAGE, coverage)
                exchange(client, server)
                time.sleep(0.6)
            with bound(lab, CLIENT, addresses[0], 0, socket.SOCK_DGRAM, UDPLITE) as lost:
                lost.sendto(b"nobody there", (addresses[1], 7201))
                time.sleep(0.05)


@topic("mptcp.pcap", ("python3",), ("tcp.options.mptcp.datafin.flag == 1",
       "tcp.options.mptcp.subtype && ipv6"))
def mptcp(lab):
    """Multipath TCP, as new kernels speak it: connections with options in every segment, closed by
    DATA_FIN before FIN; IPv4 and IPv6."""
    with lab.capture():
        for own, theirs in PAIRS:
            with listener(lab, theirs, 7300, protocol=MPTCP) as door:
                client = bound(lab, CLIENT, own, protocol=MPTCP)
                client.connect((theirs, 7300))
                server, _ = door.accept()
                exchange(client, server, ONE_KILOBYTE * 3)
                client.close()
                time.sleep(0.1)
                server.close()
                time.sleep(0.1)


@topic("offload.pcap", ("curl", "nginx", "dig", "dnsmasq", "socat", "ping"),
       ("tcp.len > 3000", "tcp.checksum.status == Bad", "udp.checksum.status == Bad",
        "tcp.len > 3000 && ipv6"), offload=True)
def offload(lab):
    """Offload left on, as on most machines: segments far larger than the MTU, and checksums that
    the network card would have finished and that are wrong in the capture."""
    servers.web(lab)
    servers.names(lab)
    servers.sink(lab, 9200)
    with lab.capture():
        lab.run(CLIENT, "dig", "@203.0.113.53", "www.example.test")
        lab.run(CLIENT, *CURL, f"http://{SITE}/plan.pdf")
        lab.run(CLIENT, *CURL, f"http://[{SITE6}]/logo.svg")
        lab.run(CLIENT, *servers.upload("photo.jpg", SITE, 9200))
        lab.run(CLIENT, "ping", "-c", "2", "-i", "0.2", SITE)
