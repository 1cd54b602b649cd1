"""IP itself: IPv6, fragments, ICMP, scans, broadcast and multicast."""

import pathlib
import socket
import struct
import time

from lab import servers
from lab.catalogue import topic
from lab.network import CLIENT, GATEWAY, SERVER
from lab.transport import CURL, ONE_KILOBYTE, PERSON, PERSON6, SITE, SITE6, bound

NOWHERE, NOWHERE6 = "203.0.113.77", "fd00:2::77"  # addresses of the wan that nobody has
ELSEWHERE, ELSEWHERE6 = "198.51.100.1", "2001:db8::1"  # documentation addresses, not routed
UNUSED_PROTOCOL = 253  # RFC 3692: for experiments


@topic("ipv6.pcap",
       ("ping", "tracepath", "traceroute", "dig", "dnsmasq", "curl", "nginx", "python3"),
       ("icmpv6.type == 128", "icmpv6.type == 129", "icmpv6.type == 3", "icmpv6.type == 2",
        "icmpv6.type == 1", "ipv6.fraghdr", "ipv6.dstopts", "ipv6.hopopts && udp",
        "ipv6.routing", "tcp && ipv6", "dns && ipv6", "icmpv6.type == 135"))
def ipv6(lab):
    """IPv6 alone: ping, traceroute, path MTU discovery with packet-too-big, names, pages, UDP in
    fragments, and UDP behind hop-by-hop, destination and segment-routing headers."""
    servers.web(lab)
    servers.names(lab, SERVER, SITE6)
    lab.set(GATEWAY, {"net.ipv6.conf.all.seg6_enabled": 1, "net.ipv6.conf.lan0.seg6_enabled": 1})
    lab.set(SERVER, {"net.ipv6.conf.all.seg6_enabled": 1, "net.ipv6.conf.wan.seg6_enabled": 1})
    with lab.capture():
        lab.run(CLIENT, "ping", "-6", "-c", "3", "-i", "0.2", SITE6)
        lab.run(CLIENT, "ping", "-6", "-c", "1", "-s", "3000", SITE6)
        lab.run(CLIENT, "traceroute", "-6", "-n", "-q", "2", SITE6)
        lab.run(CLIENT, "dig", f"@{SITE6}", "www.example.test", "AAAA")
        lab.run(CLIENT, "dig", f"@{SITE6}", "+bufsize=4096", "long.example.test", "TXT")
        lab.run(CLIENT, *CURL, f"http://[{SITE6}]/style.css")
        lab.try_run(CLIENT, *CURL, f"http://[{SITE6}]:81/")

        with (bound(lab, CLIENT, PERSON6, 9000, socket.SOCK_DGRAM) as client,
              bound(lab, SERVER, SITE6, 9000, socket.SOCK_DGRAM) as server):
            padding = bytes((0, 0, 1, 4, 0, 0, 0, 0))  # length 0: the option header fills 8 bytes
            for option in (socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS):
                client.setsockopt(socket.IPPROTO_IPV6, option, padding)
                client.sendto(b"with options", (SITE6, 9000))
                server.sendto(b"without", (PERSON6, 9000))
            client.sendto(ONE_KILOBYTE * 3, (SITE6, 9000))
            server.sendto(ONE_KILOBYTE * 4, (PERSON6, 9000))

        lab.run(CLIENT, "ip", "-6", "route", "add", f"{SITE6}/128", "encap", "seg6",
                "mode", "inline", "segs", "fd00:1::1", "dev", "lan")
        lab.run(CLIENT, "ping", "-6", "-c", "2", "-i", "0.2", SITE6, allow_failure=True)
        lab.run(CLIENT, "ip", "-6", "route", "del", f"{SITE6}/128")

        lab.run(GATEWAY, "ip", "link", "set", "wan0", "mtu", "1300")
        lab.run(CLIENT, "tracepath", "-6", "-n", SITE6)
        lab.run(CLIENT, *CURL, f"http://[{SITE6}]/index.html")


@topic("fragments.pcap", ("ping", "nmap", "python3"),
       ("ip.flags.mf == 1 && icmp", "ip.flags.mf == 1 && ip.proto == 17",
        "ip.flags.mf == 1 && ip.proto == 6 && ip.len < 40",
        "ip.frag_offset > 0 && ip.src == 203.0.113.5", "ipv6.fraghdr",
        "icmp.type == 11 && icmp.code == 1", "icmpv6.type == 3 && icmpv6.code == 1"))
def fragments(lab):
    """Fragments, IPv4 and IPv6: large pings and datagrams both ways, TCP headers torn into 8-byte
    fragments by a scanner, fragments in reverse order, one that stays alone until reassembly times
    out with an ICMP error, and a duplicate."""
    lab.set(SERVER, {"net.ipv4.ipfrag_time": 1, "net.ipv6.ip6frag_time": 1})
    with lab.capture():
        lab.run(CLIENT, "ping", "-c", "2", "-i", "0.2", "-s", "4000", SITE)
        lab.run(CLIENT, "ping", "-6", "-c", "2", "-i", "0.2", "-s", "4000", SITE6)
        for own, theirs in ((PERSON, SITE), (PERSON6, SITE6)):
            with (bound(lab, CLIENT, own, 9000, socket.SOCK_DGRAM) as client,
                  bound(lab, SERVER, theirs, 9000, socket.SOCK_DGRAM) as server):
                client.sendto(ONE_KILOBYTE * 5, (theirs, 9000))
                server.sendto(server.recv(8000), (own, 9000))
        for size in ("8", "16"):
            lab.run(CLIENT, "nmap", "-sS", "-n", "-Pn", "--mtu", size, "--max-retries", "0",
                    "-p", "80", SITE)
        pieces = torn_datagram()
        with lab.inside(CLIENT), socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                               socket.IPPROTO_RAW) as raw:
            for piece in (*reversed(pieces), *alone(pieces[0], 2), *alone(pieces[0], 2)):
                raw.sendto(piece, (SITE, 0))
        with lab.inside(CLIENT), socket.socket(socket.AF_INET6, socket.SOCK_RAW, 44) as raw:
            first = struct.pack("!BBHI", 17, 0, 1, 7) + struct.pack("!HHHH", 9000, 9001, 1032, 0)
            raw.sendto(first + ONE_KILOBYTE, (SITE6, 0))
        time.sleep(1.5)


def torn_datagram():
    """One UDP datagram to a closed port as three IPv4 fragments; the kernel fills checksums in."""
    whole = struct.pack("!HHHH", 9002, 9003, 8 + 2048, 0) + ONE_KILOBYTE * 2
    return [ipv4_fragment(1, at, whole[at:at + 720], at + 720 < len(whole))
            for at in range(0, len(whole), 720)]


def ipv4_fragment(identification, offset, payload, more):
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification,
                       (0x2000 if more else 0) | offset // 8, 64, socket.IPPROTO_UDP, 0,
                       socket.inet_aton(PERSON), socket.inet_aton(SITE)) + payload


def alone(piece, identification):
    """The same fragment under another identification, as if its fellows were lost."""
    return [piece[:4] + struct.pack("!H", identification) + piece[6:]]


@topic("icmp-queries.pcap", ("ping", "nmap"),
       ("icmp.type == 8", "icmp.type == 0", "icmp.type == 13", "icmp.type == 14", "icmp.type == 17",
        "icmpv6.type == 128", "ip.opt.type", "ip.dst == 192.168.1.255"))
def icmp_queries(lab):
    """ICMP questions: pings of several sizes and at the same time, without an answer, to a
    broadcast address, with record-route and timestamp options; timestamp and netmask requests."""
    with lab.capture():
        lab.run(CLIENT, "ping", "-c", "2", "-i", "0.2", SITE)
        lab.together(*((0, CLIENT, "ping", "-c", "3", "-i", "0.2", "-s", size, site)
                       for size in ("0", "1400") for site in (SITE, SITE6)))
        lab.run(CLIENT, "ping", "-c", "1", "-R", SITE)
        lab.run(CLIENT, "ping", "-c", "1", "-T", "tsandaddr", SITE)
        lab.try_run(CLIENT, "ping", "-b", "-c", "1", "-W", "1", "192.168.1.255")
        lab.run(CLIENT, "ping", "-c", "1", "192.168.1.1")
        lab.drop(SERVER, "input", "icmp type echo-request")
        lab.try_run(CLIENT, "ping", "-c", "2", "-i", "0.3", "-W", "1", SITE)
        lab.lose_nothing(SERVER)
        for probe in ("-PE", "-PP", "-PM"):
            lab.run(CLIENT, "nmap", "-sn", "-n", probe, "--max-retries", "0", SITE)


@topic("icmp-errors.pcap", ("python3", "ping", "traceroute", "tracepath", "socat", "nginx"),
       (*(f"icmp.type == 3 && icmp.code == {code}" for code in (0, 1, 2, 3, 4, 9, 10, 13)),
        "icmp.type == 5", "icmp.type == 11 && icmp.code == 0", "icmp.type == 12",
        *(f"icmpv6.type == 1 && icmpv6.code == {code}" for code in (0, 1, 3, 4)),
        "icmpv6.type == 2", "icmpv6.type == 3", "icmpv6.type == 4",
        "icmp.code == 4 && tcp", "icmpv6.type == 2 && tcp"))
def icmp_errors(lab):
    """ICMP errors of nearly every kind, IPv4 and IPv6, about UDP, TCP, ICMP and an unknown
    protocol: no route, no host, no such protocol or port, prohibited, fragmentation needed and
    packet too big with the upload that then adapts, time exceeded, parameter problem, redirect."""
    servers.web(lab)
    servers.sink(lab, 9200)
    lab.set(GATEWAY, {"net.ipv4.neigh.wan0.retrans_time_ms": 100,
                      "net.ipv6.neigh.wan0.retrans_time_ms": 100,
                      "net.ipv4.neigh.lan0.retrans_time_ms": 100,
                      "net.ipv6.neigh.lan0.retrans_time_ms": 100})
    with lab.capture():
        ask_many(lab, PERSON, (SITE, NOWHERE, ELSEWHERE))
        ask_many(lab, PERSON6, (SITE6, NOWHERE6, ELSEWHERE6))
        time.sleep(0.5)
        refusals(lab)
        for version, site in (("-4", SITE), ("-6", SITE6)):
            for probe in (("-U",), ("-I",), ("-T", "-p", "80")):
                lab.run(CLIENT, "traceroute", version, *probe, "-n", "-q", "1", "-m", "3", site)
            lab.try_run(CLIENT, "ping", version, "-t", "1", "-c", "1", "-W", "1", site)
        malformed(lab)
        redirects(lab)
        lab.run(GATEWAY, "ip", "link", "set", "wan0", "mtu", "1300")
        for version, site, host in (("-4", SITE, SITE), ("-6", SITE6, f"[{SITE6}]")):
            lab.run(CLIENT, *servers.upload("logo.svg", host, 9200))
            lab.run(CLIENT, "tracepath", version, "-n", site)


def ask_many(lab, own, addresses):
    """UDP, ping, TCP and an unknown protocol to each address."""
    for address in addresses:
        with bound(lab, CLIENT, own, 0, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"anybody there?", (address, 9))
        lab.try_run(CLIENT, "ping", "-c", "1", "-W", "1", address)
        with bound(lab, CLIENT, own) as stream:
            stream.settimeout(0.5)
            stream.connect_ex((address, 9))
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        with lab.inside(CLIENT), socket.socket(kind, socket.SOCK_RAW, UNUSED_PROTOCOL) as raw:
            raw.sendto(b"an unknown protocol", (address, 0))


def refusals(lab):
    """A server whose firewall says why: one port for each reason."""
    reasons = (("ipv4", "icmp", "net-prohibited"), ("ipv4", "icmp", "host-prohibited"),
               ("ipv4", "icmp", "admin-prohibited"), ("ipv4", "icmp", "net-unreachable"),
               ("ipv6", "icmpv6", "admin-prohibited"), ("ipv6", "icmpv6", "no-route"),
               ("ipv6", "icmpv6", "addr-unreachable"))
    for number, (version, protocol, reason) in enumerate(reasons):
        own, site = (PERSON, SITE) if version == "ipv4" else (PERSON6, SITE6)
        lab.firewall(SERVER, "input", "meta nfproto", version, "th dport", str(9100 + number),
                     "reject with", protocol, "type", reason)
        with bound(lab, CLIENT, own, 0, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"may I?", (site, 9100 + number))
        with bound(lab, CLIENT, own) as stream:
            stream.settimeout(0.3)
            stream.connect_ex((site, 9100 + number))
        lab.lose_nothing(SERVER)


def malformed(lab):
    """A bad IPv4 option; an IPv6 destination option that must be understood and is not."""
    packet = struct.pack("!BBHHHBBH4s4s", 0x46, 0, 24 + 8, 5, 0, 64, socket.IPPROTO_UDP, 0,
                         socket.inet_aton(PERSON), socket.inet_aton(SITE))
    bad_record_route = bytes((7, 3, 2, 0))  # its pointer is before its first slot
    with lab.inside(CLIENT), socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                           socket.IPPROTO_RAW) as raw:
        raw.sendto(packet + bad_record_route + struct.pack("!HHHH", 9000, 9, 8, 0), (SITE, 0))
    with bound(lab, CLIENT, PERSON6, 0, socket.SOCK_DGRAM) as datagrams:
        unknown = bytes((0, 0, 0x9E, 4, 0, 0, 0, 0))  # upper bits 10: discard and report
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, unknown)
        datagrams.sendto(b"do you understand?", (SITE6, 9))


def redirects(lab):
    """The client asks the gateway for a neighbour it could reach itself."""
    lab.run(CLIENT, "ip", "route", "add", "192.168.1.200/32", "via", "192.168.1.1")
    lab.try_run(CLIENT, "ping", "-c", "2", "-i", "0.3", "-W", "1", "192.168.1.200")


@topic("scans.pcap", ("nmap", "nginx"),
       ("tcp.flags == 0x02", "tcp.flags == 0x10", "tcp.flags == 0x01", "tcp.flags == 0x29",
        "tcp.flags == 0x00", "tcp.flags == 0x11", "udp && icmp",
        "ip.proto == 253 || icmp.code == 2", "sctp.chunk_type == 1",
        "tcp.flags.ece == 1 && tcp.flags.cwr == 1", "tcp && ipv6"))
def scans(lab):
    """Port scans of every kind nmap knows: SYN, connect, ACK, window, FIN, Xmas, NULL, Maimon, UDP,
    SCTP, IP protocols, host discovery, guessing the operating system with odd packets; IPv4 and
    IPv6."""
    servers.web(lab)
    quick = ("-n", "-Pn", "--max-retries", "0", "--max-rtt-timeout", "200ms")
    kinds = (("-sS", "21-25,80"), ("-sT", "79-81"), ("-sA", "22,80"), ("-sW", "22,80"),
             ("-sF", "22,80"), ("-sX", "22,80"), ("-sN", "22,80"), ("-sM", "22,80"),
             ("-sU", "53,123,161"), ("-sY", "80,5060"), ("-sZ", "80"),
             ("-sO", "1,2,6,17,47,50,132,253"))
    with lab.capture():
        for kind, ports in kinds:
            lab.run(CLIENT, "nmap", kind, *quick, "-p", ports, SITE)
        for kind in ("-sS", "-sU", "-sF"):
            lab.run(CLIENT, "nmap", "-6", kind, *quick, "-p", "22,53,80", SITE6)
        lab.run(CLIENT, "nmap", "-sn", "-n", SITE)
        lab.run(CLIENT, "nmap", "-O", *quick, "--max-os-tries", "1", "-p", "22,80", SITE)


@topic("multicast.pcap", ("busybox", "dnsmasq", "dig", "socat", "ping"),
       ("dhcp", "udp.dstport == 5353 && ip", "udp.dstport == 5353 && ipv6", "igmp", "ssdp",
        "ip.dst == 192.168.1.255", "ip.dst == 255.255.255.255", "ipv6.dst == ff02::1",
        "icmpv6.type == 143", "dhcp.option.dhcp == 5"))
def multicast(lab):
    """Noise of a local network: DHCP, mDNS, SSDP, NetBIOS-like broadcasts, IGMP and MLD, pings to
    all nodes, and a stream to a multicast group that the gateway does not forward."""
    lab.spawn(GATEWAY, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
              "--user=root", "--pid-file=", "--dhcp-range=192.168.1.100,192.168.1.120,10m",
              "--dhcp-leasefile=/run/lab/leases", "--interface=lan0", "--bind-interfaces")
    lab.wait_listening(GATEWAY, 67, "udp")
    search = pathlib.Path(lab.scratch, "search")
    search.write_bytes(b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
                       b"MAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n")
    question = pathlib.Path(lab.scratch, "question")  # who is printer.local?
    question.write_bytes(struct.pack("!6H", 0, 0, 1, 0, 0, 0) + b"\7printer\5local\0"
                         + struct.pack("!2H", 28, 1))
    with lab.capture():
        lab.spawn(GATEWAY, "socat", "-u",
                  "UDP4-RECVFROM:5000,ip-add-membership=239.1.2.3:lan0,fork", "OPEN:/dev/null")
        lab.run(CLIENT, "busybox", "udhcpc", "-f", "-n", "-q", "-i", "lan", "-s", "/bin/true")
        lab.try_run(CLIENT, "dig", "-p", "5353", "@224.0.0.251", "+tries=1", "+time=1",
                    "printer.local")
        lab.run(CLIENT, "socat", "-u", f"OPEN:{question}",
                "UDP6-DATAGRAM:[ff02::fb]:5353,bind=:5353,so-bindtodevice=lan")
        sends = ("socat", "-u", f"OPEN:{search}")
        lab.run(CLIENT, *sends, "UDP4-DATAGRAM:239.255.255.250:1900,bind=192.168.1.10")
        lab.run(CLIENT, *sends, "UDP4-DATAGRAM:192.168.1.255:138,broadcast,bind=192.168.1.10:138")
        lab.run(CLIENT, *sends, "UDP4-DATAGRAM:255.255.255.255:6667,broadcast,so-bindtodevice=lan")
        for _ in range(3):
            lab.run(CLIENT, *sends, "UDP4-DATAGRAM:239.1.2.3:5000,bind=192.168.1.10:5001,"
                    "ip-multicast-ttl=4")
        lab.try_run(CLIENT, "ping", "-6", "-c", "2", "-i", "0.3", "ff02::1%lan")
        lab.try_run(CLIENT, "ping", "-b", "-c", "2", "-i", "0.3", "-W", "1", "192.168.1.255")
        time.sleep(0.5)
