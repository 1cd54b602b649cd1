use super::*;

fn v4(port: u16, last: u8) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, last], port))
}

#[test]
fn crc32c_of_the_standard_text_is_the_standard_value() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_right_header_and_segment_sum_to_zero() {
    let packet = Packet::tcp(v4(1, 10), v4(2, 20), TCP_SYN, 7, 0).payload(b"odd");
    let bytes = packet.bytes();
    assert_eq!(internet_checksum(bytes.get(..20).unwrap()), 0);
    let pseudo = [bytes.get(12..20).unwrap(), &[0, 6, 0, 23], bytes.get(20..).unwrap()].concat();
    assert_eq!(internet_checksum(&pseudo), 0);
}

#[test]
fn a_wrong_checksum_differs_and_is_not_zero() {
    for port in 0..=u16::MAX {
        let mut packet = Packet::udp(v4(port, 10), v4(2, 20), b"");
        let right = packet.bytes();
        if let Transport::Udp(udp) = &mut packet.transport {
            udp.checksum = Checksum::Wrong;
        }
        let wrong = packet.bytes();
        assert_ne!(right.get(26..28), wrong.get(26..28), "port {port}");
        assert_ne!(wrong.get(26..28), Some(&[0, 0][..]), "port {port}");
    }
}

#[test]
fn extension_headers_are_chained_and_padded() {
    let from = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 1));
    let mut packet = Packet::udp(from, from, b"x");
    packet.extensions = vec![(0, vec![0, 5, 2, 0, 0]), (60, vec![0])];
    let bytes = packet.bytes();
    assert_eq!(bytes.get(6), Some(&0));
    assert_eq!(bytes.get(40..42), Some(&[60, 0][..]));
    assert_eq!(bytes.get(48..50), Some(&[17, 0][..]));
    assert_eq!(bytes.len(), 40 + 8 + 8 + 9);
}

#[test]
fn fragments_put_together_are_the_packet() {
    let packet = Packet::udp(v4(1, 10), v4(2, 20), &[7; 1000]).bytes();
    let parts = fragments(&packet, 400, 0);
    assert_eq!(parts.len(), 3);
    let body: Vec<u8> = parts.iter().flat_map(|part| part.get(20..).unwrap().to_vec()).collect();
    assert_eq!(Some(&body[..]), packet.get(20..));
    assert!(parts.iter().all(|part| internet_checksum(part.get(..20).unwrap()) == 0));
}
