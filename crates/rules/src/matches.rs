//! All matches: one file each, one line each here. How to add one stands in the crate's essay.

pub mod addrtype;
pub mod comment;
pub mod connlimit;
pub mod conntrack;
pub mod hashlimit;
pub mod hl;
pub mod icmp;
pub mod icmp6;
pub mod iprange;
pub mod length;
pub mod limit;
pub mod mac;
pub mod mark;
pub mod multiport;
pub mod owner;
pub mod pkttype;
pub mod recent;
pub mod state;
pub mod string;
pub mod tcp;
pub mod tcpmss;
pub mod time;
pub mod ttl;
pub mod udp;

crate::extension::extensions! {
    /// A match with its options.
    Match at crate::evaluate::Matching {
        /// `-m addrtype`
        Addrtype(addrtype::Addrtype),
        /// `-m comment`
        Comment(comment::Comment),
        /// `-m connlimit`
        Connlimit(connlimit::Connlimit),
        /// `-m conntrack`
        Conntrack(conntrack::Conntrack),
        /// `-m hashlimit`
        Hashlimit(hashlimit::Hashlimit),
        /// `-m hl`
        Hl(hl::Hl),
        /// `-m icmp`
        Icmp(icmp::Icmp),
        /// `-m icmp6`
        Icmp6(icmp6::Icmp6),
        /// `-m iprange`
        Iprange(iprange::Iprange),
        /// `-m length`
        Length(length::Length),
        /// `-m limit`
        Limit(limit::Limit),
        /// `-m mac`
        Mac(mac::Mac),
        /// `-m mark`
        Mark(mark::Mark),
        /// `-m multiport`
        Multiport(multiport::Multiport),
        /// `-m owner`
        Owner(owner::Owner),
        /// `-m pkttype`
        Pkttype(pkttype::Pkttype),
        /// `-m recent`
        Recent(recent::Recent),
        /// `-m state`
        State(state::State),
        /// `-m string`
        StringMatch(string::StringMatch),
        /// `-m tcp`
        Tcp(tcp::Tcp),
        /// `-m tcpmss`
        Tcpmss(tcpmss::Tcpmss),
        /// `-m time`
        Time(time::Time),
        /// `-m ttl`
        Ttl(ttl::Ttl),
        /// `-m udp`
        Udp(udp::Udp),
    }
}
