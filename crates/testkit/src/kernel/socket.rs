//! A netlink socket in the calling thread's network namespace.
//!
//! Two uses: asking and listening. A listener is drained without
//! waiting; if the kernel had to drop anything for lack of room the drain fails, because a judge
//! that silently misses a message is worse than none.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::attribute::{Message, Messages, Request};

/// Longest datagram the kernel sends: a dump's 32 KiB, or a logged packet of 64 KiB with its
/// headers.
const BUFFER: usize = 128 * 1024;
/// Room for what one step can cause; checked by ENOBUFS.
const RECEIVE_ROOM: usize = 64 * 1024 * 1024;
const PATIENCE_SECONDS: i64 = 10;

const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
pub(super) const FLAG_REQUEST: u16 = 0x1;
pub(super) const FLAG_ACK: u16 = 0x4;
pub(super) const FLAG_DUMP: u16 = 0x300;
const FLAG_DUMP_INTERRUPTED: u16 = 0x10;

/// A NETLINK_NETFILTER socket.
pub(super) struct Netlink {
    descriptor: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket that listens to `groups`, a mask of multicast groups 1 to 32.
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        let descriptor = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        setsockopt(&descriptor, sockopt::RcvBufForce, &RECEIVE_ROOM)?;
        setsockopt(&descriptor, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
        bind(descriptor.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { descriptor, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends a request and waits for its acknowledgement.
    pub(super) fn request(&mut self, request: &Request) -> io::Result<()> {
        self.ask(request, |_| {})
    }

    /// Sends a request and hands every message of the answer to `each`, up to the acknowledgement
    /// or, of a dump, the end. Messages that are no answer are dropped.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        let sequence = self.send(request)?;
        loop {
            let length = self.receive(MsgFlags::empty())?.ok_or(io::ErrorKind::TimedOut)?;
            for message in Messages(self.buffer.get(..length).unwrap_or_default()) {
                if message.sequence != sequence {
                    continue;
                }
                if message.flags & FLAG_DUMP_INTERRUPTED != 0 {
                    return Err(io::Error::other("the table changed under its dump"));
                }
                match message.kind {
                    MESSAGE_DONE => return Ok(()),
                    MESSAGE_ERROR => return refused(&message),
                    _ => each(&message),
                }
            }
        }
    }

    /// Hands every message that has arrived to `each`, in order, without waiting.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        while let Some(length) = self.receive(MsgFlags::MSG_DONTWAIT)? {
            Messages(self.buffer.get(..length).unwrap_or_default()).for_each(|m| each(&m));
        }
        Ok(())
    }

    fn send(&mut self, request: &Request) -> io::Result<u32> {
        self.sequence += 1;
        let bytes = request.bytes(self.sequence);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.descriptor.as_raw_fd(), &bytes, &kernel, MsgFlags::empty())?;
        Ok(self.sequence)
    }

    /// The length of the next datagram, none if there is none (in time).
    fn receive(&mut self, flags: MsgFlags) -> io::Result<Option<usize>> {
        let flags = flags | MsgFlags::MSG_TRUNC;
        match recv(self.descriptor.as_raw_fd(), &mut self.buffer, flags) {
            Ok(length) if length > self.buffer.len() => {
                Err(io::Error::other(format!("a netlink datagram of {length} bytes was cut")))
            }
            Ok(length) => Ok(Some(length)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::ENOBUFS) => {
                Err(io::Error::other("the kernel dropped netlink messages: receive buffer full"))
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

fn refused(message: &Message<'_>) -> io::Result<()> {
    match message.errno() {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other("a netlink error message without an errno")),
    }
}
