use proptest::prelude::*;

use super::*;
use crate::tuple::Key;

fn entries(count: usize) -> Vec<Entry> {
    let key = Key { version: 4, ..Key::default() };
    vec![Entry { hint: UNLISTED, ..Entry::new(key, key) }; count]
}

/// Drains the wheel at `now` and gives the slots in order.
fn drain(wheel: &mut Wheel, entries: &mut [Entry], now: u64) -> Vec<u32> {
    let mut out = Vec::new();
    while let Some(slot) = wheel.pop(entries, Instant(now)) {
        wheel.remove(entries, slot);
        // As the table does: a hint of the entry that was must not be taken for one of the next.
        entries[slot as usize].generation += 1;
        out.push(slot);
    }
    out
}

#[derive(Clone, Debug)]
enum Step {
    /// Gives a slot a deadline this far ahead, inserting it if it is in no list.
    Set {
        slot: u32,
        ahead: u64,
    },
    Remove {
        slot: u32,
    },
    Wait {
        nanos: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![
        0u64..1_000_000,
        0u64..1_000_000_000,
        0u64..100_000_000_000,
        0u64..1_000_000_000_000_000,
        0u64..200_000_000_000_000_000,
    ];
    prop_oneof![
        4 => (0u32..16, time.clone()).prop_map(|(slot, ahead)| Step::Set { slot, ahead }),
        1 => (0u32..16).prop_map(|slot| Step::Remove { slot }),
        2 => time.prop_map(|nanos| Step::Wait { nanos }),
    ]
}

/// Tells the wheel of a deadline that has changed.
fn moved(wheel: &mut Wheel, slots: &mut [Entry], slot: u32) {
    if wheel.is_sooner(&slots[slot as usize]) {
        wheel.sooner(slots, slot);
    }
}

proptest! {
    /// Against the plainest model: a map from slot to deadline.
    #[test]
    fn every_deadline_fires_when_it_is_reached_and_not_before(
        start in prop_oneof![Just(0u64), Just(1_795_208_293_000_000_000u64)],
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut wheel = Wheel::new();
        let mut slots = entries(16);
        let mut model = std::collections::BTreeMap::new();
        let mut now = start;
        for step in steps {
            match step {
                Step::Set { slot, ahead } => {
                    slots[slot as usize].deadline = now + ahead;
                    if model.insert(slot, now + ahead).is_some() {
                        moved(&mut wheel, &mut slots, slot);
                    } else {
                        wheel.insert(&mut slots, slot, Instant(now));
                    }
                }
                Step::Remove { slot } => {
                    if model.remove(&slot).is_some() {
                        wheel.remove(&mut slots, slot);
                        slots[slot as usize].generation += 1;
                    }
                }
                Step::Wait { nanos } => now += nanos,
            }
            let mut expected: Vec<_> = model.iter().filter(|(_, d)| **d <= now).collect();
            expected.sort_by_key(|(slot, deadline)| (**deadline, **slot));
            let expected: Vec<u32> = expected.into_iter().map(|(slot, _)| *slot).collect();
            if let Some(first) = expected.first() {
                prop_assert!(wheel.is_due(Instant(now)), "slot {first} is due");
            }
            let fired = drain(&mut wheel, &mut slots, now);
            for slot in &fired {
                model.remove(slot);
            }
            let mut sorted = (fired.clone(), expected);
            sorted.0.sort_unstable();
            sorted.1.sort_unstable();
            prop_assert_eq!(sorted.0, sorted.1);
        }
        let far = now + 400_000_000_000_000_000;
        prop_assert_eq!(drain(&mut wheel, &mut slots, far).len(), model.len());
    }
}

#[test]
fn a_refreshed_entry_costs_no_memory_in_the_heap() {
    let mut wheel = Wheel::new();
    let mut slots = entries(1);
    slots[0].deadline = 1;
    wheel.insert(&mut slots, 0, Instant(0));
    for packet in 0..10_000u64 {
        slots[0].deadline = 120_000_000_000 + packet;
        moved(&mut wheel, &mut slots, 0);
    }
    assert_eq!(wheel.due.len(), 1);
}

#[test]
fn what_expires_together_comes_in_the_order_of_deadlines() {
    let mut wheel = Wheel::new();
    let mut slots = entries(4);
    for (slot, deadline) in [(0, 4_000), (1, 1_000), (2, 3_000), (3, 2_000)] {
        slots[slot].deadline = deadline;
        wheel.insert(&mut slots, slot as u32, Instant(0));
    }
    assert_eq!(drain(&mut wheel, &mut slots, 10_000), [1, 3, 2, 0]);
}
