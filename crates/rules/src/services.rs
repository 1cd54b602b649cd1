//! Names of services, as Debian's `/etc/services` lists them. The core reads no file: a ruleset
//! means the same on every machine.

use stateward_wire::protocol;

use crate::number;
use crate::option::Refusal;

/// A port in digits, or the name of a service of any protocol, TCP's first. As glibc reads digits
/// they are decimal, none at all are 0, and of what does not fit the lower 32 and of these the
/// lower 16 bits count.
pub(crate) fn port(text: &str) -> Option<u16> {
    let body = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match body.strip_prefix(['+', '-']) {
        Some(rest) => (body.starts_with('-'), rest),
        None => (false, body),
    };
    if text.is_empty() {
        return Some(0);
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let value: u64 = digits.parse().unwrap_or(u64::MAX);
        let value = if negative { value.wrapping_neg() } else { value } as i32;
        // A negative number is taken for a name, and there is none like it.
        return (value >= 0).then_some(value as u16);
    }
    let of_tcp = named(text, |protocols| protocols != Protocols::Udp);
    of_tcp.or_else(|| named(text, |_| true))
}

/// A port in digits, or the name of a service of `protocol`.
pub(crate) fn port_of(text: &str, protocol: u8) -> Result<u16, Refusal> {
    let only = match protocol {
        protocol::TCP => Protocols::Tcp,
        protocol::UDP => Protocols::Udp,
        _ => return digits(text).ok_or_else(|| unknown(text)),
    };
    let found = named(text, |protocols| protocols == only || protocols == Protocols::Both);
    digits(text).or(found).ok_or_else(|| unknown(text))
}

pub(crate) fn unknown(text: &str) -> Refusal {
    let refusal = Refusal::new(format!("invalid port or service `{text}`"));
    let is_port = |part: &str| digits(part).is_some();
    if text.contains(',') && text.split(',').all(|part| part.split(':').all(is_port)) {
        return refusal.hint(format!("several ports: -m multiport --dports {text}"));
    }
    match text.split_once('-') {
        Some((first, last)) if is_port(first) && is_port(last) => {
            refusal.hint(format!("a range has a colon: {first}:{last}"))
        }
        _ => refusal.hint("a port is a number from 0 to 65535 or a name of /etc/services"),
    }
}

fn digits(text: &str) -> Option<u16> {
    number::whole(text, u16::MAX.into()).and_then(|port| u16::try_from(port).ok())
}

fn named(text: &str, serves: impl Fn(Protocols) -> bool) -> Option<u16> {
    let service = SERVICES.iter().find(|(name, _, protocols)| *name == text && serves(*protocols));
    service.map(|(_, port, _)| *port)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocols {
    Tcp,
    Udp,
    Both,
}

use Protocols::{Both, Tcp, Udp};

/// Names and aliases with their ports, in the order of the file.
#[rustfmt::skip]
const SERVICES: &[(&str, u16, Protocols)] = &[
    ("tcpmux", 1, Tcp), ("echo", 7, Both), ("discard", 9, Both), ("sink", 9, Both),
    ("null", 9, Both), ("systat", 11, Tcp), ("users", 11, Tcp), ("daytime", 13, Both),
    ("netstat", 15, Tcp), ("qotd", 17, Tcp), ("quote", 17, Tcp), ("chargen", 19, Both),
    ("ttytst", 19, Both), ("source", 19, Both), ("ftp-data", 20, Tcp), ("ftp", 21, Tcp),
    ("fsp", 21, Udp), ("fspd", 21, Udp), ("ssh", 22, Tcp), ("telnet", 23, Tcp), ("smtp", 25, Tcp),
    ("mail", 25, Tcp), ("time", 37, Both), ("timserver", 37, Both), ("whois", 43, Tcp),
    ("nicname", 43, Tcp), ("tacacs", 49, Both), ("domain", 53, Both), ("bootps", 67, Udp),
    ("bootpc", 68, Udp), ("tftp", 69, Udp), ("gopher", 70, Tcp), ("finger", 79, Tcp),
    ("http", 80, Tcp), ("www", 80, Tcp), ("kerberos", 88, Both), ("kerberos5", 88, Both),
    ("krb5", 88, Both), ("kerberos-sec", 88, Both), ("iso-tsap", 102, Tcp), ("tsap", 102, Tcp),
    ("acr-nema", 104, Tcp), ("dicom", 104, Tcp), ("pop3", 110, Tcp), ("pop-3", 110, Tcp),
    ("sunrpc", 111, Both), ("portmapper", 111, Both), ("auth", 113, Tcp),
    ("authentication", 113, Tcp), ("tap", 113, Tcp), ("ident", 113, Tcp), ("nntp", 119, Tcp),
    ("readnews", 119, Tcp), ("untp", 119, Tcp), ("ntp", 123, Udp), ("epmap", 135, Tcp),
    ("loc-srv", 135, Tcp), ("netbios-ns", 137, Udp), ("netbios-dgm", 138, Udp),
    ("netbios-ssn", 139, Tcp), ("imap2", 143, Tcp), ("imap", 143, Tcp), ("snmp", 161, Both),
    ("snmp-trap", 162, Both), ("snmptrap", 162, Both), ("cmip-man", 163, Both),
    ("cmip-agent", 164, Both), ("mailq", 174, Tcp), ("xdmcp", 177, Udp), ("bgp", 179, Tcp),
    ("smux", 199, Tcp), ("qmtp", 209, Tcp), ("z3950", 210, Tcp), ("wais", 210, Tcp),
    ("ipx", 213, Udp), ("ptp-event", 319, Udp), ("ptp-general", 320, Udp), ("pawserv", 345, Tcp),
    ("zserv", 346, Tcp), ("rpc2portmap", 369, Both), ("codaauth2", 370, Both),
    ("clearcase", 371, Udp), ("Clearcase", 371, Udp), ("ldap", 389, Both), ("svrloc", 427, Both),
    ("https", 443, Both), ("snpp", 444, Tcp), ("microsoft-ds", 445, Tcp), ("kpasswd", 464, Both),
    ("submissions", 465, Tcp), ("ssmtp", 465, Tcp), ("smtps", 465, Tcp), ("urd", 465, Tcp),
    ("saft", 487, Tcp), ("isakmp", 500, Udp), ("rtsp", 554, Both), ("nqs", 607, Tcp),
    ("asf-rmcp", 623, Udp), ("qmqp", 628, Tcp), ("ipp", 631, Tcp), ("ldp", 646, Both),
    ("exec", 512, Tcp), ("biff", 512, Udp), ("comsat", 512, Udp), ("login", 513, Tcp),
    ("who", 513, Udp), ("whod", 513, Udp), ("shell", 514, Tcp), ("cmd", 514, Tcp),
    ("syslog", 514, Both), ("printer", 515, Tcp), ("spooler", 515, Tcp), ("talk", 517, Udp),
    ("ntalk", 518, Udp), ("route", 520, Udp), ("router", 520, Udp), ("routed", 520, Udp),
    ("gdomap", 538, Both), ("uucp", 540, Tcp), ("uucpd", 540, Tcp), ("klogin", 543, Tcp),
    ("kshell", 544, Tcp), ("krcmd", 544, Tcp), ("dhcpv6-client", 546, Udp),
    ("dhcpv6-server", 547, Udp), ("afpovertcp", 548, Tcp), ("nntps", 563, Tcp), ("snntp", 563, Tcp),
    ("submission", 587, Tcp), ("ldaps", 636, Both), ("tinc", 655, Both), ("silc", 706, Tcp),
    ("kerberos-adm", 749, Tcp), ("domain-s", 853, Both), ("rsync", 873, Tcp),
    ("ftps-data", 989, Tcp), ("ftps", 990, Tcp), ("telnets", 992, Tcp), ("imaps", 993, Tcp),
    ("pop3s", 995, Tcp), ("socks", 1080, Tcp), ("proofd", 1093, Tcp), ("rootd", 1094, Tcp),
    ("openvpn", 1194, Both), ("rmiregistry", 1099, Tcp), ("lotusnote", 1352, Tcp),
    ("lotusnotes", 1352, Tcp), ("ms-sql-s", 1433, Tcp), ("ms-sql-m", 1434, Udp),
    ("ingreslock", 1524, Tcp), ("datametrics", 1645, Both), ("old-radius", 1645, Both),
    ("sa-msg-port", 1646, Both), ("old-radacct", 1646, Both), ("kermit", 1649, Tcp),
    ("groupwise", 1677, Tcp), ("l2f", 1701, Udp), ("l2tp", 1701, Udp), ("radius", 1812, Both),
    ("radius-acct", 1813, Both), ("radacct", 1813, Both), ("cisco-sccp", 2000, Tcp),
    ("nfs", 2049, Both), ("gnunet", 2086, Both), ("rtcm-sc104", 2101, Both),
    ("gsigatekeeper", 2119, Tcp), ("gris", 2135, Tcp), ("cvspserver", 2401, Tcp),
    ("venus", 2430, Both), ("venus-se", 2431, Both), ("codasrv", 2432, Both),
    ("codasrv-se", 2433, Both), ("mon", 2583, Both), ("dict", 2628, Tcp),
    ("f5-globalsite", 2792, Tcp), ("gsiftp", 2811, Tcp), ("gpsd", 2947, Tcp), ("gds-db", 3050, Tcp),
    ("gds_db", 3050, Tcp), ("icpv2", 3130, Udp), ("icp", 3130, Udp), ("isns", 3205, Both),
    ("iscsi-target", 3260, Tcp), ("mysql", 3306, Tcp), ("ms-wbt-server", 3389, Tcp),
    ("nut", 3493, Both), ("distcc", 3632, Tcp), ("daap", 3689, Tcp), ("svn", 3690, Tcp),
    ("subversion", 3690, Tcp), ("suucp", 4031, Tcp), ("sysrqd", 4094, Tcp), ("sieve", 4190, Tcp),
    ("epmd", 4369, Tcp), ("remctl", 4373, Tcp), ("f5-iquery", 4353, Tcp), ("ntske", 4460, Tcp),
    ("ipsec-nat-t", 4500, Udp), ("iax", 4569, Udp), ("mtn", 4691, Tcp), ("radmin-port", 4899, Tcp),
    ("sip", 5060, Both), ("sip-tls", 5061, Both), ("xmpp-client", 5222, Tcp),
    ("jabber-client", 5222, Tcp), ("xmpp-server", 5269, Tcp), ("jabber-server", 5269, Tcp),
    ("cfengine", 5308, Tcp), ("mdns", 5353, Udp), ("postgresql", 5432, Tcp),
    ("postgres", 5432, Tcp), ("freeciv", 5556, Tcp), ("rptp", 5556, Tcp), ("amqps", 5671, Tcp),
    ("amqp", 5672, Tcp), ("x11", 6000, Tcp), ("x11-0", 6000, Tcp), ("x11-1", 6001, Tcp),
    ("x11-2", 6002, Tcp), ("x11-3", 6003, Tcp), ("x11-4", 6004, Tcp), ("x11-5", 6005, Tcp),
    ("x11-6", 6006, Tcp), ("x11-7", 6007, Tcp), ("gnutella-svc", 6346, Both),
    ("gnutella-rtr", 6347, Both), ("redis", 6379, Tcp), ("sge-qmaster", 6444, Tcp),
    ("sge_qmaster", 6444, Tcp), ("sge-execd", 6445, Tcp), ("sge_execd", 6445, Tcp),
    ("mysql-proxy", 6446, Tcp), ("babel", 6696, Udp), ("ircs-u", 6697, Tcp), ("bbs", 7000, Tcp),
    ("afs3-fileserver", 7000, Udp), ("afs3-callback", 7001, Udp), ("afs3-prserver", 7002, Udp),
    ("afs3-vlserver", 7003, Udp), ("afs3-kaserver", 7004, Udp), ("afs3-volser", 7005, Udp),
    ("afs3-bos", 7007, Udp), ("afs3-update", 7008, Udp), ("afs3-rmtsys", 7009, Udp),
    ("font-service", 7100, Tcp), ("xfs", 7100, Tcp), ("http-alt", 8080, Tcp),
    ("webcache", 8080, Tcp), ("puppet", 8140, Tcp), ("bacula-dir", 9101, Tcp),
    ("bacula-fd", 9102, Tcp), ("bacula-sd", 9103, Tcp), ("xmms2", 9667, Tcp), ("nbd", 10809, Tcp),
    ("zabbix-agent", 10050, Tcp), ("zabbix-trapper", 10051, Tcp), ("amanda", 10080, Tcp),
    ("dicom", 11112, Tcp), ("hkp", 11371, Tcp), ("db-lsp", 17500, Tcp), ("dcap", 22125, Tcp),
    ("gsidcap", 22128, Tcp), ("wnn6", 22273, Tcp),
    ("kerberos4", 750, Both), ("kerberos-iv", 750, Both),
    ("kdc", 750, Both), ("kerberos-master", 751, Both), ("kerberos_master", 751, Udp),
    ("passwd-server", 752, Udp), ("passwd_server", 752, Udp), ("krb-prop", 754, Tcp),
    ("krb_prop", 754, Tcp), ("krb5_prop", 754, Tcp), ("hprop", 754, Tcp), ("zephyr-srv", 2102, Udp),
    ("zephyr-clt", 2103, Udp), ("zephyr-hm", 2104, Udp), ("iprop", 2121, Tcp),
    ("supfilesrv", 871, Tcp), ("supfiledbg", 1127, Tcp), ("poppassd", 106, Tcp),
    ("moira-db", 775, Tcp), ("moira_db", 775, Tcp), ("moira-update", 777, Tcp),
    ("moira_update", 777, Tcp), ("moira-ureg", 779, Udp), ("moira_ureg", 779, Udp),
    ("spamd", 783, Tcp), ("skkserv", 1178, Tcp), ("predict", 1210, Udp), ("rmtcfg", 1236, Tcp),
    ("xtel", 1313, Tcp), ("xtelw", 1314, Tcp), ("zebrasrv", 2600, Tcp), ("zebra", 2601, Tcp),
    ("ripd", 2602, Tcp), ("ripngd", 2603, Tcp), ("ospfd", 2604, Tcp), ("bgpd", 2605, Tcp),
    ("ospf6d", 2606, Tcp), ("ospfapi", 2607, Tcp), ("isisd", 2608, Tcp), ("fax", 4557, Tcp),
    ("hylafax", 4559, Tcp), ("munin", 4949, Tcp), ("lrrd", 4949, Tcp), ("rplay", 5555, Udp),
    ("nrpe", 5666, Tcp), ("nsca", 5667, Tcp), ("canna", 5680, Tcp), ("syslog-tls", 6514, Tcp),
    ("sane-port", 6566, Tcp), ("sane", 6566, Tcp), ("saned", 6566, Tcp), ("ircd", 6667, Tcp),
    ("zope-ftp", 8021, Tcp), ("tproxy", 8081, Tcp), ("omniorb", 8088, Tcp),
    ("clc-build-daemon", 8990, Tcp), ("xinetd", 9098, Tcp), ("git", 9418, Tcp), ("zope", 9673, Tcp),
    ("webmin", 10000, Tcp), ("kamanda", 10081, Tcp), ("amandaidx", 10082, Tcp),
    ("amidxtape", 10083, Tcp), ("sgi-cmsd", 17001, Udp), ("sgi-crsd", 17002, Udp),
    ("sgi-gcd", 17003, Udp), ("sgi-cad", 17004, Tcp), ("binkp", 24554, Tcp), ("asp", 27374, Both),
    ("csync2", 30865, Tcp), ("dircproxy", 57000, Tcp), ("tfido", 60177, Tcp), ("fido", 60179, Tcp),
];
