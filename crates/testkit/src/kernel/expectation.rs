//! An expectation as the kernel's netlink messages describe it.
//!
//! Counterpart: `linux/netfilter/nfnetlink_conntrack.h`, `enum ctattr_expect`.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use super::attribute::{Attribute, Attributes};
use super::entry::{self, Key, Present, Tuple};
use crate::adapt;

/// One expectation. A field is `None` when the message had no such attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectation {
    /// 2 for IPv4, 10 for IPv6.
    pub family: u8,
    /// The original tuple of the connection that expects.
    pub master: Option<Tuple>,
    /// The tuple expected, as far as the mask reaches.
    pub tuple: Option<Tuple>,
    /// Which bits of the tuple count.
    pub mask: Option<Tuple>,
    /// Seconds until it expires.
    pub timeout: Option<u32>,
    /// The kernel's id of it.
    pub id: Option<u32>,
    /// The helper that made it.
    pub helper: Option<String>,
    /// The zone.
    pub zone: Option<u16>,
    /// 1 permanent, 2 inactive, 4 made by user space.
    pub flags: Option<u32>,
    /// The helper's class of expectation.
    pub class: Option<u32>,
    /// How the expected connection will be translated.
    pub nat: Option<ExpectedNat>,
    /// The name of the function that sets the expected connection up.
    pub function: Option<String>,
    /// The names of all attributes the message had, without their `CTA_EXPECT_`.
    pub present: Present,
}

/// Translation of the connection to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpectedNat {
    /// 0 for the original direction, 1 for the reply's.
    pub direction: Option<u32>,
    /// The address and port before translation.
    pub tuple: Option<Tuple>,
}

impl fmt::Display for Expectation {
    /// For people: timeout, helper, tuple and master; the rest is in the fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.timeout.unwrap_or_default())?;
        write!(f, "{} ", self.helper.as_deref().unwrap_or("-"))?;
        let tuples = [("expects", &self.tuple), ("mask", &self.mask), ("master", &self.master)];
        for (name, tuple) in tuples {
            if let Some(tuple) = tuple {
                write!(f, "{name} {tuple} ")?;
            }
        }
        Ok(())
    }
}

impl Expectation {
    /// The protocol and the place of a listener behind NAT, who has said this or was called, and
    /// where others believe it to be.
    pub(super) fn listener(&self, said: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
        const REPLY: u32 = 1;
        let (told, nat) = (self.tuple?, self.nat?);
        let (port, at) = match (told.key, nat.tuple?.key) {
            (Key::Ports { destination, .. }, Key::Ports { source, .. }) => {
                (destination, SocketAddr::new(adapt::ends(said)?.source, source))
            }
            (Key::Keys { destination, .. }, Key::Keys { source, .. })
                if nat.direction == Some(REPLY) =>
            {
                (destination, SocketAddr::new(self.master?.source, source))
            }
            _ => return None,
        };
        Some((told.protocol, at, SocketAddr::new(told.destination, port)))
    }

    pub(super) fn decode(family: u8, attributes: Attributes<'_>) -> Self {
        let mut expectation = Self { family, ..Self::default() };
        for attribute in attributes {
            expectation.add(&attribute);
        }
        expectation
    }

    fn add(&mut self, attribute: &Attribute<'_>) {
        let Some(name) = attribute_name(attribute.kind) else {
            self.present.insert(Cow::Owned(format!("unknown {}", attribute.kind)));
            return;
        };
        self.present.insert(Cow::Borrowed(name));
        match name {
            "MASTER" => self.master = entry::tuple(attribute, name, &mut self.present),
            "TUPLE" => self.tuple = entry::tuple(attribute, name, &mut self.present),
            "MASK" => self.mask = entry::tuple(attribute, name, &mut self.present),
            "TIMEOUT" => self.timeout = attribute.be32(),
            "ID" => self.id = attribute.be32(),
            "HELP_NAME" => self.helper = Some(attribute.text()),
            "ZONE" => self.zone = attribute.be16(),
            "FLAGS" => self.flags = attribute.be32(),
            "CLASS" => self.class = attribute.be32(),
            "NAT" => self.nat = Some(nat(attribute, &mut self.present)),
            "FN" => self.function = Some(attribute.text()),
            _ => {}
        }
    }
}

const fn attribute_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        1 => "MASTER",
        2 => "TUPLE",
        3 => "MASK",
        4 => "TIMEOUT",
        5 => "ID",
        6 => "HELP_NAME",
        7 => "ZONE",
        8 => "FLAGS",
        9 => "CLASS",
        10 => "NAT",
        11 => "FN",
        _ => return None,
    })
}

fn nat(attribute: &Attribute<'_>, present: &mut Present) -> ExpectedNat {
    let tuple = entry::first(attribute, 2);
    ExpectedNat {
        direction: entry::first(attribute, 1).and_then(|field| field.be32()),
        tuple: tuple.and_then(|tuple| entry::tuple(&tuple, "NAT_TUPLE", present)),
    }
}
