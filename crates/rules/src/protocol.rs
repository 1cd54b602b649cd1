//! Names of protocols, as Debian's `/etc/protocols` and iptables itself know them. The core reads
//! no file.

use stateward_wire::protocol as number_of;

use crate::number;
use crate::option::Refusal;

/// TCP's number, and those of the others that rules are often about.
pub const TCP: u8 = number_of::TCP;
/// UDP.
pub const UDP: u8 = number_of::UDP;
/// ICMP.
pub const ICMP: u8 = 1;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;
/// DCCP.
pub const DCCP: u8 = 33;
/// UDP-Lite.
pub const UDPLITE: u8 = 136;

/// What can stand behind `-p`, in lower case: the whole text of it is lowered first.
pub(crate) fn parse(text: &str) -> Result<u8, Refusal> {
    if let Some(number) = number::whole(text, 255).and_then(|number| u8::try_from(number).ok()) {
        return Ok(number);
    }
    if text == "all" {
        return Ok(0);
    }
    by_name(text).ok_or_else(|| {
        let refusal = Refusal::new(format!("unknown protocol `{text}`"));
        match text {
            "mptcp" => refusal.hint("MPTCP is an option of TCP: `-p tcp --tcp-option 30`"),
            _ if text.contains(',') => refusal.hint("one protocol a rule: write a rule for each"),
            "!" => refusal.hint("write the `!` before the option: `! -p tcp`"),
            _ => refusal.hint("a name of /etc/protocols, or a number from 0 to 255"),
        }
    })
}

fn by_name(text: &str) -> Option<u8> {
    let of_system =
        NAMES.iter().find(|(_, name, aliases)| *name == text || aliases.contains(&text));
    let of_system = of_system.map(|(number, ..)| *number);
    of_system.or_else(|| OWN.iter().find(|(_, name)| *name == text).map(|(number, _)| *number))
}

/// The name that is printed for a protocol.
pub fn name(protocol: u8) -> Option<&'static str> {
    let of_system = NAMES.iter().find(|(number, ..)| *number == protocol).map(|(_, name, _)| *name);
    of_system.or_else(|| OWN.iter().find(|(number, _)| *number == protocol).map(|(_, name)| *name))
}

/// What iptables knows by itself.
const OWN: &[(u8, &str)] = &[
    (TCP, "tcp"),
    (SCTP, "sctp"),
    (UDP, "udp"),
    (UDPLITE, "udplite"),
    (ICMP, "icmp"),
    (ICMPV6, "icmpv6"),
    (ICMPV6, "ipv6-icmp"),
    (50, "esp"),
    (51, "ah"),
    (135, "ipv6-mh"),
    (135, "mh"),
    (0, "all"),
];

/// Number, name, and aliases that differ from it by more than case.
#[rustfmt::skip]
const NAMES: &[(u8, &str, &[&str])] = &[
    (0, "ip", &["IP"]),
    (0, "hopopt", &["HOPOPT"]),
    (1, "icmp", &["ICMP"]),
    (2, "igmp", &["IGMP"]),
    (3, "ggp", &["GGP"]),
    (4, "ipencap", &["IP-ENCAP"]),
    (5, "st", &["ST"]),
    (6, "tcp", &["TCP"]),
    (8, "egp", &["EGP"]),
    (9, "igp", &["IGP"]),
    (12, "pup", &["PUP"]),
    (17, "udp", &["UDP"]),
    (20, "hmp", &["HMP"]),
    (22, "xns-idp", &["XNS-IDP"]),
    (27, "rdp", &["RDP"]),
    (29, "iso-tp4", &["ISO-TP4"]),
    (33, "dccp", &["DCCP"]),
    (36, "xtp", &["XTP"]),
    (37, "ddp", &["DDP"]),
    (38, "idpr-cmtp", &["IDPR-CMTP"]),
    (41, "ipv6", &["IPv6"]),
    (43, "ipv6-route", &["IPv6-Route"]),
    (44, "ipv6-frag", &["IPv6-Frag"]),
    (45, "idrp", &["IDRP"]),
    (46, "rsvp", &["RSVP"]),
    (47, "gre", &["GRE"]),
    (50, "esp", &["IPSEC-ESP"]),
    (51, "ah", &["IPSEC-AH"]),
    (57, "skip", &["SKIP"]),
    (58, "ipv6-icmp", &["IPv6-ICMP"]),
    (59, "ipv6-nonxt", &["IPv6-NoNxt"]),
    (60, "ipv6-opts", &["IPv6-Opts"]),
    (73, "rspf", &["RSPF", "CPHB"]),
    (81, "vmtp", &["VMTP"]),
    (88, "eigrp", &["EIGRP"]),
    (89, "ospf", &["OSPFIGP"]),
    (93, "ax.25", &["AX.25"]),
    (94, "ipip", &["IPIP"]),
    (97, "etherip", &["ETHERIP"]),
    (98, "encap", &["ENCAP"]),
    (103, "pim", &["PIM"]),
    (108, "ipcomp", &["IPCOMP"]),
    (112, "vrrp", &["VRRP"]),
    (115, "l2tp", &["L2TP"]),
    (124, "isis", &["ISIS"]),
    (132, "sctp", &["SCTP"]),
    (133, "fc", &["FC"]),
    (135, "mobility-header", &["Mobility-Header"]),
    (136, "udplite", &["UDPLite"]),
    (137, "mpls-in-ip", &["MPLS-in-IP"]),
    (138, "manet", &[]),
    (139, "hip", &["HIP"]),
    (140, "shim6", &["Shim6"]),
    (141, "wesp", &["WESP"]),
    (142, "rohc", &["ROHC"]),
    (143, "ethernet", &["Ethernet"]),
];
