//! `-j CLUSTERIP`: several machines that share an address, each of which takes some of its
//! connections. Linux has had none since 6.3; `-m cluster` does the same.

use stateward_wire::Family;

use crate::evaluate::Acting;
use crate::extension::{Extension, V4};
use crate::matches::mac;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// A new cluster, or one that another rule has made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusterip {
    /// `--new`: the rule makes it.
    pub new: bool,
    /// As it is made.
    pub cluster: Cluster,
}

/// A cluster as a rule makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `--hashmode`: one of the three modes.
    pub mode: &'static str,
    /// `--clustermac`: a multicast address of the link.
    pub station: [u8; 6],
    /// `--total-nodes`: up to 16.
    pub total: u16,
    /// `--local-node`: up to 16.
    pub local: u16,
    /// `--hash-init`.
    pub seed: u32,
}

impl Clusterip {
    pub(crate) const NAMES: &[&str] = &["CLUSTERIP"];
    pub(crate) const FAMILIES: &[Family] = V4;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const MOST: u64 = 16;
const MODES: [&str; 3] = ["sourceip", "sourceip-sourceport", "sourceip-sourceport-destport"];
const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("new"),
    OptionSpec::value("hashmode"),
    OptionSpec::value("clustermac"),
    OptionSpec::value("total-nodes"),
    OptionSpec::value("local-node"),
    OptionSpec::value("hash-init"),
];

impl Extension for Clusterip {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let cluster = &mut self.cluster;
        match given.option {
            "new" => {}
            "hashmode" => {
                let mode = MODES.into_iter().find(|mode| *mode == given.text);
                cluster.mode = mode.ok_or_else(|| given.bad().hint(MODES.join(" or ")))?;
            }
            "clustermac" => {
                let station = mac::parse(given.text);
                let station = station.filter(|[first, ..]| first & 1 == 1);
                let hint = "six bytes in hexadecimal with colons between them, the first one odd";
                cluster.station = station.ok_or_else(|| given.bad().hint(hint))?;
            }
            "total-nodes" => cluster.total = given.number(0..=MOST)? as u16,
            "local-node" => cluster.local = given.number(0..=MOST)? as u16,
            _ => cluster.seed = given.u32()?,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        self.new = seen.has("new");
        let needed = ["new", "hashmode", "clustermac", "total-nodes", "local-node"];
        match needed.iter().find(|option| !seen.has(option) && !seen.is_empty()) {
            Some(option) => Err(Refusal::new(format!("CLUSTERIP: `--{option}` must be given"))),
            None => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let Cluster { mode, station, total, local, seed } = &self.cluster;
        if !self.new {
            return;
        }
        let station: Vec<_> = station.iter().map(|byte| format!("{byte:02X}")).collect();
        save.flag("new").option("hashmode", mode).option("clustermac", station.join(":"));
        save.option("total-nodes", total).option("local-node", local).option("hash-init", seed);
    }
}

impl Acting for Clusterip {}
