//! One rule: what the packet's own header must be, the matches in their order, the target. This is
//! anything that can be written; what the kernel takes is decided in `validate.rs`.

use std::fmt;

use stateward_wire::Family;

use crate::address::Network;
use crate::evaluate::Stop;
use crate::matches::Match;
use crate::protocol;
use crate::save::Save;
use crate::source::Position;
use crate::targets::Extension;

/// A test that `!` turns around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test<T> {
    /// What is tested for.
    pub value: T,
    /// The rule wants the opposite.
    pub inverted: bool,
}

impl<T> Test<T> {
    /// A test as it is written without `!`.
    pub const fn plain(value: T) -> Self {
        Self { value, inverted: false }
    }

    /// Whether the test passes if `equal` says whether the packet has the value.
    pub const fn passes(&self, equal: bool) -> bool {
        equal != self.inverted
    }

    /// How the test ends if the packet is broken and the kernel inverts even that.
    pub(crate) const fn broken(&self) -> Stop {
        if self.inverted { Stop::HotdropMet } else { Stop::Hotdrop }
    }
}

/// A rule as it was written.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// What the packet's header must be.
    pub header: Header,
    /// In the order in which they are tested.
    pub matches: Vec<Match>,
    /// What happens to a packet that passes everything.
    pub target: Target,
    /// Packets and bytes that the rule begins with.
    pub counters: Counters,
    /// Where it was written.
    pub position: Position,
}

impl RuleSpec {
    /// Whether both are the same rule for `-D` and `-C`: counters and place do not count.
    pub fn is_same(&self, other: &Self) -> bool {
        self.header == other.header && self.matches == other.matches && self.target == other.target
    }

    /// The rule as iptables-save prints it behind `-A CHAIN`.
    pub fn text(&self) -> String {
        let mut save = Save::default();
        self.header.save(&mut save);
        for one in &self.matches {
            save.word("-m").word(one.name());
            one.save(&mut save);
        }
        match &self.target {
            Target::None => {}
            Target::Verdict(verdict) => _ = save.word("-j").word(verdict),
            Target::Jump(chain) => _ = save.word("-j").word(chain),
            Target::Goto(chain) => _ = save.word("-g").word(chain),
            Target::Extension(extension) => {
                save.word("-j").word(extension.name());
                extension.save(&mut save);
            }
        }
        save.into_text()
    }
}

/// Packets and bytes that a rule or a policy has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes of their network packets.
    pub bytes: u64,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:{}]", self.packets, self.bytes)
    }
}

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Nothing: it only counts.
    None,
    /// One of the four words that every table knows.
    Verdict(Verdict),
    /// The rules of a user's chain, then the next one here.
    Jump(String),
    /// The rules of a user's chain, then what comes after the jump that led here.
    Goto(String),
    /// A target extension.
    Extension(Extension),
}

/// The verdicts of the standard target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The table lets the packet pass.
    Accept,
    /// The packet ends here.
    Drop,
    /// To user space, queue 0.
    Queue,
    /// Back to where the chain was called from; from a built-in chain, its policy.
    Return,
}

impl Verdict {
    /// The verdict that is written `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "ACCEPT" => Some(Self::Accept),
            "DROP" => Some(Self::Drop),
            "QUEUE" => Some(Self::Queue),
            "RETURN" => Some(Self::Return),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Queue => "QUEUE",
            Self::Return => "RETURN",
        })
    }
}

/// What a rule tests without any match.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Whose rules these are.
    pub family: Family,
    /// `-s`.
    pub source: Test<Network>,
    /// `-d`.
    pub destination: Test<Network>,
    /// `-i`; `None` is any.
    pub input: Option<Test<Interface>>,
    /// `-o`.
    pub output: Option<Test<Interface>>,
    /// `-p`; 0 is any. For IPv6 the last header, extension headers skipped.
    pub protocol: Test<u8>,
    /// `-f`: later fragments only. IPv4 only.
    pub fragment: Option<Test<()>>,
}

impl Header {
    /// Every packet of `family`.
    pub const fn any(family: Family) -> Self {
        Self {
            family,
            source: Test::plain(Network::any(family)),
            destination: Test::plain(Network::any(family)),
            input: None,
            output: None,
            protocol: Test::plain(0),
            fragment: None,
        }
    }

    pub(crate) fn save(&self, save: &mut Save) {
        let Self { family: _, source, destination, input, output, protocol, fragment } = self;
        for (option, network) in [("-s", source), ("-d", destination)] {
            if !network.value.is_any() || network.inverted {
                save.inverted(network.inverted).word(option).word(network.value);
            }
        }
        for (option, interface) in [("-i", input), ("-o", output)] {
            // iptables loses `-i +` when it prints, and a `!` with it, though `! -i +` is no
            // interface.
            if let Some(interface) = interface.as_ref().filter(|one| !one.value.is_any()) {
                save.inverted(interface.inverted).word(option).word(&interface.value);
            }
        }
        if protocol.value != 0 {
            save.inverted(protocol.inverted).word("-p");
            match protocol::name(protocol.value) {
                Some(name) => save.word(name),
                None => save.word(protocol.value),
            };
        }
        if let Some(fragment) = fragment {
            save.inverted(fragment.inverted).word("-f");
        }
    }
}

/// An interface's name, or the beginning of several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    name: String,
}

impl Interface {
    /// As it is written: a `+` at the end stands for anything.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Whether every interface is meant.
    fn is_any(&self) -> bool {
        self.name == "+"
    }

    /// Whether the interface called `name` is meant.
    pub fn covers(&self, name: &str) -> bool {
        match self.name.strip_suffix('+') {
            Some(beginning) => name.starts_with(beginning),
            None => self.name == name,
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
