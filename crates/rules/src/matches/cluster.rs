//! `-m cluster`: whether this node of a cluster is the one that a connection's source is for.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;

/// Which nodes there are, and which this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `--cluster-total-nodes`: 1 to 32.
    pub total: u32,
    /// `--cluster-local-node`, `--cluster-local-nodemask`: a bit for each node that is meant.
    pub nodes: Test<u32>,
    /// `--cluster-hash-seed`.
    pub seed: u32,
}

impl Cluster {
    pub(crate) const NAMES: &[&str] = &["cluster"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self { total: 0, nodes: Test::plain(0), seed: 0 }
    }
}

const MOST: u64 = 32;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::value("cluster-total-nodes").mandatory(),
    OptionSpec::value("cluster-local-node").invertible().excludes(&["cluster-local-nodemask"]),
    OptionSpec::value("cluster-local-nodemask").invertible().excludes(&["cluster-local-node"]),
    OptionSpec::value("cluster-hash-seed").mandatory(),
];

impl Extension for Cluster {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        match given.option {
            "cluster-total-nodes" => self.total = given.number(1..=MOST)? as u32,
            "cluster-hash-seed" => self.seed = given.u32()?,
            option => {
                // A mask is held to be a node's number when it is read.
                let number = given.number(1..=MOST)? as u32;
                let is_mask = option == "cluster-local-nodemask";
                let value = if is_mask { number } else { 1 << (number - 1) };
                self.nodes = Test { value, inverted: given.inverted };
            }
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        if self.nodes.value == 0 {
            return Err(Refusal::new("cluster: `--cluster-local-node` must be given"));
        }
        let is_there = u64::from(self.nodes.value) < 1 << self.total;
        match is_there || !seen.has("cluster-total-nodes") {
            true => Ok(()),
            false => {
                let message = format!("cluster: there are only {} nodes", self.total);
                Err(Refusal::new(message).hint("a node is 1 to `--cluster-total-nodes`"))
            }
        }
    }

    fn save(&self, save: &mut Save) {
        let Self { total, nodes: Test { value, inverted }, seed } = self;
        save.inverted(*inverted).option("cluster-local-nodemask", format_args!("{value:#010x}"));
        save.option("cluster-total-nodes", total);
        save.option("cluster-hash-seed", format_args!("{seed:#010x}"));
    }
}

impl Matching for Cluster {}
