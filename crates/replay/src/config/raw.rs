//! What TOML may say in `gateway.toml`: keys and types, each value with its place in the text.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) rules: Option<Spanned<String>>,
    pub(super) rules6: Option<Spanned<String>>,
    pub(super) sets: Option<Spanned<String>>,
    pub(super) kernel: Option<Spanned<String>>,
    pub(super) forward: Option<bool>,
    #[serde(default)]
    pub(super) deliver: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) ip: Ip,
    #[serde(default)]
    pub(super) sysctl: Sysctls,
    #[serde(default)]
    pub(super) interface: Vec<Interface>,
    #[serde(default)]
    pub(super) route: Vec<Route>,
    #[serde(default)]
    pub(super) timeout: Vec<Timeout>,
    pub(super) process: Option<Process>,
    pub(super) socket: Option<Vec<Socket>>,
    #[serde(default)]
    pub(super) bridge: Vec<Bridge>,
    pub(super) ipsec: Option<Vec<Ipsec>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeout {
    pub(super) name: Spanned<String>,
    pub(super) l3: Spanned<String>,
    pub(super) l4: Spanned<String>,
    #[serde(default)]
    pub(super) states: BTreeMap<String, Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pub(super) uid: u32,
    pub(super) gid: Option<u32>,
    #[serde(default)]
    pub(super) groups: Vec<u32>,
    pub(super) cgroup: Option<String>,
    pub(super) classid: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Socket {
    pub(super) protocol: Spanned<String>,
    pub(super) local: Spanned<String>,
    pub(super) remote: Option<Spanned<String>>,
    pub(super) process: Option<Process>,
    #[serde(default)]
    pub(super) transparent: bool,
    #[serde(default)]
    pub(super) mark: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bridge {
    pub(super) name: Spanned<String>,
    pub(super) port: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ipsec {
    pub(super) direction: Spanned<String>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) destination: Option<Spanned<String>>,
    pub(super) protocol: Option<Spanned<String>>,
    pub(super) tunnel: Option<Spanned<[String; 2]>>,
    #[serde(default)]
    pub(super) reqid: u32,
    #[serde(default)]
    pub(super) spi: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ip {
    #[serde(default)]
    pub(super) addr: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) route: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interface {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<String>>,
    pub(super) mtu: Option<Spanned<u32>>,
    pub(super) mac: Option<Spanned<String>>,
    pub(super) group: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) to: Spanned<String>,
    pub(super) dev: Spanned<String>,
    pub(super) via: Option<Spanned<String>>,
}

/// Names and values of `[sysctl]`, each with the place of the value. TOML takes
/// `net.ipv4.ip_forward = 1` without quotes for tables in tables; they are flattened, so that both
/// spellings work.
#[derive(Debug, Default)]
pub(super) struct Sysctls(pub(super) Vec<(String, String, Range<usize>)>);

impl<'de> Deserialize<'de> for Sysctls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Table(sysctls) => Ok(Self(sysctls)),
            Node::Value(_) => Err(D::Error::custom("[sysctl] is a table of names and values")),
        }
    }
}

/// A value, or the table that a dotted name has become.
enum Node {
    Value(String),
    Table(Vec<(String, String, Range<usize>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a string, or true or false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Value(u8::from(value).to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Value(value.trim().to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut flat = Vec::new();
        while let Some((name, node)) = map.next_entry::<String, Spanned<Node>>()? {
            let span = node.span();
            match node.into_inner() {
                Node::Value(value) => flat.push((name, value, span)),
                Node::Table(inner) => flat.extend(
                    inner
                        .into_iter()
                        .map(|(rest, value, span)| (format!("{name}.{rest}"), value, span)),
                ),
            }
        }
        Ok(Node::Table(flat))
    }
}
