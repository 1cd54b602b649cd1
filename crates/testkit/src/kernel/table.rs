//! Requests to the tables themselves: dump, flush, statistics.

use std::collections::BTreeMap;
use std::io;

use super::attribute::{Message, Request};
use super::entry::Entry;
use super::expectation::Expectation;
use super::socket::{FLAG_ACK, FLAG_DUMP, FLAG_REQUEST, Netlink};

const CONNECTIONS: u16 = 1 << 8;
const EXPECTATIONS: u16 = 2 << 8;
const MESSAGE_GET: u16 = 1;
const MESSAGE_DELETE: u16 = 2;
const MESSAGE_STATISTICS: u16 = 4;
const MESSAGE_EXPECTATION_STATISTICS: u16 = 3;

/// Counters of `conntrack -S` and `-S expect`, summed over the processors, by their names there.
pub type Statistics = BTreeMap<&'static str, u64>;

/// All connections. Looking at them makes the kernel collect those that have expired.
pub(super) fn connections(netlink: &mut Netlink) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    netlink.dump(&request(CONNECTIONS | MESSAGE_GET, FLAG_DUMP), |message| {
        let decoded = message.netfilter();
        entries.extend(decoded.map(|(family, attrs)| Entry::decode(family.number, attrs)));
    })?;
    Ok(entries)
}

/// All expectations.
pub(super) fn expectations(netlink: &mut Netlink) -> io::Result<Vec<Expectation>> {
    let mut found = Vec::new();
    netlink.dump(&request(EXPECTATIONS | MESSAGE_GET, FLAG_DUMP), |message| {
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
        .dump(&request(kind, FLAG_DUMP), |message| add(&mut sums, message, connection_counter))?;
    let kind = EXPECTATIONS | MESSAGE_EXPECTATION_STATISTICS;
    netlink.dump(&request(kind, FLAG_DUMP), |message| add(&mut sums, message, expect_counter))?;
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
