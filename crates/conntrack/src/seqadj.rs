//! Sequence numbers that moved, because something in TCP's payload has become longer or shorter.
//!
//! Behind NAT a helper edits addresses in the payload, and their text rarely keeps its length. From
//! there on all numbers of that direction are off by the difference. Of each direction the last
//! place is remembered at which that happened, with the offset before and after it, so that what
//! was sent before and is sent again gets the offset that it had. What the other side acknowledges
//! goes the other way round, and window tracking, which sees packets before all this, subtracts it
//! as well. Kernel counterpart: `nf_conntrack_seqadj.c`.

/// What is added to the sequence numbers of a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SeqAdjust {
    /// The segment with this number is the last one with the offset before.
    pub position: u32,
    /// What is added up to there.
    pub before: i32,
    /// What is added behind it.
    pub after: i32,
}

impl SeqAdjust {
    /// What is added to a number.
    pub const fn offset(&self, number: u32) -> i32 {
        if (self.position.wrapping_sub(number) as i32) < 0 { self.after } else { self.before }
    }

    /// What is to be subtracted from an acknowledgement of numbers that were added to.
    pub const fn acknowledged(&self, number: u32) -> i32 {
        self.offset(number.wrapping_sub(self.before as u32))
    }

    /// The payload of the segment with this number has become longer by so much. Of one that is
    /// older than the last that did, or is it again, nothing is noted.
    pub fn note(&mut self, number: u32, longer: i32) {
        let newer = (self.position.wrapping_sub(number) as i32) < 0;
        if self.before == self.after || newer {
            self.position = number;
            self.before = self.after;
            self.after = self.after.wrapping_add(longer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_place_moves_on_from_what_came_before() {
        let mut adjust = SeqAdjust::default();
        adjust.note(u32::MAX - 10, 4);
        assert_eq!([u32::MAX - 10, u32::MAX - 9, 5].map(|at| adjust.offset(at)), [0, 4, 4]);
        adjust.note(u32::MAX - 10, 4);
        assert_eq!(adjust.offset(5), 4, "sent again");
        adjust.note(100, -6);
        assert_eq!([5, 100, 101].map(|at| adjust.offset(at)), [4, 4, -2]);
        adjust.note(50, 9);
        assert_eq!(adjust.offset(101), -2, "what is older is known already");
        // 104 is acknowledged of what was 100 here, 105 of what was 101 and is 99.
        assert_eq!([104, 105].map(|at| adjust.acknowledged(at)), [4, -2]);
    }
}
