//! Sockets of this machine, as its processes would have them.
//!
//! A TCP socket that has another end stands as if the handshake had been made: `TCP_REPAIR` connects
//! without a packet. It goes as quietly when it is closed. Who has opened a socket the kernel reads
//! off the thread's file system ids, so that only these change for a moment.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, connect, listen,
    sendto, setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

/// What a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// TCP: it listens unless it is connected.
    Tcp,
    /// UDP.
    Udp,
}

/// A socket to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its protocol.
    pub carries: Carries,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end, if it is connected.
    pub remote: Option<SocketAddr>,
    /// `IP_TRANSPARENT`.
    pub transparent: bool,
    /// `SO_MARK`.
    pub mark: u32,
    /// The user and the group of the process that opens it.
    pub owner: (u32, u32),
}

impl Opened {
    /// One of root's, with nothing special about it.
    pub fn at(carries: Carries, local: SocketAddr) -> Self {
        Self { carries, local, remote: None, transparent: false, mark: 0, owner: (0, 0) }
    }

    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let (user, group) = self.owner;
        let before = (setfsuid(Uid::from_raw(user)), setfsgid(Gid::from_raw(group)));
        let opened = self.made();
        setfsuid(before.0);
        setfsgid(before.1);
        let opened = opened?;
        if self.transparent {
            setsockopt(&opened, sockopt::IpTransparent, &true)?;
        }
        // Others may stand on the same port at another address.
        setsockopt(&opened, sockopt::ReusePort, &true)?;
        setsockopt(&opened, sockopt::Mark, &self.mark)?;
        let connected = self.remote.is_some();
        if connected && self.carries == Carries::Tcp {
            setsockopt(&opened, sockopt::TcpRepair, &1)?;
        }
        bind(opened.as_raw_fd(), &SockaddrStorage::from(self.local))?;
        match (self.remote, self.carries) {
            (Some(remote), _) => connect(opened.as_raw_fd(), &SockaddrStorage::from(remote))?,
            (None, Carries::Tcp) => listen(&opened, Backlog::new(1)?)?,
            (None, Carries::Udp) => {}
        }
        Ok(opened)
    }

    fn made(&self) -> io::Result<OwnedFd> {
        let family = match self.local.ip() {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        let kind = match self.carries {
            Carries::Tcp => SockType::Stream,
            Carries::Udp => SockType::Datagram,
        };
        Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?)
    }
}

/// Sends a datagram.
pub(super) fn send(from: &OwnedFd, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
    let to = SockaddrStorage::from(to);
    Ok(sendto(from.as_raw_fd(), payload, &to, MsgFlags::MSG_DONTWAIT).map(drop)?)
}
