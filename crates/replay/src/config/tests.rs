//! The file of the documentation, and a wrong one for each rule.

use std::path::Path;

use super::*;

const EXAMPLE: &str = r#"
rules = "rules.v4"
rules6 = "/etc/rules.v6"
sets = "sets.ipset"
kernel = "6.18"
forward = true

[sysctl]
"net.netfilter.nf_conntrack_tcp_loose" = 0
net.netfilter.nf_conntrack_acct = true
"net.ipv4.ip_local_port_range" = " 1024 65535 "

[[interface]]
name = "lan0"
addresses = ["192.168.1.1/24", "fd00:1::1/64"]
mtu = 1500
mac = "02:0:5E:10:00:01"
group = 4

[[interface]]
name = "wan0"
addresses = ["203.0.113.1/24"]

[[route]]
to = "default"
dev = "wan0"
via = "203.0.113.254"

[[route]]
to = "::/0"
dev = "wan0"

[[route]]
to = "198.51.100.7"
dev = "lan0"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("etc/gateway.toml"), text)
}

#[test]
fn everything_that_can_be_said() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.rules.as_deref(), Some(Path::new("etc/rules.v4")));
    assert_eq!(config.rules6.as_deref(), Some(Path::new("/etc/rules.v6")));
    assert_eq!(config.sets.as_deref(), Some(Path::new("etc/sets.ipset")));
    assert_eq!(config.kernel, Some(KernelVersion { major: 6, minor: 18 }));
    assert_eq!(config.forward, Some(true));
    let sysctls: Vec<_> =
        config.sysctls.iter().map(|each| (each.name.as_str(), each.value.as_str())).collect();
    assert_eq!(
        sysctls,
        [
            ("net.netfilter.nf_conntrack_tcp_loose", "0"),
            ("net.netfilter.nf_conntrack_acct", "1"),
            ("net.ipv4.ip_local_port_range", "1024 65535"),
        ]
    );
    let lan = config.interface("lan0").unwrap();
    assert_eq!(lan.addresses, ["192.168.1.1/24".parse().unwrap(), "fd00:1::1/64".parse().unwrap()]);
    assert_eq!((lan.mtu, lan.group), (Some(1500), Some(4)));
    assert_eq!(lan.mac.unwrap().to_string(), "02:00:5e:10:00:01");
    assert_eq!(config.interface("wan0").unwrap().mtu, None);
    let route = |to: &str, dev: &str, via: Option<&str>| RouteConfig {
        to: to.parse().unwrap(),
        dev: dev.to_owned(),
        via: via.map(|via| via.parse().unwrap()),
    };
    assert_eq!(
        config.routes,
        [
            route("0.0.0.0/0", "wan0", Some("203.0.113.254")),
            route("::/0", "wan0", None),
            route("198.51.100.7/32", "lan0", None),
        ]
    );
}

#[test]
fn nothing_need_be_said() {
    let config = parse("").unwrap();
    assert!(config.interfaces.is_empty() && config.routes.is_empty() && config.sysctls.is_empty());
    assert_eq!((config.rules, config.forward), (None, None));
}

#[test]
fn default_follows_the_family_of_its_next_hop() {
    let text = "[[interface]]\nname='a'\n[[route]]\nto='default'\ndev='a'\nvia='fe80::1'";
    assert_eq!(parse(text).unwrap().routes[0].to, "::/0".parse().unwrap());
}

#[test]
fn an_error_shows_its_line() {
    let text = "# gateway\n[[interface]]\nname = \"lan0\"\n\n[[route]]\nto = \"default\"\n\
                \tdev = \"wan1\"  # the uplink\n";
    assert_eq!(
        parse(text).unwrap_err().to_string(),
        "etc/gateway.toml:7:8: no interface is called `wan1`\n\
         \x20 |\n\
         7 |  dev = \"wan1\"  # the uplink\n\
         \x20 |        ^^^^^^ there is `lan0`"
    );
}

#[test]
fn errors_of_toml_itself_show_their_line_too() {
    let error = parse("forward = maybe\n").unwrap_err();
    assert!(error.to_string().starts_with("etc/gateway.toml:1:11: "), "{error}");
    let error = parse("[[interface]]\nname = \"a\"\nadresses = []\n").unwrap_err();
    assert!(
        error.to_string().starts_with("etc/gateway.toml:3:1: unknown field `adresses`"),
        "{error}"
    );
    let error = parse("[[interface]]\nmtu = 1500\n").unwrap_err();
    assert!(error.message.contains("missing field `name`"), "{error}");
    let error = parse("forward").unwrap_err();
    assert_eq!(error.place.unwrap().line, 1);
}

#[test]
fn a_sysctl_can_be_refused_by_its_owner() {
    let config = parse(EXAMPLE).unwrap();
    let error = config.sysctl_error(&config.sysctls[1], "no such sysctl");
    assert!(error.to_string().contains("net.netfilter.nf_conntrack_acct = true\n"), "{error}");
    assert_eq!(error.place.unwrap().line, 10);
}

#[test]
fn what_cannot_be_is_refused() {
    let interface = |keys: &str| format!("[[interface]]\nname = 'a'\n{keys}\n");
    let route = |keys: &str| format!("[[interface]]\nname = 'a'\n[[route]]\ndev = 'a'\n{keys}\n");
    let cases = [
        ("rules = ''".to_owned(), "the name of the file is empty"),
        ("kernel = 'new'".to_owned(), "no kernel version"),
        ("kernel = '5.4.1'".to_owned(), "6.18 is, and no other"),
        ("kernel = 6.18".to_owned(), "invalid type: floating point"),
        ("forward = 1".to_owned(), "invalid type: integer"),
        ("frobnicate = 1".to_owned(), "unknown field `frobnicate`"),
        ("sysctl = 1".to_owned(), "a table of names and values"),
        ("[sysctl]\n'a.b' = 1\na.b = 2".to_owned(), "`a.b` is set twice"),
        ("[sysctl]\na = 1.5".to_owned(), "a number, a string, or true or false"),
        ("[sysctl]\na = [1]".to_owned(), "a number, a string, or true or false"),
        ("[[interface]]\nname = ''".to_owned(), "has 0 bytes"),
        ("[[interface]]\nname = 'sixteencharacter'".to_owned(), "has 16 bytes"),
        ("[[interface]]\nname = 'a b'".to_owned(), "cannot be the name"),
        ("[[interface]]\nname = 'a/b'".to_owned(), "cannot be the name"),
        ("[[interface]]\nname = '..'".to_owned(), "cannot be the name"),
        ("[[interface]]\nname = 'local'".to_owned(), "no interface can be called `local`"),
        (interface("[[interface]]\nname = 'a'"), "there is an interface `a` already"),
        (interface("addresses = ['192.0.2.1']"), "192.0.2.1/24?"),
        (interface("addresses = ['2001:db8::1']"), "2001:db8::1/64?"),
        (interface("addresses = ['192.0.2.1/33']"), "no address with a prefix length"),
        (interface("addresses = ['192.0.2.1/24', '192.0.2.1/25']"), "this address already"),
        (interface("mtu = 67"), "68 to 65536"),
        (interface("mtu = -1"), "invalid value: integer `-1`"),
        (interface("mtu = 1279\naddresses = ['2001:db8::1/64']"), "at least 1280"),
        (interface("mac = '02:00:00:00:00'"), "no Ethernet address"),
        (interface("mac = '02:00:00:00:00:00:00'"), "no Ethernet address"),
        (interface("mac = '02:00:00:00:00:+1'"), "no Ethernet address"),
        (interface("group = -1"), "invalid value"),
        (route("to = 'elsewhere'"), "no network"),
        (route("to = '192.0.2.1/24'"), "192.0.2.0/24?"),
        (route("to = '::/0'\nvia = '192.0.2.1'"), "cannot be reached through an IPv4 address"),
        (route("to = 'default'\nvia = '192.0.2.1/24'"), "without a prefix length"),
        (route("to = '10.0.0.0/8'\n[[route]]\ndev='a'\nto='10.0.0.0/8'"), "already, through `a`"),
        (
            interface("addresses = ['192.0.2.1/24']\n[[route]]\ndev='a'\nto='192.0.2.0/24'"),
            "a route to 192.0.2.0/24 already, through `a`",
        ),
        ("[[route]]\ndev = 'a'\nto = 'default'".to_owned(), "describes no [[interface]]"),
        ("[[route]]\nto = 'default'".to_owned(), "missing field `dev`"),
    ];
    for (text, expected) in cases {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "{text}\n{error}");
        assert!(error.starts_with("etc/gateway.toml:"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there() {
    let error = Config::load(Path::new("/nonexistent/gateway.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/gateway.toml: cannot be read: No such"));
}

#[test]
fn what_no_capture_tells_is_as_documented() {
    let page = include_str!("../../../../docs/gateway.md");
    let (_, after) = page.split_once("## What a capture cannot know").unwrap();
    let example = after.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let known = parse(example).unwrap().known;
    let sender = known.sender.unwrap();
    assert_eq!((sender.user, sender.group, sender.class), (1000, 100, 0x10_0001));
    let [listening, connected, proxy] = &known.sockets.unwrap()[..] else { panic!() };
    assert!(proxy.transparent && proxy.local.1 == 3129);
    assert_eq!(listening.process.as_ref().unwrap().group, 0);
    assert_eq!((connected.mark, connected.transparent), (7, true));
    assert_eq!(known.ports, [("br0".to_owned(), "vnet0".into())]);
    let [transform] = &known.transforms.unwrap()[..] else { panic!() };
    assert_eq!((transform.protocol, transform.spi), (50, 0xc0de));
    assert!(transform.tunnel.is_some());
    let example = after.split("```toml\n").nth(2).unwrap().split_once("```").unwrap().0;
    assert_eq!(parse(example).unwrap().delivered, [Delivered { mark: 1, mask: 1 }]);
    let all = Delivered { mark: 7, mask: u32::MAX };
    assert_eq!(parse("deliver = ['7']").unwrap().delivered, [all]);
    assert!(parse("").unwrap().known.sockets.is_none());
    assert!(parse("socket = []").unwrap().known.sockets.unwrap().is_empty());
}

#[test]
fn policies_of_timeouts_are_as_documented() {
    let page = include_str!("../../../../docs/gateway.md");
    let (_, example) = page.split_once("```toml\n[[timeout]]").unwrap();
    let example = format!("[[timeout]]{}", example.split_once("```").unwrap().0);
    let mut policy = TimeoutPolicy::new("short", stateward_wire::Family::V4, 6);
    // In the order of their names.
    assert!(policy.set("close", 10) && policy.set("established", 100));
    assert_eq!(parse(&example).unwrap().timeouts, [policy]);
    let (name, tcp) = ("[[timeout]]\nname='a'\nl3='inet'\n", "l4='tcp'\n");
    for (text, message) in [
        (format!("{name}{tcp}{name}{tcp}"), "a policy `a` already"),
        (format!("{name}l4='dccp'"), "Linux 6.18 has no timeouts of `dccp`"),
        (format!("{name}{tcp}states={{ replied = 3 }}"), "`replied` has no timeout there"),
        (format!("{name}{tcp}states={{ close = 8589935 }}"), "8589935 seconds are too many"),
        ("[[timeout]]\nname='a'\nl3='ip'\nl4='tcp'".to_owned(), "no protocol of the network"),
        ("[[timeout]]\nname=''\nl3='inet'\nl4='tcp'".to_owned(), "the name of a policy"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn what_cannot_be_known_is_refused() {
    for (text, message) in [
        ("[process]\ngid = 1", "missing field `uid`"),
        ("[[socket]]\nprotocol='sctp'\nlocal='[::]:1'", "`sctp` has no sockets here"),
        ("[[socket]]\nprotocol='tcp'\nlocal='192.0.2.1'", "no end of a connection"),
        ("[[bridge]]\nname='br0'\nport='a/b'", "cannot be the name of an interface"),
        (
            "[[bridge]]\nname='br0'\nport='a'\n[[bridge]]\nname='br0'\nport='b'",
            "a port of `br0` is given already",
        ),
        ("deliver = ['one']", "`one` is no mark"),
        ("deliver = ['0x1/0x2']", "no mark is `0x1/0x2`"),
        ("[[ipsec]]\ndirection='fwd'", "`fwd` is no direction"),
        ("[[ipsec]]\ndirection='in'\nprotocol='tcp'", "`tcp` is not of IPsec"),
        ("[[ipsec]]\ndirection='in'\nsource='here'", "`here` is no network"),
        ("[[ipsec]]\ndirection='in'\ntunnel=['a','b']", "not the ends of a tunnel"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
