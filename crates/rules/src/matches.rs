//! All matches: one file each, one line each here. How to add one stands in the crate's essay.

pub mod addrtype;
pub mod ah;
pub mod ah6;
pub mod bpf;
pub mod cgroup;
pub mod cluster;
pub mod comment;
pub mod connbytes;
pub mod connlabel;
pub mod connlimit;
pub mod connmark;
pub mod conntrack;
pub mod cpu;
pub mod dccp;
pub mod devgroup;
pub mod dscp;
pub mod dst;
pub mod ecn;
pub mod esp;
pub mod eui64;
pub mod frag;
pub mod hashlimit;
pub mod hbh;
pub mod helper;
pub mod hl;
pub mod icmp;
pub mod icmp6;
pub mod ipcomp;
pub mod iprange;
pub mod ipv6header;
pub mod ipvs;
pub mod length;
pub mod limit;
pub mod mac;
pub mod mark;
pub mod mh;
pub mod multiport;
pub mod nfacct;
pub mod options6;
pub mod osf;
pub mod owner;
pub mod physdev;
pub mod pkttype;
pub mod policy;
pub mod quota;
pub mod rateest;
pub mod realm;
pub mod recent;
pub mod rpfilter;
pub mod rt;
pub mod sctp;
pub mod set;
pub mod socket;
pub mod srh;
pub mod state;
pub mod statistic;
pub mod string;
pub mod tcp;
pub mod tcpmss;
pub mod time;
pub mod tos;
pub mod ttl;
pub mod u32;
pub mod udp;

crate::extension::extensions! {
    /// A match with its options.
    Match at crate::evaluate::Matching {
        /// `-m addrtype`
        Addrtype(addrtype::Addrtype),
        /// `-m ah`
        Ah(ah::Ah),
        /// `-m ah`
        Ah6(ah6::Ah6),
        /// `-m bpf`
        Bpf(bpf::Bpf),
        /// `-m cgroup`
        Cgroup(cgroup::Cgroup),
        /// `-m cluster`
        Cluster(cluster::Cluster),
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
        /// `-m cpu`
        Cpu(cpu::Cpu),
        /// `-m dccp`
        Dccp(dccp::Dccp),
        /// `-m devgroup`
        Devgroup(devgroup::Devgroup),
        /// `-m dscp`
        Dscp(dscp::Dscp),
        /// `-m dst`
        Dst(dst::Dst),
        /// `-m ecn`
        Ecn(ecn::Ecn),
        /// `-m esp`
        Esp(esp::Esp),
        /// `-m eui64`
        Eui64(eui64::Eui64),
        /// `-m frag`
        Frag(frag::Frag),
        /// `-m hashlimit`
        Hashlimit(hashlimit::Hashlimit),
        /// `-m hbh`
        Hbh(hbh::Hbh),
        /// `-m helper`
        Helper(helper::Helper),
        /// `-m hl`
        Hl(hl::Hl),
        /// `-m icmp`
        Icmp(icmp::Icmp),
        /// `-m icmp6`
        Icmp6(icmp6::Icmp6),
        /// `-m ipcomp`
        Ipcomp(ipcomp::Ipcomp),
        /// `-m iprange`
        Iprange(iprange::Iprange),
        /// `-m ipv6header`
        Ipv6header(ipv6header::Ipv6header),
        /// `-m ipvs`
        Ipvs(ipvs::Ipvs),
        /// `-m length`
        Length(length::Length),
        /// `-m limit`
        Limit(limit::Limit),
        /// `-m mac`
        Mac(mac::Mac),
        /// `-m mark`
        Mark(mark::Mark),
        /// `-m mh`
        Mh(mh::Mh),
        /// `-m multiport`
        Multiport(multiport::Multiport),
        /// `-m nfacct`
        Nfacct(nfacct::Nfacct),
        /// `-m osf`
        Osf(osf::Osf),
        /// `-m owner`
        Owner(owner::Owner),
        /// `-m physdev`
        Physdev(physdev::Physdev),
        /// `-m pkttype`
        Pkttype(pkttype::Pkttype),
        /// `-m policy`
        Policy(policy::Policy),
        /// `-m quota`
        Quota(quota::Quota),
        /// `-m rateest`
        Rateest(rateest::Rateest),
        /// `-m realm`
        Realm(realm::Realm),
        /// `-m recent`
        Recent(recent::Recent),
        /// `-m rpfilter`
        Rpfilter(rpfilter::Rpfilter),
        /// `-m rt`
        Rt(rt::Rt),
        /// `-m sctp`
        Sctp(sctp::Sctp),
        /// `-m set`
        Set(set::Set),
        /// `-m socket`
        Socket(socket::Socket),
        /// `-m srh`
        Srh(srh::Srh),
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
        /// `-m u32`
        U32(u32::U32),
        /// `-m udp`
        Udp(udp::Udp),
    }
}
