"""Applications: HTTP, DNS, FTP, SIP, TFTP, and one gateway seen from several places."""

import gzip
import pathlib
import time

from lab import servers
from lab.catalogue import topic
from lab.network import CLIENT, GATEWAY, SERVER

SITE, SITE6 = "http://203.0.113.5", "http://[fd00:2::5]"
CURL = ("curl", "-sS", "-o", "/dev/null")
SILENCE = ("-o", "/dev/null")
SCENARIOS = pathlib.Path(__file__).parent / "sip"


@topic("http.pcap.gz", ("curl", "nginx"),
       ("http.request.method == HEAD", "http.request.method == POST", "http.response.code == 304",
        "http.response.code == 404", "ipv6 && http.request",
        "http.request.version == \"HTTP/1.0\""))
def http(lab):
    """HTTP over IPv4 and IPv6: several requests on one connection, four connections at once, HEAD,
    POST, 304, 404, and HTTP/1.0 where the server closes first. The file is gzipped."""
    servers.web(lab)
    plain = pathlib.Path(lab.scratch, "http.pcap")
    with lab.capture(path=plain):
        lab.run(CLIENT, *CURL, f"{SITE}/", *SILENCE, f"{SITE}/logo.svg", *SILENCE,
                f"{SITE}/style.css")
        lab.run(CLIENT, *CURL, "--parallel", "--parallel-immediate", f"{SITE}/logo.svg",
                *SILENCE, f"{SITE}/style.css", *SILENCE, f"{SITE}/index.html", *SILENCE,
                f"{SITE}/plan.pdf")
        lab.run(CLIENT, *CURL, "-I", f"{SITE}/")
        lab.run(CLIENT, *CURL, "-d", "name=value", f"{SITE}/index.html")
        lab.run(CLIENT, *CURL, "-z", "1 Jan 2037", f"{SITE}/index.html")
        lab.run(CLIENT, *CURL, "-0", f"{SITE}/style.css")
        lab.run(CLIENT, *CURL, f"{SITE6}/missing", *SILENCE, f"{SITE6}/logo.svg")
        lab.run(CLIENT, *CURL, "-0", f"{SITE6}/index.html")
    lab.path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))


@topic("dns.pcap", ("dig", "dnsmasq"),
       ("dns.flags.rcode == 3", "dns.flags.truncated == 1", "tcp.port == 53 && dns",
        "dns && ipv6", "dns.retransmit_request", "ip.flags.mf == 1", "dns.qry.type == 15",
        "icmp.type == 3"))
def dns(lab):
    """Names over UDP and TCP, IPv4 and IPv6: answers that are truncated and asked again over TCP or
    come in fragments, a burst of sixteen queries, lost queries asked again from the same port, a
    server that never answers, one that does not exist, names that do not exist."""
    servers.names(lab)
    servers.names(lab, SERVER, "fd00:2::5")
    questions = pathlib.Path(lab.scratch, "questions")
    questions.write_text("".join(f"host{number}.example.test\n" for number in range(16)))
    ask = ("dig", "@203.0.113.53")
    with lab.capture():
        for name in (("www.example.test",), ("www.example.test", "AAAA"), ("example.test", "MX"),
                     ("nobody.example.test",), ("-x", "203.0.113.53")):
            lab.run(CLIENT, *ask, *name)
        lab.run(CLIENT, *ask, "+noedns", "long.example.test", "TXT")
        lab.run(CLIENT, *ask, "+bufsize=4096", "long.example.test", "TXT")
        lab.run(CLIENT, *ask, "+tcp", "www.example.test")
        lab.run(CLIENT, *ask, "-f", questions)
        lab.run(CLIENT, "dig", "@fd00:2::5", "www.example.test", "AAAA")
        lab.run(CLIENT, "dig", "@fd00:2::5", "+tcp", "+bufsize=4096", "long.example.test", "TXT")
        lab.try_run(CLIENT, "dig", "@203.0.113.5", "+tries=1", "+time=1", "www.example.test")
        lab.drop(SERVER, "input", "udp dport 53 numgen inc mod 2 == 0")
        lab.run(CLIENT, "getent", "ahosts", "www.example.test")
        lab.run(CLIENT, *ask, "+tries=3", "+time=1", "www.example.test")
        lab.lose_nothing(SERVER)
        lab.drop(SERVER, "input", "udp dport 53")
        lab.try_run(CLIENT, *ask, "+tries=3", "+time=1", "www.example.test")
        lab.try_run(CLIENT, "getent", "ahostsv4", "www.example.test")


@topic("ftp.pcap", ("curl", "lftp", "vsftpd"),
       ("ftp.request.command == EPSV && ip", "ftp.request.command == EPSV && ipv6",
        "ftp.request.command == PASV", "ftp.request.command == PORT",
        "ftp.request.command == EPRT && ip", "ftp.request.command == EPRT && ipv6",
        "ftp.request.command == STOR", "ftp.response.code == 226", "tcp.srcport == 20"))
def ftp(lab):
    """FTP with its data connections: passive by PASV and EPSV, active by PORT and EPRT, over IPv4
    and IPv6; downloads, an upload, listings, several files in one session, a missing file."""
    servers.files(lab)
    with lab.capture():
        ftp_sessions(lab)


def ftp_sessions(lab, at_once=True):
    """`at_once`: one client says several commands without waiting for answers."""
    site, site6 = "ftp://203.0.113.5", "ftp://[fd00:2::5]"
    session = "ls; get index.html -o /dev/null; get style.css -o /dev/null; cd incoming; ls; bye"
    lab.run(CLIENT, *CURL, f"{site}/logo.svg")
    lab.run(CLIENT, *CURL, "--disable-epsv", f"{site}/style.css")
    lab.run(CLIENT, *CURL, "--disable-eprt", "--ftp-port", "-", f"{site}/logo.svg")
    lab.run(CLIENT, *CURL, "--ftp-port", "-", f"{site}/")
    lab.run(CLIENT, *CURL, "-T", "/run/lab/www/logo.svg", f"{site}/incoming/")
    lab.run(CLIENT, *CURL, f"{site6}/logo.svg")
    lab.run(CLIENT, *CURL, "--ftp-port", "-", f"{site6}/style.css")
    lab.try_run(CLIENT, *CURL, f"{site}/missing")
    for passive in ("on", "off"):
        lab.run(CLIENT, "lftp", "-c", f"set ftp:passive-mode {passive}; set ftp:sync-mode "
                f"{'off' if at_once else 'on'}; set net:max-retries 1; open {site}; {session}")


@topic("sip.pcap", ("sipp",),
       ("sip.Method == REGISTER", "sip.Method == INVITE && ip.src == 192.168.1.10",
        "sip.Method == INVITE && ip.src == 203.0.113.5", "sip.Method == CANCEL",
        "sip.Method == BYE", "sip && tcp", "sip && ipv6", "udp.port == 16384",
        "sip.Status-Code == 487"))
def sip(lab):
    """SIP with sound: a telephone registers, is called from outside, calls out over UDP, TCP and
    IPv6, and one caller gives up while it rings. RTP both ways for more than two seconds."""
    pathlib.Path(lab.scratch, "tone.alaw").write_bytes(bytes((0xD5, 0x55) * 12000))
    phone, provider = (CLIENT, "192.168.1.10"), (SERVER, "203.0.113.5")
    phone6, provider6 = (CLIENT, "fd00:1::10"), (SERVER, "fd00:2::5")
    with lab.capture():
        sip_pair(lab, ("registrar", *provider), ("register", *phone))
        sip_pair(lab, ("phone", *phone), ("call", *provider), talk=2600)
        sip_pair(lab, ("ringing", *provider), ("cancel", *phone), media=16484)
        sip_pair(lab, ("phone", *provider), ("call", *phone), transport="t1", media=16584)
        sip_pair(lab, ("phone", *provider6), ("call", *phone6), media=16684)


def sip_pair(lab, answering, asking, transport="u1", media=16384, talk=400, called=None,
             port=5060):
    """One scenario at each end; both use port 5060, as telephones do, or the one who asks another.
    `talk` is milliseconds. It may be called by another address than its own."""
    def sipp(scenario, address, port=5060):
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        text = text.replace("TONE", f"{lab.scratch}/tone.alaw").replace("TALK", str(talk))
        pathlib.Path(lab.scratch, f"{scenario}.xml").write_text(text)
        return ("sipp", "-sf", f"{scenario}.xml", "-i", address, "-mi", address, "-mp", media,
                "-p", port, "-m", "1", "-t", transport, "-nostdin")

    scenario, there, address = answering
    server = lab.spawn(there, *sipp(scenario, address), cwd=lab.scratch)
    lab.wait_listening(there, 5060, "tcp" if transport == "t1" else "udp")
    scenario, here, own = asking
    address = called or address
    remote = f"[{address}]" if ":" in address else address
    lab.run(here, *sipp(scenario, own, port), f"{remote}:5060", timeout=20, cwd=lab.scratch)
    server.wait(timeout=20)


@topic("tftp.pcap", ("tftp", "in.tftpd"),
       ("tftp.opcode == 1", "tftp.opcode == 2", "tftp.opcode == 3", "tftp.opcode == 5",
        "tftp && ipv6"))
def tftp(lab):
    """TFTP, where the server answers from a port of its own: files read and written, one missing;
    IPv4 and IPv6."""
    servers.small_files(lab)
    with lab.capture():
        tftp_sessions(lab)


def tftp_sessions(lab):
    for site, own in (("203.0.113.5", "-4"), ("fd00:2::5", "-6")):
        lab.run(CLIENT, "tftp", own, "-m", "binary", site, "-c", "get", "logo.svg",
                cwd=lab.scratch)
        lab.run(CLIENT, "tftp", own, "-m", "binary", site, "-c", "put", "style.css",
                cwd="/run/lab/www")
        lab.try_run(CLIENT, "tftp", own, site, "-c", "get", "missing", cwd=lab.scratch)


@topic("both-sides.pcapng", ("dumpcap", "curl", "nginx", "dig", "dnsmasq", "ping", "traceroute"),
       ("frame.interface_name == lan0", "frame.interface_name == wan0",
        "dns && ip.dst == 192.168.1.1", "dns && ip.src == 203.0.113.1", "http && ipv6"))
def both_sides(lab):
    """Every packet twice, going in and out: lan0 and wan0 of the gateway in one pcapng that names
    the interfaces. The gateway's own name server asks on; pages, ping, traceroute."""
    servers.web(lab)
    servers.names(lab)
    servers.names(lab, GATEWAY, "192.168.1.1", "--server=203.0.113.53", "--cache-size=100")
    with lab.capture_both_sides():
        for _ in range(2):
            lab.run(CLIENT, "dig", "@192.168.1.1", "www.elsewhere.test")
        lab.run(CLIENT, *CURL, f"{SITE}/style.css")
        lab.run(CLIENT, *CURL, f"{SITE6}/logo.svg")
        lab.run(CLIENT, "ping", "-c", "2", "-i", "0.2", "203.0.113.5")
        lab.run(CLIENT, "ping", "-c", "1", "192.168.1.1")
        lab.run(CLIENT, "traceroute", "-n", "-q", "1", "203.0.113.5")
        lab.try_run(CLIENT, *CURL, f"{SITE}:81/")


@topic("any.pcap", ("curl", "nginx", "ping", "dig", "dnsmasq"),
       ("sll.pkttype == 0", "sll.pkttype == 4", "http", "ip.addr == 127.0.0.1"))
def any_interface(lab):
    """What `tcpdump -i any` writes (LINUX_SLL2): all interfaces of the gateway with direction and
    number, its loopback, its own traffic and what it forwards."""
    servers.web(lab)
    servers.names(lab)
    with lab.capture("-y", "LINUX_SLL2", interface="any"):
        lab.run(CLIENT, *CURL, f"{SITE}/style.css")
        lab.run(CLIENT, "dig", "@203.0.113.53", "www.example.test")
        lab.run(CLIENT, "ping", "-c", "2", "-i", "0.2", "192.168.1.1")
        lab.run(GATEWAY, *CURL, f"{SITE}/index.html")
        lab.run(GATEWAY, "ping", "-c", "1", "127.0.0.1")
        lab.run(GATEWAY, "ping", "-c", "1", "fd00:2::5")
        lab.try_run(GATEWAY, *CURL, "http://192.168.1.1/")
