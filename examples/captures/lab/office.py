"""The README's example: a few seconds in a small office."""

from lab import servers
from lab.catalogue import topic
from lab.network import CLIENT, SERVER

PERSON, COLLEAGUE, VISITOR = "192.168.1.10", "192.168.1.11", "192.168.1.66"
TYPING = "echo hello; sleep 0.5; echo how are you; sleep 0.4; echo bye"
SCANS = (("-sS", "22-25,80"), ("-sF", "22,110"), ("-sX", "22,143"), ("-sN", "22,993"))


@topic("office.pcap",
       ("curl", "nginx", "dig", "dnsmasq", "ssh", "sshd", "nc.openbsd", "socat", "ping",
        "traceroute", "nmap"),
       ("dns.flags.response == 1", "http.request", "ssh", "icmp.type == 8", "icmp.type == 11",
        "icmp.type == 3 && icmp.code == 3 && dns", "tcp.options.sack_le", "icmpv6.type == 128",
        "tcp.flags == 0x14 && tcp.srcport == 2525", "tcp.flags == 0x29", "tcp.flags == 0",
        "tcp.port == 7000 && tcp.flags.fin == 1", "tcp.len > 0 && ipv6"))
def office(lab):
    """A few seconds of a small office: names looked up, pages and a lossy download over HTTP, SSH,
    a chat, ping, traceroute, a closed port, a DNS server that is not one, and a visitor who scans.

    The colleague's wireless link loses every 25th segment of the download, so selective
    acknowledgements and retransmissions appear, and the window is scaled.
    """
    servers.web(lab)
    servers.names(lab)
    servers.shell(lab)
    lab.spawn(SERVER, "socat", "TCP-LISTEN:7000,reuseaddr", "EXEC:cat")
    lab.wait_listening(SERVER, 7000)
    lab.drop(CLIENT, "input", "ip daddr", COLLEAGUE, "tcp sport 80 numgen inc mod 25 == 9")

    page = ("curl", "-sS", "-o", "/dev/null", "-4", "--interface", PERSON)
    site = "http://www.example.test"
    with lab.capture():
        lab.together(
            (0.0, CLIENT, "dig", "+short", "www.example.test"),
            (0.1, CLIENT, *page, f"{site}/index.html", "-o", "/dev/null", f"{site}/style.css"),
            (0.2, CLIENT, "ping", "-c", "4", "-i", "0.3", "203.0.113.5"),
            (0.3, CLIENT, *servers.ssh("203.0.113.5", "sleep 1; uname; ls /run/lab/www")),
            (0.5, CLIENT, "traceroute", "-n", "-q", "2", "-N", "2", "203.0.113.5"),
            (0.6, CLIENT, "sh", "-c", f"({TYPING}) | nc.openbsd -N 203.0.113.5 7000"),
            (0.8, CLIENT, "curl", "-sS", "-o", "/dev/null", "-4", "--interface", COLLEAGUE,
             "http://intranet.example.test/plan.pdf"),
            (1.2, CLIENT, "nc.openbsd", "-w", "1", "203.0.113.5", "2525"),
            (1.4, CLIENT, "dig", "+tries=1", "+time=1", "@203.0.113.5", "www.example.test"),
            (1.6, CLIENT, "curl", "-sS", "-o", "/dev/null", "-6", f"{site}/logo.svg"),
            (1.8, CLIENT, "ping", "-6", "-c", "2", "-i", "0.3", "fd00:2::5"),
            (2.0, CLIENT, "dig", "+short", "nobody.example.test"),
        )
        for kind, ports in SCANS:
            lab.run(CLIENT, "nmap", kind, "-n", "-Pn", "-S", VISITOR, "-e", "lan", "-p", ports,
                    "--max-retries", "0", "203.0.113.5")
