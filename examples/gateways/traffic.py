"""Who talks to whom through each gateway."""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable

from lab import applications, servers, tunnels
from lab.applications import sip_pair
from lab.network import CLIENT, GATEWAY, LINKS, ROUTES, SERVER

SITE, OWN, OWN6 = "203.0.113.5", "203.0.113.1", "fd00:2::1"
PAGE = ("curl", "-sS", "-m", "4", "-o", "/dev/null")
FRONT, BACK = "front", "back"
IRC = pathlib.Path(applications.__file__).parent / "irc_peer.py"


@dataclasses.dataclass
class Gateway:
    name: str
    talk: Callable
    contains: tuple
    links: tuple = LINKS
    routes: tuple = ROUTES


def with_hosts(links, interface, *addresses):
    """The links, and more addresses for the host behind one of them."""
    return tuple((name, link, mac, own + addresses if link == interface else own)
                 for name, link, mac, own in links)


def web(lab, where, port):
    """A page server of its own in a namespace, for as many as are wanted at once."""
    lab.spawn(where, "python3", "-m", "http.server", "--bind", "::", "-d", servers.WEB_ROOT, port)
    lab.wait_listening(where, port)


def datagram(lab, where, own, to, port, text="hello"):
    """One datagram, and a second's patience for the answer."""
    family = "UDP6" if ":" in to else "UDP4"
    bind, to = (f"[{own}]", f"[{to}]") if ":" in to else (own, to)
    lab.try_run(where, "sh", "-c",
                f"echo {text} | socat -t 1 - {family}:{to}:{port},bind={bind}")


def home_router(lab):
    servers.web(lab)
    servers.names(lab)
    web(lab, CLIENT, 8000)
    lab.spawn(CLIENT, "socat", "UDP4-RECVFROM:27005,fork", "EXEC:cat")
    lab.wait_listening(CLIENT, 27005, "udp")
    with lab.capture_both_sides():
        lab.run(CLIENT, "dig", "+short", "www.example.test")
        lab.run(CLIENT, *PAGE, "-4", "http://www.example.test/style.css")
        lab.run(CLIENT, *PAGE, "-6", "http://www.example.test/style.css")
        lab.run(CLIENT, "ping", "-c", "2", "-i", "0.2", SITE)
        # Two hosts of the house from one port to one server: the second gets another port.
        lab.together(*((0.0, CLIENT, *PAGE, "--interface", own, "--local-port", "40000",
                        f"http://{SITE}/slow/photo.jpg") for own in ("192.168.1.10",
                                                                   "192.168.1.11")))
        # Errors from beyond: a closed port, and the way there.
        datagram(lab, CLIENT, "192.168.1.10", SITE, 4000)
        lab.run(CLIENT, "traceroute", "-n", "-q", "1", "-N", "1", SITE)
        lab.try_run(CLIENT, *PAGE, f"http://{SITE}:81/")
        # Forwarded ports, from outside and from inside, and one nobody listens on.
        lab.run(SERVER, *PAGE, f"http://{OWN}:8080/index.html")
        lab.run(CLIENT, *PAGE, "--interface", "192.168.1.10", f"http://{OWN}:8080/index.html")
        datagram(lab, SERVER, SITE, OWN, 27005)
        datagram(lab, SERVER, SITE, OWN, 27006)
        lab.try_run(SERVER, *PAGE, f"http://{OWN}:2222/")
        lab.try_run(SERVER, *PAGE, "-m", "1", f"http://{OWN}:9999/")
        # What nobody asked for, to a host behind the router.
        lab.try_run(SERVER, "ping", "-c", "1", "-W", "1", "192.168.1.10")


def load_balancer(lab):
    web(lab, CLIENT, 8000)
    servers.names(lab, CLIENT, "192.168.1.21", "--listen-address=192.168.1.22",
                  "--listen-address=192.168.1.23")
    with lab.capture_both_sides():
        for address in (SITE, "203.0.113.53"):
            for page in ("index.html", "logo.svg", "style.css", "index.html"):
                lab.run(SERVER, *PAGE, "--interface", address, f"http://{OWN}/{page}")
            for _ in range(2):
                lab.run(SERVER, "dig", "+short", "-b", address, f"@{OWN}", "www.example.test")
        for page in ("index.html", "style.css", "logo.svg"):
            lab.run(SERVER, *PAGE, f"http://[{OWN6}]/{page}")
        # All at once, and from one port, as long as it is closing.
        lab.together(*((0.0, SERVER, *PAGE, "--interface", SITE, f"http://{OWN}/logo.svg")
                       for _ in range(4)))
        for _ in range(3):
            lab.try_run(SERVER, *PAGE, "--interface", SITE, "--local-port", "41000",
                        f"http://{OWN}/index.html")
            time.sleep(0.1)
        # A service whose hosts are down: refused, and an error translated back.
        lab.try_run(SERVER, *PAGE, f"http://{OWN}:444/")
        datagram(lab, SERVER, SITE, OWN, 5060)
        lab.run(SERVER, "ping", "-c", "2", "-i", "0.2", OWN)


DOCKER_LINKS = (
    (SERVER, "net", "02:00:00:00:02:05", ("203.0.113.5/24", "203.0.113.53/24")),
    (GATEWAY, "eth0", "02:00:00:00:02:01", ("203.0.113.1/24",)),
    (FRONT, "veth17", "02:42:ac:11:00:02", ("172.17.0.2/16", "172.17.0.3/16", "172.17.0.4/16")),
    (GATEWAY, "docker0", "02:42:9a:6d:51:01", ("172.17.0.1/16",)),
    (BACK, "veth30", "02:42:ac:1e:00:02", ("172.30.0.2/16", "172.30.0.3/16")),
    (GATEWAY, "br-front", "02:42:9a:6d:51:02", ("172.30.0.1/16",)),
)
DOCKER_ROUTES = ((FRONT, "-4", "172.17.0.1"), (BACK, "-4", "172.30.0.1"))


def docker(lab):
    servers.web(lab)
    servers.names(lab)
    web(lab, FRONT, 80)
    web(lab, BACK, 443)
    lab.spawn(BACK, "socat", "UDP4-RECVFROM:53,fork", "EXEC:cat")
    lab.wait_listening(BACK, 53, "udp")
    with lab.capture_both_sides("eth0", "docker0", "br-front"):
        # Published ports, from outside.
        lab.run(SERVER, *PAGE, f"http://{OWN}:8080/index.html")
        lab.run(SERVER, *PAGE, f"http://{OWN}:8443/style.css")
        datagram(lab, SERVER, SITE, OWN, 53)
        lab.try_run(SERVER, *PAGE, f"http://{OWN}:6379/")
        lab.try_run(SERVER, *PAGE, "-m", "1", f"http://{OWN}:5432/")
        # Containers to the world: under the host's name.
        lab.run(FRONT, "dig", "+short", "@203.0.113.53", "www.example.test")
        lab.together(*((0.0, where, *PAGE, "--interface", own, "--local-port", "40000",
                        f"http://{SITE}/slow/photo.jpg")
                       for where, own in ((FRONT, "172.17.0.3"), (BACK, "172.30.0.2"))))
        lab.run(BACK, "ping", "-c", "2", "-i", "0.2", SITE)
        lab.run(BACK, "traceroute", "-n", "-q", "1", "-N", "1", SITE)
        datagram(lab, FRONT, "172.17.0.4", SITE, 4000)
        # Networks are kept apart, also by way of a published port.
        lab.try_run(FRONT, *PAGE, "-m", "1", "http://172.30.0.2:443/")
        lab.try_run(FRONT, *PAGE, "-m", "1", f"http://{OWN}:8443/")
        lab.try_run(SERVER, "ping", "-c", "1", "-W", "1", "172.17.0.2")


def telephones(lab):
    pathlib.Path(lab.scratch, "tone.alaw").write_bytes(bytes((0xD5, 0x55) * 12000))
    phone, provider = (CLIENT, "192.168.1.10"), (SERVER, SITE)
    phone6, provider6 = (CLIENT, "fd00:1::10"), (SERVER, "fd00:2::5")
    with lab.conntrack_told(), lab.capture_both_sides():
        # It registers, and is called, from another port of its registrar's.
        sip_pair(lab, ("registrar", *provider), ("register", *phone))
        sip_pair(lab, ("phone", *phone), ("call", *provider), talk=200, called=OWN, port=5062)
        # It calls: by UDP, by TCP, and gives up once; by IPv6 all the same.
        for number, (own, other) in enumerate(((phone, provider), (phone6, provider6))):
            media = 16484 + 300 * number
            sip_pair(lab, ("phone", *other), ("call", *own), media=media, talk=200)
            sip_pair(lab, ("phone", *other), ("call", *own), "t1", media + 100, talk=200)
            sip_pair(lab, ("ringing", *other), ("cancel", *own), media=media + 200)
        sip_pair(lab, ("registrar", *provider6), ("register", *phone6))
        sip_pair(lab, ("phone", *phone6), ("call", *provider6), media=17184, talk=200, port=5062)


def helpers(lab):
    """Sessions that open second connections, and what conntrack told of them beside the capture."""
    servers.files(lab)
    servers.small_files(lab)
    servers.chat(lab)
    tunnels.pptp_server(lab)
    # Without its broadcast address the kernel's helper of the name service does nothing.
    for words in (("del",), ("add", "brd", "+")):
        lab.run(GATEWAY, "ip", "address", words[0], "192.168.1.1/24", *words[1:], "dev", "lan0")
    servers.name_service(lab, CLIENT, "192.168.1.10/24")
    # The name service has said its name by then.
    time.sleep(6)
    lab.run(GATEWAY, "conntrack", "-F")
    with lab.conntrack_told(), lab.capture_both_sides():
        # A helper looks for one command in a segment.
        applications.ftp_sessions(lab, at_once=False)
        applications.tftp_sessions(lab)
        offer = lab.spawn(CLIENT, sys.executable, IRC, "offer", SITE, "192.168.1.10",
                          servers.WEB_ROOT / "index.html")
        time.sleep(0.7)
        lab.run(SERVER, sys.executable, IRC, "take", SITE)
        offer.wait(timeout=10)
        tunnels.pptp_call(lab)
        for _ in range(2):
            lab.run(GATEWAY, "nmblookup", "-s", lab.scratch + "/smb.conf", "-B", "192.168.1.255",
                    "--option=interfaces=192.168.1.1/24", "STATION")
        time.sleep(0.5)


HELPED = (
    "ftp.request.command == PORT", "ftp.request.command == EPRT && ipv6",
    "ftp.response.code == 227", "ftp.response.code == 229 && ipv6", "tcp.srcport == 20",
    "tftp.opcode == 2", "tftp && ipv6", "irc.request.command == PRIVMSG", "gre.ack_number",
    "nbns.flags.response == 1")


GATEWAYS = (
    Gateway("helpers", helpers, HELPED),
    Gateway("helpers-nat", helpers, (*HELPED, "ip.src == 203.0.113.1 && gre",
                                     "ip.src == 203.0.113.1 && ftp.request.command == PORT")),
    Gateway("home-router", home_router, (
        "ip.src == 203.0.113.1 && tcp.dstport == 80 && tcp.srcport == 40000",
        "ip.src == 203.0.113.1 && tcp.dstport == 80 && tcp.flags == 0x002 && "
        "tcp.srcport != 40000",
        "icmp.type == 11", "icmp.type == 3 && ip.dst == 203.0.113.1",
        "icmp.type == 3 && ip.src == 203.0.113.1 && ip.dst == 203.0.113.5",
        "ip.src == 192.168.1.1 && ip.dst == 192.168.1.20 && tcp.dstport == 8000",
        "ip.dst == 192.168.1.20 && udp.dstport == 27005", "ipv6 && tcp.dstport == 80"),
        with_hosts(LINKS, "lan", "192.168.1.20/24")),
    Gateway("load-balancer", load_balancer, (
        *(f"ip.dst == 192.168.1.{host} && tcp.dstport == 8000" for host in (21, 22, 23)),
        *(f"ipv6.dst == fd00:1::{host} && tcp.dstport == 8000" for host in (21, 22, 23)),
        "ip.src == 203.0.113.1 && dns.flags.response == 1",
        "icmp.type == 3 && ip.src == 203.0.113.1", "tcp.srcport == 444 && tcp.flags.reset == 1"),
        with_hosts(LINKS, "lan", *(f"192.168.1.{host}/24" for host in (21, 22, 23)),
                   *(f"fd00:1::{host}/64" for host in (21, 22, 23)))),
    Gateway("docker", docker, (
        "ip.dst == 172.17.0.2 && tcp.dstport == 80", "ip.dst == 172.30.0.2 && tcp.dstport == 443",
        "ip.src == 203.0.113.1 && tcp.dstport == 80", "ip.dst == 172.30.0.3 && udp.dstport == 53",
        "icmp.type == 3 && ip.dst == 203.0.113.1", "icmp.type == 8 && ip.src == 203.0.113.1"),
        DOCKER_LINKS, DOCKER_ROUTES),
    Gateway("telephones", telephones, (
        "sip.Method == INVITE && ip.src == 203.0.113.5 && ip.dst == 192.168.1.10",
        "sip.Method == INVITE && ip.src == 203.0.113.1 && tcp", "sip.Method == INVITE && ipv6",
        "sip.Method == CANCEL", "sip.Method == REGISTER && ipv6", "sip.Status-Code == 487",
        "udp.port == 16384 && ip.src == 203.0.113.1", "udp.port == 16784 && ipv6",
        'sip.contact.host == "203.0.113.1" && sip.Method == REGISTER')),
)
