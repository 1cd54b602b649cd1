//! Requests to the tables themselves: look, flush, statistics.
//!
//! A dump visits every bucket of a hash table that all namespaces share: 9 ms where it has 262,144.
//! To look at a short table that is far too long, so [`Known`] follows the events, asks for each
//! entry by its tuple, and then counts: only if the kernel counts other than was found (events were
//! off) it takes a dump.

use std::collections::BTreeMap;
use std::io;

use super::attribute::{Message, Request};
use super::entry::Entry;
use super::event::{self, EventKind};
use super::expectation::Expectation;
use super::socket::{FLAG_ACK, FLAG_DUMP, FLAG_REQUEST, Netlink};
use super::sysctl;

const CONNECTIONS: u16 = 1 << 8;
const EXPECTATIONS: u16 = 2 << 8;
const MESSAGE_GET: u16 = 1;
const MESSAGE_DELETE: u16 = 2;
const MESSAGE_STATISTICS: u16 = 4;
const MESSAGE_EXPECTATION_STATISTICS: u16 = 3;

/// Counters of `conntrack -S` and `-S expect`, summed over the processors, by their names there.
pub type Statistics = BTreeMap<&'static str, u64>;

/// The entries of the table as far as events have told of them, in order of their appearance.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<Handle>);

/// What it takes to ask for an entry: attributes as they came.
#[derive(Debug)]
struct Handle {
    id: u32,
    family: u8,
    tuple: Vec<u8>,
    zone: Option<Vec<u8>>,
}

const ATTRIBUTE_TUPLE: u16 = 1;
const ATTRIBUTE_ID: u16 = 12;
const ATTRIBUTE_ZONE: u16 = 18;
const NOT_FOUND: i32 = 2;

impl Known {
    /// Learns from one message of the event socket.
    pub(super) fn note(&mut self, message: &Message<'_>) {
        let Some((kind, family, attributes)) = event::about_connection(message) else { return };
        let (mut id, mut tuple, mut zone) = (None, None, None);
        for attribute in attributes {
            match attribute.kind {
                ATTRIBUTE_TUPLE => tuple = Some(attribute.payload),
                ATTRIBUTE_ID => id = attribute.be32(),
                ATTRIBUTE_ZONE => zone = Some(attribute.payload.to_vec()),
                _ => {}
            }
        }
        let Some(id) = id else { return };
        match (kind, tuple) {
            (EventKind::New, Some(tuple)) => {
                self.0.push(Handle { id, family, tuple: tuple.to_vec(), zone });
            }
            (EventKind::Destroy, _) => self.0.retain(|handle| handle.id != id),
            _ => {}
        }
    }

    /// All connections. Looking at them makes the kernel collect those that have expired.
    pub(super) fn look(&self, netlink: &mut Netlink) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(self.0.len());
        for handle in &self.0 {
            let kind = CONNECTIONS | MESSAGE_GET;
            let flags = FLAG_REQUEST | FLAG_ACK;
            let mut request =
                Request::new(kind, flags, handle.family, 0).nested(ATTRIBUTE_TUPLE, &handle.tuple);
            if let Some(zone) = &handle.zone {
                request = request.attribute(ATTRIBUTE_ZONE, zone);
            }
            let answer = netlink.ask(&request, |message| {
                let decoded = message.netfilter();
                entries.extend(decoded.map(|(family, attrs)| Entry::decode(family.number, attrs)));
            });
            match answer {
                Err(error) if error.raw_os_error() == Some(NOT_FOUND) => {}
                other => other?,
            }
        }
        let count = sysctl::read("net.netfilter.nf_conntrack_count")?;
        if count == entries.len().to_string() { Ok(entries) } else { connections(netlink) }
    }
}

/// All connections, by a dump.
fn connections(netlink: &mut Netlink) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    netlink.ask(&request(CONNECTIONS | MESSAGE_GET, FLAG_DUMP), |message| {
        let decoded = message.netfilter();
        entries.extend(decoded.map(|(family, attrs)| Entry::decode(family.number, attrs)));
    })?;
    Ok(entries)
}

/// All expectations.
pub(super) fn expectations(netlink: &mut Netlink) -> io::Result<Vec<Expectation>> {
    let mut found = Vec::new();
    netlink.ask(&request(EXPECTATIONS | MESSAGE_GET, FLAG_DUMP), |message| {
        let decoded = message.netfilter();
        found.extend(decoded.map(|(family, attrs)| Expectation::decode(family.number, attrs)));
    })?;
    Ok(found)
}

/// Removes every connection, and with it its expectations.
pub(super) fn flush(netlink: &mut Netlink) -> io::Result<()> {
    netlink.request(&request(CONNECTIONS | MESSAGE_DELETE, FLAG_ACK))
}

/// The counters since the namespace was made.
pub(super) fn statistics(netlink: &mut Netlink) -> io::Result<Statistics> {
    let mut sums = Statistics::new();
    let kind = CONNECTIONS | MESSAGE_STATISTICS;
    netlink
        .ask(&request(kind, FLAG_DUMP), |message| add(&mut sums, message, connection_counter))?;
    let kind = EXPECTATIONS | MESSAGE_EXPECTATION_STATISTICS;
    netlink.ask(&request(kind, FLAG_DUMP), |message| add(&mut sums, message, expect_counter))?;
    Ok(sums)
}

fn request(kind: u16, flags: u16) -> Request {
    Request::new(kind, FLAG_REQUEST | flags, 0, 0)
}

fn add(sums: &mut Statistics, message: &Message<'_>, name: fn(u16) -> Option<&'static str>) {
    let attributes = message.netfilter().map(|(_, attributes)| attributes);
    for attribute in attributes.into_iter().flatten() {
        if let (Some(name), Some(value)) = (name(attribute.kind), attribute.be32()) {
            *sums.entry(name).or_default() += u64::from(value);
        }
    }
}

const fn connection_counter(kind: u16) -> Option<&'static str> {
    Some(match kind {
        2 => "found",
        4 => "invalid",
        8 => "insert",
        9 => "insert_failed",
        10 => "drop",
        11 => "early_drop",
        12 => "error",
        13 => "search_restart",
        14 => "clash_resolve",
        15 => "chaintoolong",
        _ => return None,
    })
}

const fn expect_counter(kind: u16) -> Option<&'static str> {
    Some(match kind {
        1 => "expect_new",
        2 => "expect_create",
        3 => "expect_delete",
        _ => return None,
    })
}
