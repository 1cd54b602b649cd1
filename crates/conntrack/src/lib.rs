//! Linux's connection tracking as a sans-IO library: tuples, table, protocol state machines, timeouts, events.
