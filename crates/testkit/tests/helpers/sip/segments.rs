//! SIP by TCP: several messages in a segment, and messages that are not whole.

use super::*;

const TCP: &str = "-p tcp --dport 5060 -j CT --helper sip";

/// What is said by UDP, as it is said by TCP.
fn by_tcp(ends: &Ends, message: &str, changes: Changes) -> Vec<u8> {
    let text = String::from_utf8(ends.write(message, changes)).unwrap();
    text.replace("/UDP", "/TCP").into_bytes()
}

/// The client's segments, and what they are.
fn segments(ends: &Ends) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let [invite, bye] = [INVITE, BYE].map(|message| by_tcp(ends, message, &[]));
    let changed = |changes| by_tcp(ends, INVITE, changes);
    let video = changed(&[("m=audio 6000", "m=video 6002")]);
    let (head, tail) = invite.split_at(100);
    let nearly = &video[..video.len() - 9];
    let (head, tail) = (head.to_vec(), tail.to_vec());
    let longer = changed(&[("Content-Length: %L", "Content-Length: 500")]);
    let none = changed(&[("Content-Length: %L\n", "")]);
    let empty = changed(&[("Content-Length: %L", "l\t:\n 0")]);
    let options = changed(&[("INVITE sip", "OPTIONS sip"), ("a=rtpmap:0 PCMU/8000\n", "")]);
    let by_udp = ends.write(INVITE, &[("%C:5060;branch", "%C:6060;branch")]);
    let unread = changed(&[("CSeq: 1", "CSeq: x")]);
    vec![
        ("one", vec![invite.clone()]),
        ("two at once", vec![[&*invite, &video].concat()]),
        ("two, then three", vec![[&*invite, &video].concat(), [&*invite, &bye, &video].concat()]),
        ("in two pieces", vec![head.clone(), tail.clone()]),
        ("one and a half", vec![[&*invite, &head].concat(), tail]),
        ("one and nearly another", vec![[&*invite, nearly].concat(), b"RTP\r\n".to_vec()]),
        ("one and a little", vec![[&*invite, b"INV"].concat()]),
        ("one that is unread behind", vec![[&*invite, &unread].concat(), invite.clone()]),
        ("blank lines before", vec![b"\r\n\r\n".to_vec(), [b"\r\n\r\n", &*invite].concat()]),
        ("another one before", vec![[&*options, &invite].concat()]),
        ("longer than it is", vec![longer.clone(), [&*longer, &invite].concat()]),
        (
            "of no length",
            vec![none.clone(), [&*none, &invite].concat(), [&*invite, &none].concat()],
        ),
        ("shorter than it is", vec![empty.clone(), [&*empty, &invite].concat()]),
        ("by UDP as it says", vec![by_udp]),
        ("a greeting", vec![b"hello".to_vec(), b"hello, hello, hello".to_vec()]),
    ]
}

#[test]
fn segments_are_understood_as_the_kernel_understands_them() {
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let plain = (Ends::plain(family), rules(TCP));
        let nat = KNOWN.map(|known| (Ends::translated(family, known), source_nat(TCP, known)));
        let [long, short] = nat;
        for (ends, rules) in [plain, long, short] {
            for (name, said) in segments(&ends) {
                let mut talk = Talk::between(ends.real, ends.known);
                for segment in &said {
                    let at = talk.next[0];
                    talk.segment(Side::Client, TCP_ACK | TCP_PSH, segment);
                    talk.segment_at(Side::Client, at, TCP_ACK | TCP_PSH, segment);
                    talk.segment(Side::Server, TCP_ACK, b"");
                }
                talk.steps.extend(ends.media());
                let answer = by_tcp(&ends, OK, &[]);
                talk.segment(Side::Server, TCP_ACK | TCP_PSH, &answer);
                talk.steps.extend(ends.media());
                talk.segment(Side::Client, TCP_ACK | TCP_PSH, &by_tcp(&ends, BYE, &[]));
                talk.segment(Side::Server, TCP_ACK, b"");
                let name = format!("{family:?} {:?} {name}", ends.known[0]);
                failures += &hold_under(&mut judge, rules.clone(), talk.steps, &name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_telephone_that_registers_by_tcp_is_called_by_tcp() {
    const FORMS: [Changes; 3] =
        [&[], &[("5060>\nE", "5060;transport=tcp>\nE")], &[("5060>\nE", "5060;transport=UDP>\nE")]];
    let Some(mut judge) = judge() else { return };
    let mut failures = String::new();
    for family in BOTH {
        let plain = (Ends::plain(family), rules(TCP));
        let nat = (Ends::translated(family, KNOWN[0]), source_nat(TCP, KNOWN[0]));
        for (ends, rules) in [plain, nat] {
            for changes in FORMS {
                let mut talk = Talk::between(ends.real, ends.known);
                let say = |talk: &mut Talk, side, text, changes| {
                    let message = by_tcp(&ends, text, changes);
                    talk.segment(side, TCP_ACK | TCP_PSH, &message);
                };
                say(&mut talk, Side::Client, REGISTER, changes);
                say(&mut talk, Side::Server, REGISTERED, &[]);
                for port in [5070, 5071] {
                    let server = SocketAddr::new(ends.real[1].ip(), port);
                    let call = syn(server, SocketAddr::new(ends.known[0].ip(), PORT));
                    talk.steps.push(Step::new(Port::Wan, call.bytes(), 1));
                }
                let name = format!("{family:?} {changes:?}");
                failures += &hold_under(&mut judge, rules.clone(), talk.steps, &name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
