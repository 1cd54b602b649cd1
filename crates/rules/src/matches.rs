//! All matches: one file each, one line each here. How to add one stands in the crate's essay.

pub mod addrtype;
pub mod comment;
pub mod connbytes;
pub mod connlabel;
pub mod connlimit;
pub mod connmark;
pub mod conntrack;
pub mod dscp;
pub mod ecn;
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
pub mod quota;
pub mod recent;
pub mod state;
pub mod statistic;
pub mod string;
pub mod tcp;
pub mod tcpmss;
pub mod time;
pub mod tos;
pub mod ttl;
pub mod udp;

crate::extension::extensions! {
    /// A match with its options.
    Match at crate::evaluate::Matching {
        /// `-m addrtype`
        Addrtype(addrtype::Addrtype),
        /// `-m comment`
        Comment(comment::Comment),
        /// `-m connbytes`
        Connbytes(connbytes::Connbytes),
        /// `-m connlabel`
        Connlabel(connlabel::Connlabel),
        /// `-m connlimit`
        Connlimit(connlimit::Connlimit),
        /// `-m connmark`
        Connmark(connmark::Connmark),
        /// `-m conntrack`
        Conntrack(conntrack::Conntrack),
        /// `-m dscp`
        Dscp(dscp::Dscp),
        /// `-m ecn`
        Ecn(ecn::Ecn),
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
        /// `-m quota`
        Quota(quota::Quota),
        /// `-m recent`
        Recent(recent::Recent),
        /// `-m state`
        State(state::State),
        /// `-m statistic`
        Statistic(statistic::Statistic),
        /// `-m string`
        StringMatch(string::StringMatch),
        /// `-m tcp`
        Tcp(tcp::Tcp),
        /// `-m tcpmss`
        Tcpmss(tcpmss::Tcpmss),
        /// `-m time`
        Time(time::Time),
        /// `-m tos`
        Tos(tos::Tos),
        /// `-m ttl`
        Ttl(ttl::Ttl),
        /// `-m udp`
        Udp(udp::Udp),
    }
}
