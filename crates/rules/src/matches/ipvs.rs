//! `-m ipvs`: packets of connections that the kernel's load balancer has.

use stateward_wire::Family;

use crate::address::Network;
use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension};
use crate::matches::conntrack::save_address;
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::protocol;
use crate::rule::{Header, Test};
use crate::save::Save;

/// What is asked of the balancer's connection; all tests must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipvs {
    /// `--ipvs`: there is one. Every other option asks for it as well.
    pub balanced: Option<Test<()>>,
    /// `--vproto`.
    pub protocol: Option<Test<u8>>,
    /// `--vaddr`: the virtual address; it keeps bits outside of the mask.
    pub address: Option<Test<Network>>,
    /// `--vport`.
    pub port: Option<Test<u16>>,
    /// `--vdir`: the plain test is the original direction.
    pub direction: Option<Test<()>>,
    /// `--vmethod`.
    pub method: Option<Test<Method>>,
    /// `--vportctl`: the virtual port of the connection that controls this one.
    pub control: Option<Test<u16>>,
}

/// How packets reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By the link alone.
    Gate,
    /// In a tunnel.
    Ipip,
    /// Translated.
    Masq,
}

impl Ipvs {
    pub(crate) const NAMES: &[&str] = &["ipvs"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::flag("ipvs").invertible(),
    OptionSpec::value("vproto").invertible(),
    OptionSpec::value("vaddr").invertible(),
    OptionSpec::value("vport").invertible(),
    OptionSpec::value("vdir"),
    OptionSpec::value("vmethod").invertible(),
    OptionSpec::value("vportctl").invertible(),
];

const METHODS: [(Method, &str); 3] =
    [(Method::Gate, "GATE"), (Method::Ipip, "IPIP"), (Method::Masq, "MASQ")];

impl Extension for Ipvs {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        let inverted = given.inverted;
        match given.option {
            "ipvs" => self.balanced = Some(Test { value: (), inverted }),
            "vproto" => {
                self.protocol = Some(Test { value: protocol::parse(given.text)?, inverted });
            }
            "vaddr" => self.address = Some(Test { value: given.host_mask()?, inverted }),
            "vport" => self.port = Some(Test { value: given.port()?, inverted }),
            "vdir" => {
                let reply = given.text.eq_ignore_ascii_case("REPLY");
                if !reply && !given.text.eq_ignore_ascii_case("ORIGINAL") {
                    return Err(given.bad().hint("ORIGINAL or REPLY"));
                }
                self.direction = Some(Test { value: (), inverted: reply });
            }
            "vmethod" => {
                let is = |(_, name): &&(Method, &str)| given.text.eq_ignore_ascii_case(name);
                let found = METHODS.iter().find(is);
                let (value, _) = found.ok_or_else(|| given.bad().hint("GATE, IPIP or MASQ"))?;
                self.method = Some(Test { value: *value, inverted });
            }
            _ => self.control = Some(Test { value: given.port()?, inverted }),
        }
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        if seen.is_empty() {
            return Err(Refusal::new("ipvs: at least one option must be given"));
        }
        let alone = *self == Self { balanced: self.balanced, ..Self::default() };
        if !alone && self.balanced.is_some_and(|balanced| balanced.inverted) {
            let refusal = Refusal::new("ipvs: `! --ipvs` beside other options");
            return Err(refusal.hint("what the balancer does not have has none of them"));
        }
        Ok(())
    }

    fn save(&self, save: &mut Save) {
        let Self { balanced, protocol, address, port, direction, method, control } = self;
        let alone = *self == Self { balanced: *balanced, ..Self::default() };
        if let Some(Test { inverted, .. }) = balanced.filter(|_| alone) {
            save.inverted(inverted).flag("ipvs");
        }
        if let Some(Test { value, inverted }) = *protocol {
            save.inverted(inverted).option("vproto", value);
        }
        if let Some(address) = address {
            save_address(save, "vaddr", address);
        }
        if let Some(Test { value, inverted }) = *port {
            save.inverted(inverted).option("vport", value);
        }
        if let Some(Test { inverted, .. }) = *direction {
            save.option("vdir", if inverted { "REPLY" } else { "ORIGINAL" });
        }
        if let Some(Test { value, inverted }) = *method {
            let name = METHODS.iter().find(|(method, _)| *method == value);
            save.inverted(inverted).option("vmethod", name.map_or("", |(_, name)| name));
        }
        if let Some(Test { value, inverted }) = *control {
            save.inverted(inverted).option("vportctl", value);
        }
    }
}

impl Matching for Ipvs {}
