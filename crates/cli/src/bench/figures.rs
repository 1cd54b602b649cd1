//! Figures: collected in rounds, combined over workers, printed.

use std::io::{self, Write};
use std::time::Duration;

use super::{BenchArgs, Format, Proto};

/// Nanoseconds a packet of each round.
#[derive(Default)]
pub(super) struct Rounds(Vec<f64>);

impl Rounds {
    pub(super) fn push(&mut self, spent: Duration, packets: u64) {
        self.0.push(spent.as_nanos() as f64 / packets.max(1) as f64);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What was measured.
pub(super) struct Figures {
    pub(super) ns_per_packet: f64,
    pub(super) ns_per_new: f64,
    pub(super) packets_per_second: f64,
    pub(super) new_per_second: f64,
    pub(super) bytes_per_connection: f64,
    pub(super) connections: u64,
    pub(super) rounds: usize,
    pub(super) huge_pages: bool,
}

impl Figures {
    /// Of several workers: costs are averaged, rates and connections added. What memory a
    /// connection takes cannot be told apart by worker: it is left out.
    pub(super) fn combine(each: Vec<Figures>) -> Figures {
        let count = each.len().max(1) as f64;
        let mean = |of: fn(&Figures) -> f64| each.iter().map(of).sum::<f64>() / count;
        Figures {
            ns_per_packet: mean(|f| f.ns_per_packet),
            ns_per_new: mean(|f| f.ns_per_new),
            packets_per_second: mean(|f| f.packets_per_second) * count,
            new_per_second: mean(|f| f.new_per_second) * count,
            bytes_per_connection: f64::NAN,
            connections: each.iter().map(|f| f.connections).sum(),
            rounds: each.iter().map(|f| f.rounds).min().unwrap_or(0),
            huge_pages: each.iter().all(|f| f.huge_pages),
        }
    }

    pub(super) fn print(&self, args: &BenchArgs, out: &mut impl Write) -> io::Result<()> {
        match args.format {
            Format::Text => self.print_text(args, out),
            Format::Json => self.print_json(args, out),
        }
    }

    fn print_text(&self, args: &BenchArgs, out: &mut impl Write) -> io::Result<()> {
        let pages = if self.huge_pages { "huge pages asked for" } else { "ordinary pages" };
        writeln!(
            out,
            "{}, {} connections, burst {}, {} worker(s), {pages}, median of {} rounds",
            name(args.proto),
            self.connections,
            args.burst,
            args.workers,
            self.rounds,
        )?;
        let row = |out: &mut dyn Write, what: &str, ns: f64, rate: f64| {
            writeln!(out, "  {what:<28}{ns:>9.1} ns  {:>8.2} M/s", rate / 1e6)
        };
        row(out, "packet of a connection", self.ns_per_packet, self.packets_per_second)?;
        row(out, "new connection", self.ns_per_new, self.new_per_second)?;
        if self.bytes_per_connection.is_finite() {
            writeln!(out, "  {:<28}{:>9.1} bytes", "memory", self.bytes_per_connection)?;
        }
        Ok(())
    }

    fn print_json(&self, args: &BenchArgs, out: &mut impl Write) -> io::Result<()> {
        let number = |value: f64| serde_json::Number::from_f64((value * 10.0).round() / 10.0);
        let mut line = serde_json::json!({
            "ns_per_packet": number(self.ns_per_packet),
            "packets_per_second": number(self.packets_per_second.round()),
            "new_per_second": number(self.new_per_second.round()),
            "ns_per_new": number(self.ns_per_new),
            "connections": self.connections,
            "proto": name(args.proto),
            "burst": args.burst,
            "new_ratio": args.new_ratio,
            "seconds": args.seconds,
            "workers": args.workers,
            "checksum": args.checksum,
            "ipv6": args.ipv6,
            "acct": args.acct,
            "rounds": self.rounds,
            "huge_pages": self.huge_pages,
        });
        if let (Some(bytes), Some(object)) =
            (number(self.bytes_per_connection), line.as_object_mut())
        {
            object.insert("bytes_per_connection".into(), bytes.into());
        }
        writeln!(out, "{line}")
    }
}

fn name(proto: Proto) -> &'static str {
    match proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
        Proto::Icmp => "icmp",
    }
}
