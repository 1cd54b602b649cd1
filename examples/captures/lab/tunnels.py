"""SCTP, and tunnels: GRE with Ethernet inside, PPTP with PPP inside.

The kernels these were made on have no SCTP, GRE or PPP of their own, so programs that bring theirs
make them: usrsctp over raw sockets, Open vSwitch with its datapath in user space, pptpd and pptp,
which call `ppp_peer.py` where they would call pppd.
"""

import pathlib
import signal
import sys
import time

from lab.catalogue import topic
from lab.network import CLIENT, SERVER, stop

USRSCTP = "/usr/lib/usrsctp/"
ABORT, PPP = (pathlib.Path(__file__).parent / name for name in ("sctp_abort.py", "ppp_peer.py"))


@topic("sctp.pcap", (USRSCTP + "tsctp", "python3"),
       (*(f"sctp.chunk_type == {kind}" for kind in (0, 1, 2, 3, 6, 7, 8, 10, 11, 14)),
        "icmp.code == 2 && sctp", "sctp && ipv6", "sctp.retransmission",
        "sctp.sack_number_of_gap_blocks > 0"))
def sctp(lab):
    """SCTP associations, IPv4 and IPv6: echo, a burst of data, loss with gaps and retransmission,
    shutdown, abort, a host that no longer speaks SCTP (ICMP protocol unreachable), an INIT answered
    with ABORT and one that nobody answers."""
    for where, link, address in ((CLIENT, "lan", "192.168.1.11"), (CLIENT, "lan", "192.168.1.66"),
                                 (SERVER, "wan", "203.0.113.53")):
        lab.run(where, "ip", "address", "del", f"{address}/24", "dev", link)
    servers = sctp_servers(lab)
    with lab.capture():
        for site in ("203.0.113.5", "fd00:2::5"):
            sctp_client(lab, site, 7, "echo hello; sleep 0.3; echo how are you; sleep 0.3")
        sctp_burst(lab, 30)
        lab.drop(SERVER, "input", "meta l4proto sctp meta length > 500 numgen inc mod 7 == 3")
        sctp_burst(lab, 20)
        lab.lose_nothing(SERVER)
        lab.run(CLIENT, sys.executable, ABORT, "203.0.113.5", "7")
        waiting = lab.spawn(CLIENT, "sh", "-c", f"(echo hello; sleep 1; echo again; sleep 1) |"
                            f" timeout 3 {USRSCTP}client 203.0.113.5 7 0 0 0")
        time.sleep(0.5)
        for server in servers:
            stop(server, signal.SIGKILL)
        waiting.wait(timeout=10)
        lab.spawn(SERVER, sys.executable, ABORT)
        time.sleep(0.3)
        sctp_client(lab, "203.0.113.5", 7, "sleep 0.1")
        lab.drop(SERVER, "input", "meta l4proto sctp")
        lab.try_run(CLIENT, "timeout", "4", USRSCTP + "client", "203.0.113.5", "7", "0", "0", "0")


@topic("sctp-multihomed.pcap", (USRSCTP + "tsctp",),
       (*(f"sctp.chunk_type == {kind}" for kind in (0, 1, 2, 4, 5, 14)),
        "sctp && ip.dst == 203.0.113.5", "sctp && ip.src == 203.0.113.53", "sctp && ipv6"))
def sctp_multihomed(lab):
    """SCTP between hosts with several addresses: INIT goes to one, INIT ACK comes from another,
    heartbeats go to all of them, IPv4 and IPv6, in one association."""
    sctp_servers(lab)
    with lab.capture():
        for site in ("203.0.113.5", "fd00:2::5"):
            sctp_client(lab, site, 7, "echo hello; sleep 0.3; echo how are you; sleep 0.3")
        sctp_burst(lab, 10)


def sctp_servers(lab):
    running = [lab.spawn(SERVER, USRSCTP + "echo_server"),
               lab.spawn(SERVER, USRSCTP + "tsctp", "-p", "5001")]
    time.sleep(0.5)
    return running


def sctp_client(lab, site, port, typing):
    lab.try_run(CLIENT, "sh", "-c", f"({typing}) | timeout 5 {USRSCTP}client {site} {port} 0 0 0")


def sctp_burst(lab, messages):
    lab.run(CLIENT, USRSCTP + "tsctp", "-n", messages, "-l", "1000", "-p", "5001", "203.0.113.5")


@topic("gre.pcap", ("ovs-vswitchd", "ping", "iperf3"),
       ("gre.proto == 0x6558", "gre.flags.key == 1", "gre.flags.checksum == 1",
        "gre && icmp", "gre && tcp"))
def gre(lab):
    """A GRE tunnel with Ethernet inside (as gretap makes): ping and a short TCP transfer through
    it, plain, then with a key, then with key and checksum."""
    ends = ((CLIENT, "lan", "192.168.1.10", "192.168.1.1", "203.0.113.5", "10.9.0.1"),
            (SERVER, "wan", "203.0.113.5", "203.0.113.1", "192.168.1.10", "10.9.0.2"))
    switches = [Switch(lab, *end) for end in ends]
    lab.run(SERVER, "iperf3", "-s", "-D", "--pidfile", f"{lab.scratch}/iperf3.pid")
    with lab.capture():
        for option in ("options:csum=false", "options:key=42", "options:csum=true"):
            for switch in switches:
                switch.tunnel(option)
            lab.run(CLIENT, "ping", "-c", "3", "-i", "0.2", "-W", "1", "10.9.0.2")
            lab.run(CLIENT, "iperf3", "-c", "10.9.0.2", "-n", "8K", "-l", "2K", "-M", "1000")


class Switch:
    """Open vSwitch in user space at one end: `phy` holds the link, `inside` the tunnel."""

    def __init__(self, lab, where, link, address, gateway, peer, inner):
        self.lab, self.where, self.peer = lab, where, peer
        self.place = f"{lab.scratch}/{where}"
        pathlib.Path(self.place).mkdir()
        self.database = f"unix:{self.place}/db.sock"
        lab.run(where, "ovsdb-tool", "create", f"{self.place}/db",
                "/usr/share/openvswitch/vswitch.ovsschema")
        self.daemon("ovsdb-server", f"{self.place}/db", f"--remote=p{self.database}")
        while not pathlib.Path(self.place, "db.sock").exists():
            time.sleep(0.02)
        self.vsctl("--no-wait", "init")
        self.daemon("ovs-vswitchd", "--disable-system", self.database)
        for bridge in ("phy", "inside"):
            self.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        lab.run(where, "ip", "-4", "address", "flush", "dev", link)
        self.vsctl("add-port", "phy", link)
        self.vsctl("add-port", "inside", "gre0", "--", "set", "interface", "gre0", "type=gre",
                   f"options:remote_ip={peer}")
        for bridge, network in (("phy", address), ("inside", inner)):
            lab.run(where, "ip", "address", "add", f"{network}/24", "dev", bridge)
            lab.run(where, "ip", "link", "set", bridge, "up", "mtu", "1400")
        lab.run(where, "ip", "route", "replace", "default", "via", gateway)
        lab.run(where, "ping", "-c", "1", gateway)

    def daemon(self, program, *words):
        self.lab.spawn(self.where, "env", f"OVS_RUNDIR={self.place}", program, *words,
                       f"--unixctl={self.place}/{program}.ctl", "-vconsole:off")

    def vsctl(self, *words):
        self.lab.run(self.where, "ovs-vsctl", f"--db={self.database}", "--timeout=10", *words)

    def tunnel(self, option):
        self.vsctl("set", "interface", "gre0", option)


@topic("pptp.pcap", ("pptpd", "pptp", "python3"),
       ("pptp.control_message_type == 1", "pptp.control_message_type == 7",
        "pptp.control_message_type == 8", "pptp.control_message_type == 12",
        "gre.flags.version == 1",
        "gre.ack_number", "ppp && icmp"))
def pptp(lab):
    """PPTP: the control connection that agrees on call ids, GRE version 1 with them both ways, PPP
    inside (LCP, IPCP, pings), and the call cleared."""
    pptp_server(lab)
    with lab.capture():
        pptp_call(lab)
        time.sleep(0.5)


def pptp_server(lab):
    for name, words in (("answer", "10.9.0.1"), ("call", "10.9.0.2 10.9.0.1")):
        program = pathlib.Path(lab.scratch, name)
        program.write_text(f"#!/bin/sh\nexec {sys.executable} {PPP} {words}\n")
        program.chmod(0o755)
    configuration = pathlib.Path(lab.scratch, "pptpd.conf")
    configuration.write_text(f"ppp {lab.scratch}/answer\noption /dev/null\nlisten 203.0.113.5\n"
                             f"pidfile {lab.scratch}/pptpd.pid\nlocalip 10.9.0.1\n"
                             "remoteip 10.9.0.2-20\n")
    lab.spawn(SERVER, "pptpd", "--fg", "--conf", configuration)
    lab.wait_listening(SERVER, 1723)


def pptp_call(lab):
    lab.try_run(CLIENT, "timeout", "8", "socat", f"EXEC:{lab.scratch}/call,pty,rawer",
                "EXEC:pptp 203.0.113.5 --nolaunchpppd --nohostroute,pty,rawer")
