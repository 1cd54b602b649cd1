//! All target extensions: one file each, one line each here. How to add one stands in the crate's essay.

pub mod log;
pub mod mark;
pub mod reject;

crate::extension::extensions! {
    /// A target extension with its options.
    Extension at crate::evaluate::Acting {
        /// `-j LOG`
        Log(log::Log),
        /// `-j MARK`
        Mark(mark::Mark),
        /// `-j REJECT`
        Reject(reject::Reject),
    }
}
