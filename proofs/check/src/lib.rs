//! What a WebAssembly module asks of its surroundings, read off the module itself.
//!
//! `wasm32-unknown-unknown` has no operating system. What code for it needs from outside is either
//! an import, or std's stand-in that fails when it is called ("time not implemented on this
//! platform"): a module with a clock in it can be free of imports. So both are looked for: imports
//! of any kind, and functions of std's other than the few that panic and allocate. Whatever asks
//! for the time, for randomness, a file, a socket or a thread is among the rest, by whatever name a
//! release of Rust gives it.
//!
//! Functions are known by the name section. So the module must be neither stripped nor optimised:
//! inlined, a stand-in leaves nothing to see. [`Report::has_function`] lets a caller demand that
//! what is proved about is there at all.

use wasmparser::{KnownCustom, Name, Parser, Payload};

/// The parts of std that may be there: panicking and allocating end in the module itself.
const HARMLESS: [&str; 4] =
    ["std::panicking::", "std::panic::", "std::alloc::", "std::sys::backtrace::"];

/// What was found in a module.
#[derive(Debug, Default)]
pub struct Report {
    /// Everything that asks the surroundings, as one line each.
    pub findings: Vec<String>,
    /// The names of all functions.
    pub functions: Vec<String>,
    /// The names of the exported functions.
    pub exports: Vec<String>,
}

impl Report {
    /// Whether some function's name has this part.
    pub fn has_function(&self, part: &str) -> bool {
        self.functions.iter().any(|name| name.contains(part))
    }
}

/// Reads a module.
///
/// # Errors
/// When it is none.
pub fn inspect(module: &[u8]) -> Result<Report, wasmparser::BinaryReaderError> {
    let mut report = Report::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    let (from, name) = (import.module, import.name);
                    report.findings.push(format!("imports {from}.{name}"));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == wasmparser::ExternalKind::Func {
                        report.exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    for name in names {
                        if let Name::Function(functions) = name? {
                            for function in functions {
                                report.look_at_name(function?.name);
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(report)
}

impl Report {
    fn look_at_name(&mut self, mangled: &str) {
        let name = format!("{:#}", rustc_demangle::demangle(mangled));
        if paths_of_std(&name).any(|path| !HARMLESS.iter().any(|part| path.starts_with(part))) {
            self.findings.push(format!("holds {name}"));
        }
        self.functions.push(name);
    }
}

/// What follows each mention of std in a name.
fn paths_of_std(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices("std::").filter_map(|(at, _)| {
        let (before, path) = name.split_at(at);
        let within_a_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        (!within_a_word).then_some(path)
    })
}
