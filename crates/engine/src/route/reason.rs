//! Why routing ends a packet's way: a word, and a sentence.

use core::fmt;

use crate::options::Problem;

/// Why routing dropped a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoutingDrop {
    /// A source address that nobody can have.
    MartianSource,
    /// A destination address that cannot be reached from outside.
    MartianDestination,
    /// The routes do not lead back to the source (`rp_filter`).
    ReversePath,
    /// Multicast to a group that nobody here has joined, and nobody forwards.
    Multicast,
    /// No route.
    NoRoute,
    /// A `blackhole` route.
    Blackhole,
    /// An `unreachable` route.
    Unreachable,
    /// A `prohibit` route.
    Prohibited,
    /// This host does not forward.
    NotForwarding,
    /// The TTL or hop limit is used up.
    TimeToLive,
    /// Too large for the next link, and not to be fragmented.
    TooBig {
        /// The link's largest packet.
        mtu: u32,
    },
    /// A link-local source does not leave its link.
    LinkLocalSource,
    /// Options that contradict themselves, or that must be understood and are not.
    Options {
        /// What the sender is told, if anything.
        problem: Option<Problem>,
    },
    /// Options that prescribe the way.
    SourceRoute,
    /// The link sent it to many stations, and none of them shall forward it.
    NotAddressed,
    /// A socket of this host has it, and the routes lead elsewhere.
    Assigned,
}

impl RoutingDrop {
    /// Every code.
    pub const CODES: [&'static str; 16] = [
        "martian_source",
        "martian_destination",
        "reverse_path",
        "multicast_not_joined",
        "no_route",
        "blackhole",
        "unreachable",
        "prohibited",
        "not_forwarding",
        "time_to_live",
        "too_big",
        "link_local_source",
        "bad_options",
        "source_route",
        "not_addressed",
        "assigned",
    ];

    /// The stable word of the reason.
    pub fn code(&self) -> &'static str {
        Self::CODES.get(self.index()).copied().unwrap_or_default()
    }

    /// Its place in [`RoutingDrop::CODES`].
    const fn index(&self) -> usize {
        match self {
            RoutingDrop::MartianSource => 0,
            RoutingDrop::MartianDestination => 1,
            RoutingDrop::ReversePath => 2,
            RoutingDrop::Multicast => 3,
            RoutingDrop::NoRoute => 4,
            RoutingDrop::Blackhole => 5,
            RoutingDrop::Unreachable => 6,
            RoutingDrop::Prohibited => 7,
            RoutingDrop::NotForwarding => 8,
            RoutingDrop::TimeToLive => 9,
            RoutingDrop::TooBig { .. } => 10,
            RoutingDrop::LinkLocalSource => 11,
            RoutingDrop::Options { .. } => 12,
            RoutingDrop::SourceRoute => 13,
            RoutingDrop::NotAddressed => 14,
            RoutingDrop::Assigned => 15,
        }
    }
}

impl fmt::Display for RoutingDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoutingDrop::MartianSource => {
                f.write_str("nobody outside can have this source address")
            }
            RoutingDrop::MartianDestination => {
                f.write_str("this destination address cannot be reached from outside")
            }
            RoutingDrop::ReversePath => {
                f.write_str("the routes do not lead back to the source (rp_filter)")
            }
            RoutingDrop::Multicast => f.write_str("nobody here has joined this multicast group"),
            RoutingDrop::NoRoute => f.write_str("there is no route to the destination"),
            RoutingDrop::Blackhole => f.write_str("the route to the destination is a blackhole"),
            RoutingDrop::Unreachable => {
                f.write_str("the route to the destination says that it is unreachable")
            }
            RoutingDrop::Prohibited => f.write_str("the route to the destination prohibits it"),
            RoutingDrop::NotForwarding => f.write_str("this host does not forward"),
            RoutingDrop::TimeToLive => f.write_str("the time to live is used up"),
            RoutingDrop::TooBig { mtu } => {
                write!(f, "too large for the next link, whose MTU is {mtu}")
            }
            RoutingDrop::LinkLocalSource => {
                f.write_str("a link-local source address does not leave its link")
            }
            RoutingDrop::Options { problem: Some(problem) } => {
                write!(f, "the IP options cannot be followed, at byte {}", problem.pointer)
            }
            RoutingDrop::Options { problem: None } => {
                f.write_str("the IP options cannot be followed")
            }
            RoutingDrop::SourceRoute => f.write_str("source routes are not followed"),
            RoutingDrop::NotAddressed => {
                f.write_str("sent to many stations of the link, of which none may forward it")
            }
            RoutingDrop::Assigned => f.write_str(
                "TPROXY has handed it to a socket, and no policy rule delivers its mark here",
            ),
        }
    }
}
