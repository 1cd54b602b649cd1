//! Memory of the table: its own, or lent by the caller.
//!
//! Whoever embeds the tracker may want it in huge pages, shared memory or a pre-faulted arena; the
//! tracker cannot map any of that without `unsafe`, so it takes zeroed bytes that live for ever.

use core::ops::{Deref, DerefMut};

use zerocopy::{FromBytes, FromZeros, IntoBytes, KnownLayout};

/// A fixed number of `T`, zero at first.
pub(crate) enum Region<T: 'static> {
    Owned(Box<[T]>),
    Lent(&'static mut [T]),
}

impl<T: FromBytes + IntoBytes + KnownLayout + 'static> Region<T> {
    /// Memory from the allocator. What is aligned to a cache line, entries and index, the standard
    /// library zeroes by hand, so that all of it is resident at once; of an [`Arena`] over mapped
    /// pages, and of the rest, only what is used.
    pub(crate) fn zeroed(length: usize) -> Region<T> {
        match <[T]>::new_box_zeroed_with_elems(length) {
            Ok(slice) => Region::Owned(slice),
            Err(_) => std::alloc::handle_alloc_error(std::alloc::Layout::new::<T>()),
        }
    }

    /// `length` zeroed elements taken from `arena` if it has the room and the alignment, else from
    /// the allocator.
    pub(crate) fn within(arena: &mut Arena, length: usize) -> Region<T> {
        match arena.take(length) {
            Some(slice) => Region::Lent(slice),
            None => Region::zeroed(length),
        }
    }
}

impl<T> Deref for Region<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Region::Owned(slice) => slice,
            Region::Lent(slice) => slice,
        }
    }
}

impl<T> DerefMut for Region<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Region::Owned(slice) => slice,
            Region::Lent(slice) => slice,
        }
    }
}

/// Bytes that the caller lends to a table for ever: zeroed, and best aligned to a page.
///
/// `Table::bytes_for` says how many are needed; with fewer, the table takes the rest from the
/// allocator.
pub struct Arena {
    left: &'static mut [u8],
}

impl Arena {
    /// Lends `bytes`, which must be zero.
    pub fn new(bytes: &'static mut [u8]) -> Arena {
        Arena { left: bytes }
    }

    /// No memory: the table takes all of its own.
    pub fn none() -> Arena {
        Arena { left: &mut [] }
    }

    fn take<T: FromBytes + IntoBytes + KnownLayout>(
        &mut self,
        length: usize,
    ) -> Option<&'static mut [T]> {
        let left = core::mem::take(&mut self.left);
        let skip = left.as_ptr().align_offset(align_of::<T>());
        let size = length.checked_mul(size_of::<T>())?;
        if skip.checked_add(size)? > left.len() {
            self.left = left;
            return None;
        }
        let (_, aligned) = left.split_at_mut(skip);
        let (mine, rest) = aligned.split_at_mut(size);
        self.left = rest;
        <[T]>::mut_from_bytes(mine).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_is_used_up_before_the_allocator_is_asked() {
        let bytes = Box::leak(vec![0u8; 100].into_boxed_slice());
        let mut arena = Arena::new(bytes);
        assert!(matches!(Region::<u32>::within(&mut arena, 10), Region::Lent(_)));
        assert!(matches!(Region::<u32>::within(&mut arena, 10), Region::Lent(_)));
        assert!(matches!(Region::<u32>::within(&mut arena, 10), Region::Owned(_)));
        assert_eq!(Region::<u32>::within(&mut arena, 10).len(), 10);
    }
}
