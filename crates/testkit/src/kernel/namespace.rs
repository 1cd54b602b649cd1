//! A network namespace of the judge: two TUN devices, routes, checkpoints, sockets.
//!
//! The thread that calls [`Namespace::enter`] moves into a new namespace and stays in it; it may
//! end only together with the [`Namespace`]. When its descriptors close, the kernel takes
//! everything down.
//!
//! The order matters twice. Defaults for IPv6 must stand before the devices exist, or the kernel
//! sends packets of its own. The chain that swallows what is delivered must be registered before
//! conntrack is in use in the namespace, because of two functions of equal priority the older runs
//! last, and it has to run after the confirmation.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto,
    socket,
};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::command;
use super::event;
use super::log::{self, GROUP_CHECKPOINT};
use super::socket::Netlink;
use super::sysctl;

/// Everything the judge has in a namespace.
pub(super) struct Namespace {
    pub(super) lan: Port,
    pub(super) wan: Port,
    pub(super) local: RawSockets,
    /// Listens to the events of conntrack.
    pub(super) events: Netlink,
    /// Listens to NFLOG.
    pub(super) log: Netlink,
    /// For requests and dumps.
    pub(super) requests: Netlink,
    /// Index of `lo`.
    pub(super) loopback: u32,
}

/// A TUN device.
pub(super) struct Port {
    device: SyncDevice,
    pub(super) index: u32,
    buffer: Vec<u8>,
}

impl Port {
    fn create(name: &str) -> io::Result<Self> {
        let device = DeviceBuilder::new().name(name).build_sync()?;
        device.set_nonblocking(true)?;
        Ok(Self { device, index: index(name)?, buffer: vec![0; 65536] })
    }

    /// Gives a packet to the kernel as if it had arrived here.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.device.send(packet).map(drop)
    }

    /// The next packet that left here, if there is one.
    pub(super) fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.device.recv(&mut self.buffer) {
            Ok(length) => Ok(self.buffer.get(..length).map(<[u8]>::to_vec)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn index(name: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/thread-self/net/dev_snmp6/{name}"))?;
    let field = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    field.ok_or_else(|| io::Error::other(format!("no interface index for {name}")))
}

/// Raw sockets that send whole packets, IP header included.
pub(super) struct RawSockets {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl RawSockets {
    fn open() -> io::Result<Self> {
        let open =
            |family| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw);
        Ok(Self { v4: open(AddressFamily::Inet)?, v6: open(AddressFamily::Inet6)? })
    }

    /// Sends a packet as a process of this host would. A hook's refusal is EPERM here.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        let cut = || io::Error::from(io::ErrorKind::InvalidInput);
        let version = packet.first().ok_or_else(cut)? >> 4;
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = if version == 6 {
            let bytes =
                packet.get(24..).and_then(|rest| rest.first_chunk::<16>()).ok_or_else(cut)?;
            let to = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::from(*bytes), 0, 0, 0));
            sendto(self.v6.as_raw_fd(), packet, &to, flags)
        } else {
            let bytes =
                packet.get(16..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(cut)?;
            let to = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::from(*bytes), 0));
            sendto(self.v4.as_raw_fd(), packet, &to, flags)
        };
        Ok(sent.map(drop)?)
    }
}

/// Set before the devices exist, so that they inherit what is under `default`.
const SYSCTLS_BEFORE: &[(&str, &str)] = &[
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    ("net.ipv6.conf.default.addr_gen_mode", "1"),
    ("net.ipv6.conf.default.ndisc_notify", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.default.accept_local", "1"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_ratemask", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
    ("net.netfilter.nf_conntrack_acct", "1"),
    ("net.netfilter.nf_conntrack_events", "1"),
    ("net.netfilter.nf_conntrack_log_invalid", "255"),
    ("net.netfilter.nf_log.2", "nfnetlink_log"),
    ("net.netfilter.nf_log.10", "nfnetlink_log"),
];

/// Read-only in a child namespace of some kernels, where the limit is one for the machine.
const SYSCTLS_IF_THERE: &[(&str, &str)] =
    &[("net.ipv4.icmp_msgs_per_sec", "1000000"), ("net.ipv4.icmp_msgs_burst", "1000000")];

const LINKS: &str = "\
link set lo up
link set lan0 multicast off
link set wan0 multicast off
address add 192.168.1.1/24 dev lan0
address add 203.0.113.1/24 dev wan0
address add fd00:1::1/64 dev lan0 nodad
address add fd00:2::1/64 dev wan0 nodad
link set lan0 up
link set wan0 up
route add default dev wan0
route add ::/0 dev wan0
";

impl Namespace {
    /// Moves the calling thread into a new namespace and sets it up.
    pub(super) fn enter() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        for (name, value) in SYSCTLS_BEFORE {
            sysctl::write(name, value)?;
        }
        for (name, value) in SYSCTLS_IF_THERE {
            let _ = sysctl::write(name, value);
        }
        command::succeed(&["nft", "-f", "-"], &silence())?;
        let lan = Port::create("lan0")?;
        let wan = Port::create("wan0")?;
        command::succeed(&["ip", "-batch", "-"], LINKS)?;
        settle()?;
        let mut events = Netlink::open(event::GROUPS)?;
        let mut log = Netlink::open(0)?;
        log::listen(&mut log)?;
        command::succeed(&["nft", "-f", "-"], &checkpoints())?;
        let requests = Netlink::open(0)?;
        events.drain(|_| {})?;
        let loopback = index("lo")?;
        Ok(Self { lan, wan, local: RawSockets::open()?, events, log, requests, loopback })
    }
}

/// Waits until the devices' IPv6 addresses are the host's own: the kernel makes them so a moment
/// after they are added, when it comes to it.
fn settle() -> io::Result<()> {
    /// Of each device the address and the subnet's anycast address, as routes of full length.
    const ROUTES: usize = 4;
    const PATIENCE: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route")?;
        let own = routes.lines().filter(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&"80") && matches!(words.last(), Some(&("lan0" | "wan0")))
        });
        if own.count() == ROUTES {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::other("the IPv6 addresses of the judge's devices have not become its own"))
}

/// Everything delivered ends here, so that the host's own answers do not interfere; and its
/// neighbour and group discovery, which no process sends, goes nowhere.
fn silence() -> String {
    format!(
        "table inet judge_silence {{
        chain input {{ type filter hook input priority 2147483647; policy drop;
            log prefix \"delivered\" group {GROUP_CHECKPOINT}
        }}
        chain output {{ type filter hook output priority -2000;
            meta skuid 0-4294967294 accept
            icmpv6 type {{ 130, 131, 132, 133, 135, 136, 143 }} drop
            ip protocol igmp drop
        }}
        }}\n"
    )
}

/// The judge's eyes.
fn checkpoints() -> String {
    let mut text = String::from("table inet judge {\n");
    for hook in ["prerouting", "output"] {
        text += &look(hook, -450, "enter");
        text += &look(hook, -350, "defragmented");
        text += &classify(hook);
        text += &look(hook, 1000, "leave");
    }
    for hook in ["input", "forward", "postrouting"] {
        text += &look(hook, -1000, "enter");
        text += &look(hook, 1000, "leave");
    }
    text + "}\n"
}

fn look(hook: &str, priority: i32, prefix: &str) -> String {
    format!(
        "chain {hook}_{prefix} {{ type filter hook {hook} priority {priority};
            log prefix \"{prefix}\" group {GROUP_CHECKPOINT}
        }}\n"
    )
}

fn classify(hook: &str) -> String {
    let mut rules = String::new();
    for state in ["established", "new", "related"] {
        for direction in ["original", "reply"] {
            rules += &format!(
                "ct state {state} ct direction {direction} \
                 log prefix \"{state} {direction}\" group {GROUP_CHECKPOINT} accept\n"
            );
        }
    }
    for state in ["invalid", "untracked"] {
        rules +=
            &format!("ct state {state} log prefix \"{state}\" group {GROUP_CHECKPOINT} accept\n");
    }
    format!(
        "chain {hook}_classified {{ type filter hook {hook} priority -199;
            {rules}
        }}\n"
    )
}
