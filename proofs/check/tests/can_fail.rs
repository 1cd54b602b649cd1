//! The checker finds what it is there to find, each in a module made for it.

use std::path::Path;
use std::process::Command;

use check::{Report, inspect};

/// The report on a module with this source.
fn report(name: &str, source: &str) -> Report {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (input, output) =
        (directory.join(format!("{name}.rs")), directory.join(format!("{name}.wasm")));
    std::fs::write(&input, source).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let made = Command::new(rustc)
        .args(["--edition=2024", "--target=wasm32-unknown-unknown", "--crate-type=cdylib"])
        .arg("-o")
        .args([&output, &input])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    inspect(&std::fs::read(output).unwrap()).unwrap()
}

fn findings(name: &str, expression: &str) -> Vec<String> {
    let source =
        format!("#[unsafe(no_mangle)] pub extern \"C\" fn probe() -> u64 {{ {expression} }}");
    report(name, &source).findings
}

fn assert_found(name: &str, expression: &str, what: &str) {
    let found = findings(name, expression);
    assert!(found.iter().any(|line| line.contains(what)), "{name}: {found:?}");
}

#[test]
fn a_module_that_computes_passes() {
    let source = "#[unsafe(no_mangle)] pub extern \"C\" fn probe(n: u64) -> u64 {
        let all: std::collections::BTreeMap<u64, String> = (0..n).map(|n| (n, format!(\"{n}\"))).collect();
        all.values().map(|text| text.len() as u64).sum::<u64>() / (n - 1)
    }";
    let report = report("computes", source);
    assert_eq!(report.findings, Vec::<String>::new());
    assert_eq!(report.exports, ["probe"]);
    assert!(report.has_function("probe"));
}

#[test]
fn the_time_is_found() {
    let instant = "std::time::Instant::now().elapsed().as_secs()";
    assert_found("instant", instant, "std::time::Instant>::now");
    let since = "std::time::SystemTime::now().elapsed().map_or(0, |since| since.as_secs())";
    assert_found("system", since, "std::time::SystemTime>::now");
}

#[test]
fn randomness_is_found() {
    let map = "std::collections::HashMap::from([(1u64, 2u64)])[&1]";
    assert_found("random", map, "std::hash::random::RandomState");
}

#[test]
fn files_sockets_and_threads_are_found() {
    assert_found("file", "std::fs::read(\"x\").map_or(0, |x| x.len() as u64)", "std::fs::read");
    assert_found("open", "std::fs::File::open(\"x\").is_ok() as u64", "std::fs::File");
    let tcp = "std::net::TcpStream::connect(\"[::1]:1\").is_ok() as u64";
    assert_found("tcp", tcp, "std::net::tcp::TcpStream");
    let udp = "std::net::UdpSocket::bind(\"[::1]:1\").is_ok() as u64";
    assert_found("udp", udp, "std::net::udp::UdpSocket");
    let spawn = "std::thread::spawn(|| 1u64).join().unwrap_or(0)";
    assert_found("spawn", spawn, "std::thread::functions::spawn");
    let sleep = "std::thread::sleep(std::time::Duration::from_secs(1)); 0";
    assert_found("sleep", sleep, "std::thread::functions::sleep");
    assert_found("variable", "std::env::var(\"x\").is_ok() as u64", "std::env::");
}

#[test]
fn an_import_is_found() {
    let source =
        "#[link(wasm_import_module = \"env\")] unsafe extern \"C\" { safe fn now() -> u64; }
        #[unsafe(no_mangle)] pub extern \"C\" fn probe() -> u64 { now() }";
    assert_eq!(report("import", source).findings, ["imports env.now"]);
}
