//! What the kernel logs about packets: the judge's own checkpoints, and its words about them.
//!
//! All of it comes through NFLOG and one socket, hence in the order in which it happened. A
//! *sighting* is a packet passing one of the checkpoints of [`super::namespace`]'s rules; a
//! *remark* is what else the kernel said: why a packet is invalid, the TRACE of a rule, the prefix
//! of a LOG rule.
//!
//! Sightings are grouped into *walks*: one packet on its way through the hooks. A walk begins at
//! the first checkpoint of PREROUTING or OUTPUT. Whatever the host makes in answer (a REJECT's
//! packet, an ICMP error) begins a walk of its own; the packet it is made for goes no further, so
//! sightings always belong to the latest walk. Only a packet to an address of this machine comes in
//! again at PREROUTING through `lo`; that continues its walk.

use std::fmt;
use std::io;

use super::attribute::{Attributes, Message, Request};
use super::socket::{FLAG_ACK, FLAG_REQUEST, Netlink};

/// Group of the checkpoints.
pub(super) const GROUP_CHECKPOINT: u16 = 64000;
/// Group to which the kernel logs what has no group of its own.
const GROUP_KERNEL: u16 = 0;

/// A hook of netfilter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// PREROUTING.
    Prerouting,
    /// INPUT.
    Input,
    /// FORWARD.
    Forward,
    /// OUTPUT.
    Output,
    /// POSTROUTING.
    Postrouting,
}

/// A place in a hook where the judge looks at the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checkpoint {
    /// Before everything, also before defragmentation.
    Enter,
    /// After defragmentation, before the raw table.
    Defragmented,
    /// Right after conntrack.
    Classified(CtState, Option<Direction>),
    /// After the tables of the hook.
    Leave,
    /// After the very end of INPUT, the confirmation: the host would have it now.
    Delivered,
}

/// What conntrack said of a packet, as rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CtState {
    /// NEW.
    New,
    /// ESTABLISHED.
    Established,
    /// RELATED.
    Related,
    /// INVALID.
    Invalid,
    /// UNTRACKED.
    Untracked,
}

/// The direction of a packet within its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// That of the packet that opened it.
    Original,
    /// The other.
    Reply,
}

/// A packet at a checkpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The hook.
    pub hook: Hook,
    /// The place in it.
    pub checkpoint: Checkpoint,
    /// Index of the interface it came in by.
    pub input: Option<u32>,
    /// Index of the interface it leaves by.
    pub output: Option<u32>,
    /// Its mark, if not 0.
    pub mark: Option<u32>,
    /// The packet as it was there, at most 65,531 bytes of it. A packet the host made may lack its
    /// checksum until it leaves.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} ", self.hook, self.checkpoint)?;
        write!(f, "in {:?} out {:?} mark {:?} ", self.input, self.output, self.mark)?;
        hex(f, &self.bytes)
    }
}

/// Writes bytes as the trace does.
pub(super) fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Something the kernel said about a packet.
#[derive(Clone, PartialEq, Eq)]
pub struct Remark {
    /// The NFLOG group; 0 for what is not from an NFLOG rule.
    pub group: u16,
    /// The words: a prefix, a TRACE line, a reason.
    pub text: String,
    /// The hook.
    pub hook: Option<Hook>,
    /// The packet as it was there.
    pub bytes: Vec<u8>,
    /// Which walk it was about, an index into the walks of its step.
    pub walk: Option<usize>,
}

impl fmt::Debug for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} ", self.text, self.hook)?;
        write!(f, "group {} walk {:?} ", self.group, self.walk)?;
        hex(f, &self.bytes)
    }
}

/// One packet's way through the hooks, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// The checkpoints it passed, in order; never empty.
    pub sightings: Vec<Sighting>,
}

impl Walk {
    /// What conntrack said of it; none if it never came so far.
    pub fn state(&self) -> Option<CtState> {
        self.classified().map(|(state, _)| state)
    }

    /// Its direction within its connection.
    pub fn direction(&self) -> Option<Direction> {
        self.classified().and_then(|(_, direction)| direction)
    }

    /// Whether it came to this checkpoint of this hook.
    pub fn reached(&self, hook: Hook, checkpoint: Checkpoint) -> bool {
        self.sightings.iter().any(|s| s.hook == hook && s.checkpoint == checkpoint)
    }

    /// The hooks it entered, in order, without repetition.
    pub fn hooks(&self) -> Vec<Hook> {
        let mut hooks: Vec<Hook> = self.sightings.iter().map(|sighting| sighting.hook).collect();
        hooks.dedup();
        hooks
    }

    /// Whether it went into defragmentation and did not come out: held, or bad.
    pub fn swallowed_by_defragmentation(&self) -> bool {
        self.sightings.len() == 1
            && self.sightings.iter().all(|sighting| sighting.checkpoint == Checkpoint::Enter)
    }

    fn classified(&self) -> Option<(CtState, Option<Direction>)> {
        self.sightings.iter().find_map(|sighting| match sighting.checkpoint {
            Checkpoint::Classified(state, direction) => Some((state, direction)),
            _ => None,
        })
    }
}

/// The sightings and remarks of one step, being gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) walks: Vec<Walk>,
    pub(super) remarks: Vec<Remark>,
}

impl Gathered {
    /// Adds one message of the log socket; `loopback` is the index of `lo`.
    pub(super) fn add(&mut self, message: &Message<'_>, loopback: u32) -> io::Result<()> {
        if message.kind != KIND_PACKET {
            return Ok(());
        }
        let (family, attributes) =
            message.netfilter().ok_or_else(|| io::Error::other("a log message without header"))?;
        let logged = Logged::decode(attributes);
        if family.group != GROUP_CHECKPOINT {
            self.remarks.push(logged.remark(family.group, self.walks.len().checked_sub(1)));
            return Ok(());
        }
        let sighting = logged.sighting()?;
        if starts_walk(&sighting, self.walks.last(), loopback) {
            self.walks.push(Walk::default());
        }
        match self.walks.last_mut() {
            Some(walk) => walk.sightings.push(sighting),
            None => return Err(io::Error::other("a packet was seen late in its walk only")),
        }
        Ok(())
    }
}

fn starts_walk(sighting: &Sighting, latest: Option<&Walk>, loopback: u32) -> bool {
    if sighting.checkpoint != Checkpoint::Enter {
        return false;
    }
    let comes_again = sighting.input == Some(loopback)
        && latest.is_some_and(|walk| walk.hooks().last() == Some(&Hook::Postrouting));
    match sighting.hook {
        Hook::Prerouting => !comes_again,
        Hook::Output => true,
        _ => false,
    }
}

const SUBSYSTEM_LOG: u16 = 4;
const KIND_PACKET: u16 = SUBSYSTEM_LOG << 8;
const KIND_CONFIG: u16 = SUBSYSTEM_LOG << 8 | 1;

const CONFIG_COMMAND: u16 = 1;
const CONFIG_MODE: u16 = 2;
const CONFIG_BUFFER: u16 = 3;
const CONFIG_THRESHOLD: u16 = 5;
const COMMAND_BIND: u8 = 1;
const COMMAND_UNBIND: u8 = 2;
/// Copy whole packets.
const MODE_PACKET: [u8; 6] = [0, 0, 0xff, 0xff, 2, 0];
/// What the kernel allocates for a message at least; it allocates more as needed.
const BUFFER: [u8; 4] = 512u32.to_be_bytes();

/// Binds the judge's own groups and the kernel's to this socket.
pub(super) fn listen(netlink: &mut Netlink) -> io::Result<()> {
    bind(netlink, GROUP_KERNEL)?;
    bind(netlink, GROUP_CHECKPOINT)
}

/// Binds one more group, whose messages become remarks.
pub(super) fn bind(netlink: &mut Netlink, group: u16) -> io::Result<()> {
    netlink.request(&config(group).attribute(CONFIG_COMMAND, &[COMMAND_BIND]))?;
    let settings = config(group)
        .attribute(CONFIG_MODE, &MODE_PACKET)
        .attribute(CONFIG_BUFFER, &BUFFER)
        .attribute(CONFIG_THRESHOLD, &1u32.to_be_bytes());
    netlink.request(&settings)
}

/// Undoes [`bind`].
pub(super) fn unbind(netlink: &mut Netlink, group: u16) -> io::Result<()> {
    netlink.request(&config(group).attribute(CONFIG_COMMAND, &[COMMAND_UNBIND]))
}

fn config(group: u16) -> Request {
    Request::new(KIND_CONFIG, FLAG_REQUEST | FLAG_ACK, 0, group)
}

/// A message of the log, decoded as far as it is the same for all groups.
#[derive(Default)]
struct Logged<'a> {
    hook: Option<Hook>,
    mark: Option<u32>,
    input: Option<u32>,
    output: Option<u32>,
    bytes: &'a [u8],
    prefix: String,
}

impl<'a> Logged<'a> {
    fn decode(attributes: Attributes<'a>) -> Self {
        let mut logged = Self::default();
        for attribute in attributes {
            match attribute.kind {
                1 => logged.hook = attribute.payload.get(2).copied().and_then(hook),
                2 => logged.mark = attribute.be32(),
                4 => logged.input = attribute.be32(),
                5 => logged.output = attribute.be32(),
                9 => logged.bytes = attribute.payload,
                10 => logged.prefix = attribute.text(),
                _ => {}
            }
        }
        logged
    }

    fn remark(self, group: u16, walk: Option<usize>) -> Remark {
        Remark { group, text: self.prefix, hook: self.hook, bytes: self.bytes.to_vec(), walk }
    }

    fn sighting(self) -> io::Result<Sighting> {
        let unknown = || io::Error::other(format!("not a checkpoint's prefix: {:?}", self.prefix));
        Ok(Sighting {
            hook: self.hook.ok_or_else(unknown)?,
            checkpoint: checkpoint(&self.prefix).ok_or_else(unknown)?,
            input: self.input,
            output: self.output,
            mark: self.mark,
            bytes: self.bytes.to_vec(),
        })
    }
}

const fn hook(number: u8) -> Option<Hook> {
    Some(match number {
        0 => Hook::Prerouting,
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        4 => Hook::Postrouting,
        _ => return None,
    })
}

/// The checkpoint that the rules of [`super::namespace`] mark with this prefix.
fn checkpoint(prefix: &str) -> Option<Checkpoint> {
    let (state, direction) = match prefix {
        "enter" => return Some(Checkpoint::Enter),
        "defragmented" => return Some(Checkpoint::Defragmented),
        "leave" => return Some(Checkpoint::Leave),
        "delivered" => return Some(Checkpoint::Delivered),
        _ => prefix.split_once(' ').map_or((prefix, ""), |split| split),
    };
    let state = match state {
        "new" => CtState::New,
        "established" => CtState::Established,
        "related" => CtState::Related,
        "invalid" => CtState::Invalid,
        "untracked" => CtState::Untracked,
        _ => return None,
    };
    let direction = match direction {
        "original" => Some(Direction::Original),
        "reply" => Some(Direction::Reply),
        _ => None,
    };
    Some(Checkpoint::Classified(state, direction))
}
