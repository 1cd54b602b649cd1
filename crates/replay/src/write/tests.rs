//! What is written is read back, by us and by tshark, and nothing is half written.

use std::fs;
use std::process::Command;

use super::*;
use crate::capture::Capture;
use crate::craft::{Seen, ipv4, ipv6};

fn record<'a>(
    interface: WrittenInterface,
    time: u64,
    bytes: &'a [u8],
    comment: &'a str,
) -> Record<'a> {
    let original_length = bytes.len() as u32;
    Record { interface, time, direction: None, bytes, original_length, comment }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn write(path: &Path) -> Writer {
    let mut writer = Writer::create(path.to_str().unwrap()).unwrap();
    let lan = writer.interface("lan0").unwrap();
    writer.packet(&record(lan, u64::MAX / 2, &ipv4(1), "NEW forward")).unwrap();
    let wan = writer.interface("wan0").unwrap();
    let six = ipv6(2);
    let cut = Record {
        original_length: 1_500,
        direction: Some(Direction::Out),
        ..record(wan, 1_700_000_000_123_456_789, &six[..51], "")
    };
    writer.packet(&cut).unwrap();
    writer.packet(&record(lan, 1, &ipv4(3), "")).unwrap();
    writer
}

#[test]
fn what_is_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng");
    write(&path).finish().unwrap();
    let mut capture = Capture::open(path.to_str().unwrap()).unwrap();
    let mut seen: Vec<Seen> = Vec::new();
    let mut directions = Vec::new();
    while capture.advance().unwrap() {
        seen.push(capture.packet().into());
        directions.push(capture.packet().direction);
    }
    let expected = |number, time, interface, bytes: &[u8], original, cut| Seen {
        number,
        time,
        interface,
        bytes: bytes.to_vec(),
        original,
        cut,
    };
    assert_eq!(
        seen,
        [
            expected(1, u64::MAX / 2, 0, &ipv4(1), 32, false),
            expected(2, 1_700_000_000_123_456_789, 1, &ipv6(2)[..51], 1_500, true),
            expected(3, 1, 0, &ipv4(3), 32, false),
        ]
    );
    assert_eq!(directions, [None, Some(Direction::Out), None]);
    let names: Vec<_> = capture.interfaces().iter().map(|known| known.name.clone()).collect();
    assert_eq!(names, [Some("lan0".into()), Some("wan0".into())]);
}

#[test]
fn the_file_appears_when_it_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng");
    fs::write(&path, "before").unwrap();
    let writer = write(&path);
    assert_eq!(fs::read(&path).unwrap(), b"before");
    writer.finish().unwrap();
    assert_ne!(fs::read(&path).unwrap(), b"before");
    assert_eq!(names(directory.path()), ["out.pcapng"]);
}

#[test]
fn an_abandoned_file_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    drop(write(&directory.path().join("out.pcapng")));
    assert!(names(directory.path()).is_empty());
}

#[test]
fn two_writers_of_one_file_do_not_meet() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng");
    let (first, second) = (write(&path), write(&path));
    first.finish().unwrap();
    second.finish().unwrap();
    assert_eq!(names(directory.path()), ["out.pcapng"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_devices_are_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link"));
    fs::write(&target, "before").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write(&link).finish().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(fs::read(&target).unwrap(), b"before");
    let null = directory.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &null).unwrap();
    write(&null).finish().unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[cfg(unix)]
#[test]
fn who_could_not_read_a_file_cannot_read_what_takes_its_place() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng");
    fs::write(&path, "before").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write(&path).finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn where_nothing_can_be_made_there_is_an_error() {
    assert!(Writer::create("/nonexistent/out.pcapng").is_err());
    assert!(Writer::create("/").is_err());
    let directory = tempfile::tempdir().unwrap();
    assert!(Writer::create(directory.path().to_str().unwrap()).is_err());
    assert!(names(directory.path()).is_empty());
}

#[test]
fn long_comments_are_cut_between_characters() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng");
    let mut writer = Writer::create(path.to_str().unwrap()).unwrap();
    let lan = writer.interface("lan0").unwrap();
    let comment = "ä".repeat(40_000);
    writer.packet(&record(lan, 1, &ipv4(1), &comment)).unwrap();
    writer.packet(&record(lan, 2, &ipv4(2), "after")).unwrap();
    writer.finish().unwrap();
    let mut capture = Capture::open(path.to_str().unwrap()).unwrap();
    assert!(capture.advance().unwrap());
    assert!(capture.advance().unwrap());
    assert!(!capture.advance().unwrap());
}

#[test]
fn tshark_shows_comments_interfaces_and_directions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.pcapng");
    write(&path).finish().unwrap();
    let fields = [
        "frame.comment",
        "frame.interface_name",
        "frame.time_epoch",
        "frame.len",
        "frame.packet_flags",
    ];
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(&path).args(["-T", "fields"]);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let Ok(output) = tshark.output() else {
        crate::craft::skip_without("tshark");
        return;
    };
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        shown,
        "NEW forward\tlan0\t9223372036.854775807\t32\t\n\
         \twan0\t1700000000.123456789\t1500\t0x00000002\n\
         \tlan0\t0.000000001\t32\t\n"
    );
}
