//! All target extensions: one file each, one line each here. How to add one stands in the crate's essay.

pub mod connmark;
pub mod ct;
pub mod dnat;
pub mod dscp;
pub mod ecn;
pub mod hl;
pub mod log;
pub mod mark;
pub mod masquerade;
pub mod nat;
pub mod netmap;
pub mod notrack;
pub mod redirect;
pub mod reject;
pub mod snat;
pub mod tcpmss;
pub mod tos;
pub mod ttl;

crate::extension::extensions! {
    /// A target extension with its options.
    Extension at crate::evaluate::Acting {
        /// `-j CONNMARK`
        Connmark(connmark::Connmark),
        /// `-j CT`
        Ct(ct::Ct),
        /// `-j DNAT`
        Dnat(dnat::Dnat),
        /// `-j DSCP`
        Dscp(dscp::Dscp),
        /// `-j ECN`
        Ecn(ecn::Ecn),
        /// `-j HL`
        Hl(hl::Hl),
        /// `-j LOG`
        Log(log::Log),
        /// `-j MARK`
        Mark(mark::Mark),
        /// `-j MASQUERADE`
        Masquerade(masquerade::Masquerade),
        /// `-j NETMAP`
        Netmap(netmap::Netmap),
        /// `-j NOTRACK`
        Notrack(notrack::Notrack),
        /// `-j REDIRECT`
        Redirect(redirect::Redirect),
        /// `-j REJECT`
        Reject(reject::Reject),
        /// `-j SNAT`
        Snat(snat::Snat),
        /// `-j TCPMSS`
        Tcpmss(tcpmss::Tcpmss),
        /// `-j TOS`
        Tos(tos::Tos),
        /// `-j TTL`
        Ttl(ttl::Ttl),
    }
}
