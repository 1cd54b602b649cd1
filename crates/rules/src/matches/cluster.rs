//! `-m cluster`: which node of a cluster a connection falls to, by a hash of its source.

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::{Header, Test};
use crate::save::Save;

/// `--cluster-total-nodes N --cluster-hash-seed SEED`, and which nodes are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How many nodes there are, 1 to 32.
    pub total: u32,
    /// `--cluster-local-node` is one bit of these, the first node the lowest.
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

/// Nodes are the bits of a number.
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
        let inverted = given.inverted;
        match given.option {
            "cluster-total-nodes" => self.total = given.number(1..=MOST)? as u32,
            "cluster-local-node" => {
                let node = given.number(1..=MOST)? as u32;
                self.nodes = Test { value: 1 << (node - 1), inverted };
            }
            // iptables takes a mask for a node's number: of 32 nodes it can name the first six.
            "cluster-local-nodemask" => {
                self.nodes = Test { value: given.number(1..=MOST)? as u32, inverted };
            }
            _ => self.seed = given.u32()?,
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        if !seen.has("cluster-local-node") && !seen.has("cluster-local-nodemask") {
            let refusal = Refusal::new("cluster: which nodes is missing");
            return Err(refusal.hint("`--cluster-local-node` or `--cluster-local-nodemask`"));
        }
        let total = self.total;
        if u64::from(self.nodes.value) >= 1 << total {
            let refusal = Refusal::new("cluster: a node beyond `--cluster-total-nodes`");
            return Err(refusal.hint(format!("nodes count from 1 to {total}")));
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { total, nodes, seed } = self;
        save.inverted(nodes.inverted);
        save.option("cluster-local-nodemask", format_args!("{:#010x}", nodes.value));
        save.option("cluster-total-nodes", total);
        save.option("cluster-hash-seed", format_args!("{seed:#010x}"));
    }
}

impl Matching for Cluster {}
