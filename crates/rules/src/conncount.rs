//! Connections counted by a key: what `-m connlimit` remembers.
//!
//! For each key (an address under a mask, and the zone) a list holds the connections that were seen
//! with it, by their original tuples. A packet of a connection that is not ASSURED adds it; before
//! that, connections of the list that have left the table or are closed are thrown out, a few at a
//! time and at most once in a tick of the clock. An ASSURED connection is not added to a list that
//! is there, but begins one that is not; if it has closed, and nothing else is in the list, the
//! count is 0, which ends the packet: so ends the last packet of an address' last connection, where
//! a rule asks for more than those that begin one (`--syn`).
//!
//! Memory: a list grows with the packets that begin connections, and each of them looks through it
//! first; lists that nobody asks for any more are looked through when others begin, a few at a
//! time.
//!
//! Kernel counterpart: `net/netfilter/nf_conncount.c`.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::ops::Bound;

use stateward_conntrack::{Life, Status, Tuple, Zone};

use crate::context::View;
use crate::shared::ticks;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) address: IpAddr,
    zone: u16,
}

/// All lists of one rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    lists: BTreeMap<Key, List>,
    /// Where the next look through lists begins.
    next: Option<Key>,
}

#[derive(Clone, Debug, Default)]
struct List {
    tuples: Vec<Tuple>,
    /// The tick of the last look through it, and how many it held then.
    looked: Option<(u64, usize)>,
}

/// Once more than this were thrown out, the rest of a list waits for the next time.
const AT_ONCE: usize = 64;
/// The kernel looks for lists to forget among those in the same of as many slots.
const SLOTS: usize = 256;
/// How many lists are looked through when another one begins.
const LISTS_AT_ONCE: usize = 8;

/// How the packet's own connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// Not ASSURED, or none.
    Open,
    /// ASSURED: it was counted when it began.
    Assured,
}

impl Counts {
    /// How many connections there are with the packet's, by an address; `None` if the packet has no
    /// tuple.
    pub(crate) fn count(&mut self, address: IpAddr, view: &View<'_>) -> Option<usize> {
        // A packet that the tracker did not take may have the tuple of a connection all the same.
        let (tuple, status) = match view.context.connection() {
            Some(connection) => (connection.original, connection.status),
            None => {
                let tuple = Tuple::of(&view.packet, Zone::DEFAULT)?;
                let standing = view.context.standing(&tuple);
                (tuple, standing.map_or(Status::default(), |standing| standing.status))
            }
        };
        let own = if status.has(Status::ASSURED) { Own::Assured } else { Own::Open };
        let key = Key { address, zone: tuple.zone().0 };
        let now = ticks(view.context.now());
        if let Some(list) = self.lists.get_mut(&key) {
            list.add(tuple, own, now, view);
            return Some(list.tuples.len());
        }
        if self.lists.len() >= SLOTS {
            self.clean(now, view);
        }
        let list = List { tuples: vec![tuple], looked: Some((now, 1)) };
        self.lists.insert(key, list);
        Some(1)
    }

    /// Looks through some lists, each in its turn, and forgets those that are empty.
    fn clean(&mut self, now: u64, view: &View<'_>) {
        let from = self.next.map_or(Bound::Unbounded, Bound::Included);
        let keys = self.lists.range((from, Bound::Unbounded)).map(|(key, _)| *key);
        let mut keys = keys.take(LISTS_AT_ONCE + 1);
        let mut turn = [None; LISTS_AT_ONCE];
        turn.iter_mut().for_each(|place| *place = keys.next());
        self.next = keys.next();
        drop(keys);
        for key in turn.into_iter().flatten() {
            if let Some(list) = self.lists.get_mut(&key) {
                list.look_through(None, now, view);
                if list.tuples.is_empty() {
                    self.lists.remove(&key);
                }
            }
        }
    }
}

impl List {
    fn add(&mut self, tuple: Tuple, own: Own, now: u64, view: &View<'_>) {
        let looked_now = self.looked.filter(|(tick, _)| *tick == now);
        if own == Own::Assured {
            if looked_now.is_none() {
                self.look_through(None, now, view);
            }
            return;
        }
        let is_fresh = |(_, count): (u64, usize)| self.tuples.len() < count + AT_ONCE;
        if !looked_now.is_some_and(is_fresh) && self.look_through(Some(&tuple), now, view) {
            return;
        }
        self.tuples.push(tuple);
    }

    /// Throws out what is gone or closed; ends at `own`, if that is there.
    fn look_through(&mut self, own: Option<&Tuple>, now: u64, view: &View<'_>) -> bool {
        let (mut thrown, mut found) = (0, false);
        self.tuples.retain(|tuple| {
            if found || thrown > AT_ONCE {
                return true;
            }
            let standing = view.context.standing(tuple);
            if standing.is_some() && own == Some(tuple) {
                found = true;
                return true;
            }
            let stays = standing.is_some_and(|standing| standing.life == Life::Open);
            thrown += usize::from(!stays);
            stays
        });
        self.looked = Some((now, self.tuples.len()));
        found
    }
}

#[cfg(test)]
mod tests {
    use stateward_conntrack::{CtState, Life, Standing, Status};

    use crate::evaluate::tests::{Alone, Sharing};

    const ABOVE_1: &str = "-m connlimit --connlimit-above 1 --connlimit-mask 24 -j DROP";

    /// A packet that the tracker takes for none of its connections, from a port to another.
    fn packet(port: u16, tick: u64, life: Option<Life>) -> Alone {
        let mut packet = Alone::udp(port).at_millis(tick * 4);
        packet.set_state(CtState::Untracked);
        packet.set_standing(life.map(|life| Standing { status: Status::default(), life }));
        packet
    }

    #[test]
    fn what_is_open_counts() {
        let mut sharing = Sharing::new(&[ABOVE_1]);
        assert!(!sharing.is_dropped(packet(1, 10, Some(Life::Open))));
        // The same once more is not another one.
        assert!(!sharing.is_dropped(packet(1, 11, Some(Life::Open))));
        assert!(sharing.is_dropped(packet(2, 12, Some(Life::Open))));
    }

    #[test]
    fn what_is_closed_or_gone_does_not_count_from_the_next_tick_on() {
        for life in [Some(Life::Closed), None] {
            let mut sharing = Sharing::new(&[ABOVE_1]);
            assert!(!sharing.is_dropped(packet(1, 10, life)));
            assert!(sharing.is_dropped(packet(2, 10, life)), "not looked through in its own tick");
            assert!(!sharing.is_dropped(packet(3, 11, life)));
        }
    }

    #[test]
    fn a_closed_connection_alone_ends_its_packet() {
        let mut sharing = Sharing::new(&["-m connlimit --connlimit-above 100 -j ACCEPT"]);
        assert!(!sharing.is_dropped(packet(1, 10, Some(Life::Open))));
        let mut last = packet(1, 11, None);
        let status = Status::ASSURED;
        last.set_standing(Some(Standing { status, life: Life::Closed }));
        assert!(sharing.is_dropped(last));
    }
}
