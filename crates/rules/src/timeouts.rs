//! Policies of timeouts by their names, which `-j CT --timeout` says.
//!
//! They belong to the namespace and are made before rules that name them. Kernel counterpart:
//! `nf_ct_set_timeout`.

use stateward_conntrack::{PolicyId, TimeoutPolicy};

use crate::diagnostic::Diagnostic;
use crate::rule::Target;
use crate::source::Source;
use crate::targets::Extension;
use crate::validate::ValidRuleset;

/// The policies that there are, and what the tracker calls them.
#[derive(Clone, Debug, Default)]
pub struct Timeouts(Vec<(String, PolicyId)>);

impl Timeouts {
    /// Rules that name this policy mean what the tracker calls so.
    pub fn add(&mut self, policy: &TimeoutPolicy, id: PolicyId) {
        self.0.push((policy.name().to_owned(), id));
    }

    pub(crate) fn find(&self, name: &str) -> Option<PolicyId> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }
}

/// What the kernel refuses of the rules in `source` that name policies: those that are not there,
/// and those of another protocol or family.
pub fn refused(
    policies: &[TimeoutPolicy],
    source: &Source<'_>,
    rules: &ValidRuleset,
) -> Vec<Diagnostic> {
    let rules = rules.rules();
    let all = rules.tables.iter().flat_map(|table| &table.chains);
    let mut found = Vec::new();
    for rule in all.flat_map(|chain| &chain.rules) {
        let Target::Extension(Extension::Ct(ct)) = &rule.target else { continue };
        if ct.notrack || ct.timeout.is_empty() {
            continue;
        }
        let name = &ct.timeout;
        let (message, hint) = match policies.iter().find(|policy| policy.name() == name) {
            None => (
                format!("timeout policy {name} doesn't exist"),
                "give it in gateway.toml: `[[timeout]]` with name, l3, l4 and states",
            ),
            Some(policy) if !policy.is_for(rules.family, rule.header.protocol.value) => (
                format!("timeout policy {name} is for another protocol"),
                "a policy is of one family and one protocol, which the rule must name by `-p`",
            ),
            Some(_) => continue,
        };
        found.push(source.refused(rule.position.line, message, Some(hint.to_owned())));
    }
    found
}

#[cfg(test)]
mod tests {
    use stateward_wire::Family;

    use super::*;
    use crate::restore::{RestoreOptions, restore};

    /// What is said of a rule of raw, where a policy `short` of TCP over IPv4 is.
    fn faults(rule: &str, family: Family) -> Vec<String> {
        let text = format!("*raw\n-A PREROUTING {rule}\nCOMMIT\n");
        let source = Source::new("rules", &text);
        let rules = restore(&source, family, RestoreOptions::default()).unwrap();
        let policies = [TimeoutPolicy::new("short", Family::V4, 6)];
        let found = refused(&policies, &source, &rules);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_is_there_and_of_the_rule_s_protocol() {
        assert!(faults("-p tcp -j CT --timeout short", Family::V4).is_empty());
        assert!(faults("-p udp -j CT --notrack --timeout long", Family::V4).is_empty());
        let [missing] = &faults("-p tcp -j CT --timeout long", Family::V4)[..] else { panic!() };
        assert!(missing.contains("timeout policy long doesn't exist"), "{missing}");
        for (rule, family) in [("-p udp", Family::V4), ("-p tcp", Family::V6)] {
            let [other] = &faults(&format!("{rule} -j CT --timeout short"), family)[..] else {
                panic!("{rule}")
            };
            assert!(other.contains("is for another protocol") && other.contains("rules:2"));
        }
    }
}
