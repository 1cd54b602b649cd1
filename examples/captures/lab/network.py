"""Client, gateway and server: three network namespaces in a row, and tcpdump on the gateway.

    client                       gateway                        server
    lan ------------------- lan0         wan0 ------------------- wan
    192.168.1.10, .11, .66  192.168.1.1  203.0.113.1              203.0.113.5, .53
    fd00:1::10              fd00:1::1    fd00:2::1                fd00:2::5

The gateway forwards; it has no firewall and no NAT, so no conntrack rewrites what is captured.
Every capture gets a network of its own: no ARP entry, route cache or TCP metric of an earlier one
shows through. Checksum offload and large segments are off unless a capture asks for them, so that
checksums are whole and packets are what a wire would carry.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time

from lab.pcapng import forget_the_machine

CLIENT, GATEWAY, SERVER = "client", "gateway", "server"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

LINKS = (  # namespace, interface, MAC address, addresses; in pairs, the gateway's end second
    (CLIENT, "lan", "02:00:00:00:01:10", ("192.168.1.10/24", "192.168.1.11/24", "192.168.1.66/24",
                                          "fd00:1::10/64")),
    (GATEWAY, "lan0", "02:00:00:00:01:01", ("192.168.1.1/24", "fd00:1::1/64")),
    (SERVER, "wan", "02:00:00:00:02:05", ("203.0.113.5/24", "203.0.113.53/24", "fd00:2::5/64")),
    (GATEWAY, "wan0", "02:00:00:00:02:01", ("203.0.113.1/24", "fd00:2::1/64")),
)
ROUTES = (
    (CLIENT, "-4", "192.168.1.1"), (CLIENT, "-6", "fd00:1::1"),
    (SERVER, "-4", "203.0.113.1"), (SERVER, "-6", "fd00:2::1"),
)
SYSCTLS = {
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv4.icmp_echo_ignore_broadcasts": 0,
    "net.ipv6.icmp.ratelimit": 0,
}
FORWARDING = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}


class Lab:
    """One network and one capture: a context manager that leaves no process behind."""

    def __init__(self, path, offload=False, links=LINKS, routes=ROUTES):
        self.path = path
        self.offload = offload
        self.links = links
        self.routes = routes
        self.namespaces = sorted({name for name, *_ in links})
        self.processes = []
        self.scratch = tempfile.mkdtemp(prefix="capture-", dir="/run/lab")

    def __enter__(self):
        for name in self.namespaces:
            command("ip", "netns", "add", name)
            self.run(name, "ip", "link", "set", "lo", "up")
            self.set(name, SYSCTLS)
        self.set(GATEWAY, FORWARDING)
        for (end, link, *_), (other_end, other, *_) in zip(self.links[::2], self.links[1::2]):
            command("ip", "link", "add", link, "netns", end, "type", "veth",
                    "peer", other, "netns", other_end)
        for name, link, mac, addresses in self.links:
            self.run(name, "ip", "link", "set", link, "address", mac)
            for address in addresses:
                self.run(name, "ip", "address", "add", address, "dev", link)
            if not self.offload:
                self.run(name, "ethtool", "-K", link, "tx", "off", "tso", "off", "gso", "off",
                         "gro", "off")
            self.run(name, "ip", "link", "set", link, "up")
        for name, family, via in self.routes:
            self.run(name, "ip", family, "route", "add", "default", "via", via)
        self.wait_for_links()
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            stop(process, signal.SIGTERM, patience=0.5)
        for name in self.namespaces:
            command("ip", "netns", "delete", name)

    def wait_for_links(self):
        """A link is ready when it has a link-local address; until then IPv6 hears nothing."""
        for name, link, *_ in self.links:
            while "fe80" not in self.run(name, "ip", "-6", "address", "show", "dev", link):
                time.sleep(0.05)

    def set(self, where, sysctls):
        self.run(where, "sysctl", "-qw", *(f"{key}={value}" for key, value in sysctls.items()))

    def run(self, where, *words, allow_failure=False, timeout=60, **options):
        """Run a program in a namespace to its end and give its output."""
        return command("ip", "netns", "exec", where, *words, allow_failure=allow_failure,
                       timeout=timeout, **options)

    def try_run(self, where, *words, **options):
        """Run a program whose failure is part of the example: a refused connection, say."""
        return self.run(where, *words, allow_failure=True, **options)

    def spawn(self, where, *words, **options):
        """Start a program in a namespace; it is stopped when the capture is done."""
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
                   "stdin": subprocess.DEVNULL} | options
        process = subprocess.Popen(("ip", "netns", "exec", where, *map(str, words)), **options)
        self.processes.append(process)
        return process

    def together(self, *schedule):
        """Run (delay, namespace, words...) side by side and wait for all of them."""
        began, running = time.monotonic(), []
        for delay, where, *words in sorted(schedule, key=lambda entry: entry[0]):
            time.sleep(max(0, began + delay - time.monotonic()))
            running.append(self.spawn(where, *words))
        for process in running:
            process.wait(timeout=60)

    def wait_listening(self, where, port, kind="tcp"):
        """Wait until a server has its socket: asking it would put packets into the capture."""
        flag = {"tcp": "-t", "udp": "-u"}[kind]
        for _ in range(200):
            if self.run(where, "ss", "-Hln", flag, f"sport = {port}").strip():
                return
            time.sleep(0.02)
        raise TimeoutError(f"nothing listens on {kind} port {port} in {where}")

    @contextlib.contextmanager
    def inside(self, where):
        """Sockets opened in this block belong to the namespace, and stay there afterwards."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{where}", os.O_RDONLY)
        try:
            enter(there)
            yield
        finally:
            enter(home)
            os.close(there)
            os.close(home)

    @contextlib.contextmanager
    def capture(self, *arguments, interface="lan0", path=None):
        """Capture on the gateway while the block runs. Options and filter are tcpdump's."""
        with self.recorder("listening on", "tcpdump", "-i", interface, "-s", "0", "-Z", "root",
                           "--immediate-mode", "--time-stamp-precision=nano", "-nU",
                           "-w", path or self.path, *arguments):
            yield

    @contextlib.contextmanager
    def capture_both_sides(self, *interfaces):
        """Capture lan0 and wan0, or others, into one pcapng that names the interfaces."""
        named = [word for name in interfaces or ("lan0", "wan0") for word in ("-i", name)]
        with self.recorder("File:", "dumpcap", "-q", *named, "-w", self.path,
                           "--capture-comment", "stateward example: both sides of one gateway"):
            yield
        forget_the_machine(self.path)

    @contextlib.contextmanager
    def conntrack_told(self):
        """Write down beside the capture what conntrack tells of connections and expectations."""
        with contextlib.ExitStack() as files:
            for table, name in (("conntrack", "connections"), ("expect", "expectations")):
                told = files.enter_context(self.path.with_name(f"{name}.txt").open("w"))
                listener = self.spawn(GATEWAY, "conntrack", "-E", table, stdout=told)
                files.callback(stop, listener, signal.SIGINT)
            time.sleep(0.3)
            yield
            time.sleep(0.3)

    @contextlib.contextmanager
    def recorder(self, ready, *words):
        process = subprocess.Popen(("ip", "netns", "exec", GATEWAY, *map(str, words)),
                                   stderr=subprocess.PIPE, text=True)
        said = ""
        for line in process.stderr:
            said += line
            if ready in line:
                break
        else:
            raise RuntimeError(f"{words[0]} did not start: {said}")
        try:
            time.sleep(0.1)
            yield
            time.sleep(0.3)
        finally:
            stop(process, signal.SIGINT)

    def drop(self, where, hook, *rule):
        """Lose the packets that match an nftables rule."""
        self.firewall(where, hook, *rule, "drop")

    def overtake(self, where, rule, slow_class):
        """Let later packets overtake these, which wait in a slow traffic class."""
        self.firewall(where, "postrouting", rule, "meta priority set", slow_class)

    def firewall(self, where, hook, *rule):
        self.run(where, "nft", "-f", "-", input=f"""
            table inet loss {{ chain {hook} {{
                type filter hook {hook} priority 0
                {" ".join(rule)}
              }}
            }}""")

    def lose_nothing(self, where):
        self.run(where, "nft", "delete", "table", "inet", "loss")


def command(*words, allow_failure=False, timeout=60, **options):
    """Run a program to its end; its words are shown when it fails and was not allowed to."""
    done = subprocess.run(tuple(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=timeout, check=False, **options)
    if done.returncode != 0 and not allow_failure:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stdout.strip()}")
    return done.stdout


def enter(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def stop(process, how, patience=3):
    """Ask a program to end; after so many seconds, end it."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
