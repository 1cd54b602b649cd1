//! What a dialogue is held under: sysctls and the network, drawn at random.

use super::random::Random;

/// Sysctls and the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Sysctls that differ from the kernel's defaults, by their last part: `tcp_loose`, 0.
    pub sysctls: Vec<(String, u64)>,
    /// No default route.
    pub unrouted: bool,
    /// A host: it forwards nothing.
    pub host: bool,
    /// `rp_filter` of both links: where a source must be routed to, for its packets to come in.
    pub rp_filter: u8,
    /// MTU of `wan0`, if not 1500.
    pub mtu: Option<u16>,
    /// Policies of timeouts, as nfct takes them behind `add timeout`.
    pub policies: Vec<String>,
    /// Rules for IPv4 and for IPv6, as text for iptables-restore.
    pub rules: Option<[String; 2]>,
}

/// Timeouts and their defaults in seconds.
const TIMEOUTS: [(&str, u64); 26] = [
    ("tcp_timeout_syn_sent", 120),
    ("tcp_timeout_syn_recv", 60),
    ("tcp_timeout_established", 432_000),
    ("tcp_timeout_fin_wait", 120),
    ("tcp_timeout_close_wait", 60),
    ("tcp_timeout_last_ack", 30),
    ("tcp_timeout_time_wait", 120),
    ("tcp_timeout_close", 10),
    ("tcp_timeout_max_retrans", 300),
    ("tcp_timeout_unacknowledged", 300),
    ("udp_timeout", 30),
    ("udp_timeout_stream", 120),
    ("icmp_timeout", 30),
    ("icmpv6_timeout", 30),
    ("generic_timeout", 600),
    ("gre_timeout", 30),
    ("gre_timeout_stream", 180),
    ("sctp_timeout_closed", 10),
    ("sctp_timeout_cookie_wait", 3),
    ("sctp_timeout_cookie_echoed", 3),
    ("sctp_timeout_established", 210),
    ("sctp_timeout_shutdown_sent", 3),
    ("sctp_timeout_shutdown_recd", 3),
    ("sctp_timeout_shutdown_ack_sent", 3),
    ("sctp_timeout_heartbeat_sent", 30),
    ("frag6_timeout", 60),
];

/// What the whole machine shares.
const SHARED: [&str; 3] = ["max", "buckets", "expect_max"];

impl Settings {
    /// Half of the time the defaults (with accounting and events, as the judge needs to see
    /// anything), else anything a machine may be set to.
    pub(super) fn draw(random: &mut Random) -> Self {
        let mut settings = Self { unrouted: random.rarely(30), ..Self::default() };
        if random.rarely(30) {
            settings.mtu = Some(random.pick([1280, 1400]));
        }
        settings.host = random.rarely(8);
        if random.rarely(45) {
            settings.rp_filter = random.pick([1, 1, 2]);
        }
        match random.below(100) {
            0..=39 => return settings,
            40..=41 => settings.draw_scarcity(random),
            42..=43 => settings.draw_fragment_memory(random),
            44..=46 => settings.set("log_invalid", random.pick([0, 1, 6, 17, 58, 132, 136, 47])),
            _ => {}
        }
        for (name, usual) in [
            ("tcp_loose", 1),
            ("tcp_be_liberal", 0),
            ("tcp_ignore_invalid_rst", 0),
            ("checksum", 1),
        ] {
            if random.chance(25) {
                settings.set(name, 1 - usual);
            }
        }
        if random.chance(20) {
            settings.set("acct", 0);
        }
        if random.chance(20) {
            settings.set("timestamp", 1);
        }
        if random.chance(15) {
            settings.set("events", random.pick([0, 2]));
        }
        if random.chance(25) {
            settings.set("tcp_max_retrans", random.pick([0, 1, 2, 5, 255]));
        }
        if random.chance(40) {
            settings.draw_timeouts(random);
        }
        settings
    }

    /// What the whole machine shares. Few connections are all that fit, so that hardly ever one
    /// lies so near to a new one that it could give way: which it would be is secret.
    fn draw_scarcity(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => self.set("buckets", random.pick([512, 65_536])),
            1 => self.set("expect_max", random.pick([1, 100])),
            _ => self.set("max", random.pick([0, 1, 2, 2, 3, 3])),
        }
    }

    /// How much of IPv6 packets may wait for the rest.
    fn draw_fragment_memory(&mut self, random: &mut Random) {
        let bytes = random.pick([0, 500, 1000, 2000, 5000]);
        self.set("frag6_low_thresh", bytes);
        self.set("frag6_high_thresh", bytes);
    }

    /// Whether the table may get full.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_full(&self) -> bool {
        self.has("max")
    }

    /// Whether a sysctl is set here.
    pub(super) fn has(&self, name: &str) -> bool {
        self.sysctls.iter().any(|(set, _)| set == name)
    }

    /// One that changes while connections live.
    pub(super) fn change(random: &mut Random) -> (String, u64) {
        const SWITCHES: [&str; 6] = [
            "tcp_loose",
            "tcp_be_liberal",
            "tcp_ignore_invalid_rst",
            "checksum",
            "acct",
            "timestamp",
        ];
        if random.chance(50) {
            return (random.pick(SWITCHES).to_owned(), random.below(2) as u64);
        }
        let (name, usual) = random.pick(TIMEOUTS);
        (name.to_owned(), random.pick([100, 500, usual.max(40)]))
    }

    /// So short that connections expire in the dialogue's pauses; and nothing for which all others
    /// would have to wait.
    pub(super) fn draw_short_timeouts(&mut self, random: &mut Random) {
        let timeout = |name: &str| TIMEOUTS.iter().any(|(timeout, _)| *timeout == name);
        self.sysctls.retain(|(name, _)| !timeout(name) && !SHARED.contains(&name.as_str()));
        for (name, _) in TIMEOUTS {
            self.set(name, random.pick([1, 2, 3]));
        }
    }

    /// Long enough that nothing expires while the dialogue runs.
    fn draw_timeouts(&mut self, random: &mut Random) {
        for (name, usual) in TIMEOUTS {
            if random.chance(50) {
                let seconds = random.pick([100, 200, 299, 301, 500, 40, usual, 1_000_000]);
                self.set(name, seconds);
            }
        }
    }

    fn set(&mut self, name: &str, value: u64) {
        self.sysctls.push((name.to_owned(), value));
    }
}
