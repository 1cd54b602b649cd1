//! Linux's packet walk as a sans-IO library: hooks in priority order, defragmentation, routing, verdicts.
