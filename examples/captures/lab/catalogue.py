"""What a capture is called, what it must contain, and the README's table of them all.

A capture that lacks what its name promises is worse than none: each topic lists tshark filters,
and each must match at least one packet of the finished file.
"""

import inspect
import pathlib
import platform
import shutil

from lab.network import command

BEGIN, END = "<!-- table made by ./make -->", "<!-- end of table -->"
HEAD = "| file | packets | what it shows | made by | again |\n|---|---:|---|---|---|\n"
PACKAGES = {  # program: Debian package
    "busybox": "busybox", "curl": "curl", "dig": "bind9-dnsutils", "dnsmasq": "dnsmasq-base",
    "dumpcap": "wireshark-common", "ethtool": "ethtool", "in.tftpd": "tftpd-hpa", "ip": "iproute2",
    "iperf3": "iperf3", "nc.openbsd": "netcat-openbsd", "nft": "nftables", "nginx": "nginx-light",
    "lftp": "lftp", "nmap": "nmap", "ovs-vswitchd": "openvswitch-switch", "ping": "iputils-ping",
    "pptp": "pptp-linux", "pptpd": "pptpd", "python3": "python3", "sipp": "sip-tester",
    "socat": "socat", "ssh": "openssh-client", "sshd": "openssh-server", "sysctl": "procps",
    "tcpdump": "tcpdump", "tftp": "tftp-hpa", "tracepath": "iputils-tracepath",
    "traceroute": "traceroute", "tshark": "tshark", "vsftpd": "vsftpd",
    "unshare": "util-linux", "/usr/lib/usrsctp/tsctp": "libusrsctp-examples",
}
CHECK_CHECKSUMS = ("-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
ALWAYS = ("ethtool", "ip", "nft", "sysctl", "tcpdump", "tshark", "unshare")


class Topic:
    def __init__(self, make, file, programs, contains, lab):
        self.make, self.file, self.programs, self.contains, self.lab = (
            make, file, programs, contains, lab)
        self.name = file.split(".")[0]
        self.shows = " ".join(inspect.getdoc(make).split("\n\n")[0].split())

    def missing_packages(self):
        return {PACKAGES[program] for program in (*ALWAYS, *self.programs)
                if not shutil.which(program)}

    def lacking(self, path):
        """The promised filters that match nothing in the finished capture."""
        return [wanted for wanted in self.contains if matching(path, wanted) == 0]

    def row(self, path):
        made_by = ", ".join(version(program) for program in self.programs)
        return (f"| [`{self.file}`]({self.file}) | {packets(path)} | {self.shows} | {made_by} "
                f"| `./make {self.name}` |\n")


def topic(file, programs, contains, **lab):
    """Mark a function as the maker of one capture; its docstring is what the README says."""
    def mark(make):
        make.topic = Topic(make, file, programs, contains, lab)
        return make
    return mark


def topics_of(theme):
    return [thing.topic for thing in vars(theme).values() if hasattr(thing, "topic")]


def matching(path, display_filter):
    lines = command("tshark", "-n", *CHECK_CHECKSUMS, "-r", path, "-Y", display_filter,
                    allow_failure=True)
    return sum(1 for line in lines.splitlines() if line.strip()[:1].isdigit())


def packets(path):
    said = command("capinfos", "-cM", path)
    return int(said.split("Number of packets:")[1].split()[0])


def version(program):
    if program == "python3":
        return f"python3 {platform.python_version()}"
    package = PACKAGES[program]
    number = command("dpkg-query", "-W", "-f", "${Version}", package, allow_failure=True)
    return f"{pathlib.Path(program).name} {number}"


def update_readme(readme, made, into):
    """Replace the rows of the captures just made; the others keep theirs."""
    if not readme.exists():
        return
    before, rest = readme.read_text().split(BEGIN)
    table, after = rest.split(END)
    rows = {row.split("`")[1]: row + "\n" for row in table.splitlines() if row.startswith("| [")}
    rows |= {topic.file: topic.row(into / topic.file) for topic in made}
    office_first = sorted(rows, key=lambda file: (not file.startswith("office"), file))
    body = HEAD + "".join(rows[file] for file in office_first)
    readme.write_text(f"{before}{BEGIN}\n\n{body}\n{END}{after}")
