//! What rules do to connections, as both sides tell it: tuples with their zones, status, mark and
//! labels of each event, in one form.

use stateward_conntrack::{Event, L4Key, Record, Tuple};
use testkit::kernel::{self, Entry};

/// What the kernel told.
pub(crate) fn theirs(event: &kernel::Event) -> Option<String> {
    Some(format!("{} {}", event.name(), entry(event.connection()?)))
}

/// What the engine told.
pub(crate) fn ours(event: &Event) -> Option<String> {
    Some(format!("{} {}", event.name(), record(event.connection()?)))
}

/// A connection of the kernel's.
pub(crate) fn entry(entry: &Entry) -> String {
    let tuple = |tuple: &Option<kernel::Tuple>| {
        tuple.map(|tuple| {
            let key = match tuple.key {
                kernel::Key::Ports { source, destination } => format!("{source}>{destination}"),
                kernel::Key::Keys { source, destination } => format!("key {source}>{destination}"),
                kernel::Key::Icmp { kind, code, id } => format!("{kind}/{code} {id}"),
                kernel::Key::None => String::new(),
            };
            let zone = entry.zone.or(tuple.zone).unwrap_or_default();
            format!("{}>{} {} {key} {zone}", tuple.source, tuple.destination, tuple.protocol)
        })
    };
    let labels = entry.labels.as_deref().map(label_bits);
    let status = entry.status.map(|status| status.0);
    told(tuple(&entry.original), tuple(&entry.reply), (status, entry.mark, labels))
}

/// A connection of the engine's.
pub(crate) fn record(record: &Record) -> String {
    let tuple = |tuple: &Tuple| {
        let key = match tuple.l4() {
            L4Key::Ports { source, destination } => format!("{source}>{destination}"),
            L4Key::Gre { source, destination } => format!("key {source}>{destination}"),
            L4Key::Icmp { kind, code, id } => format!("{kind}/{code} {id}"),
            L4Key::None => String::new(),
        };
        let (source, destination) = (tuple.source(), tuple.destination());
        Some(format!("{source}>{destination} {} {key} {}", tuple.protocol(), tuple.zone().0))
    };
    let status = Some(u32::from(record.status.0));
    told(tuple(&record.original), tuple(&record.reply), (status, record.mark, record.labels))
}

fn told(
    original: Option<String>,
    reply: Option<String>,
    rest: (Option<u32>, Option<u32>, Option<u128>),
) -> String {
    format!("{original:?} {reply:?} status, mark, labels {rest:x?}")
}

fn label_bits(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}
