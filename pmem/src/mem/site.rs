//! Names for everything that the crash checks break on purpose: each flush and each fence by its place in the code, and
//! each rule of the protocols.
//!
//! A [`Site`] goes with each call of [`Mem::flush`](super::Mem::flush), [`order`](super::Mem::order) and
//! [`fence`](super::Mem::fence). Real memory ignores it. Simulated memory can be told to leave one out; a check
//! that then finds nothing wrong is not a check.

/// Declares an enum with the list of all its values and a name for each.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $value:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $value,)* }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [$name] = &[$($name::$value,)*];

            /// The name as it stands in the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$value => stringify!($value),)* }
            }
        }
    };
}

named! {
    /// The place of a flush or a fence.
    Site {
        /// Formatting: all tables of a new region.
        FormatFlush,
        /// Formatting: before the superblock's magic.
        FormatFence,
        /// A state slot's line.
        StateFlush,
        /// After a state slot.
        StateFence,
        /// The lines of a redo record.
        RecordFlush,
        /// New contents of blocks that the batch's records name.
        ContentFlush,
        /// New contents that are too large for a checksum in the record, before the record is written.
        LargeContentFlush,
        /// After large contents, before the record.
        LargeContentOrder,
        /// The fence that commits a batch.
        CommitFence,
        /// Words applied in place.
        ApplyFlush,
        /// Words that another thread applied and did not fence.
        HandOverFlush,
        /// Before a region is said to be closed in order.
        SettleFence,
        /// A name's intent: before anything is changed for it.
        IntentFlush,
        /// A new node, before it is linked.
        NodeFlush,
        /// What the last user of a lane flushed and did not fence.
        LaneHandOverFlush,
        /// The first fence of an insertion or a removal: its intent, its node, the bit that the lane cleared last.
        IntentFence,
        /// The bit of a new node, set before it is linked.
        BitSetFlush,
        /// The link to a new node.
        LinkFlush,
        /// The second fence of an insertion: its name is there for good.
        LinkFence,
        /// The link around a removed node.
        UnlinkFlush,
        /// The second fence of a removal: its name is gone for good.
        UnlinkFence,
        /// The bit of a node that was taken out.
        BitClearFlush,
        /// A link of another thread that may not be durable.
        HelpFlush,
        /// After another thread's link.
        HelpFence,
        /// A lane's claim of a chunk.
        ClaimFlush,
        /// After a lane's claim, before the chunk is touched.
        ClaimOrder,
        /// The descriptor of a chunk that a lane took.
        ChunkFlush,
        /// After the descriptor: the chunk is the lane's, whatever happens.
        ChunkOrder,
        /// The zeros of a new page of the index's directory.
        PageZeroFlush,
        /// After a page's zeros, before its descriptor.
        PageZeroOrder,
        /// The directory's word of a new page.
        PageFlush,
        /// After the word of a page, before its claim is over.
        PageOrder,
        /// A bucket before it is linked.
        BucketFlush,
        /// After a bucket, before the link to it.
        BucketOrder,
        /// The link to a bucket.
        BucketLinkFlush,
        /// After the link to a bucket, before walks begin there.
        BucketLinkFence,
        /// A bucket at which walks may begin. Left out, some are longer after a restart.
        BucketReadyFlush,
        /// The number of buckets. Left out, walks are longer after a restart.
        SizeFlush,
        /// Recovery: what it changes in a lane.
        LaneRecoverFlush,
        /// Recovery: between two changes for one claim.
        LaneRecoverOrder,
        /// Recovery: after all lanes, before the first new operation.
        LaneRecoverFence,
        /// Recovery: words replayed in place.
        ReplayFlush,
        /// Recovery: after the replay, before the watermark.
        ReplayFence,
        /// Recovery: the watermark.
        WatermarkFlush,
        /// Recovery: after the watermark, before the first new batch.
        WatermarkFence,
    }
}

named! {
    /// A rule whose breach loses or corrupts something. R1 to R8 are of the redo ring, I1 to I6 of the name index.
    Rule {
        /// R1: a record is valid only by its own checksum.
        R1RecordChecksum,
        /// R2: new contents that a record of the last batch names are checked before it is replayed.
        R2ContentChecksum,
        /// R2: contents that a record's checksum covers hold immutable fields only.
        R2ImmutableOnly,
        /// R2: the batch that puts contents does not change them.
        R2ChangeInBatch,
        /// R3: the records of a batch are numbered, and replay stops at the first hole.
        R3StopAtHole,
        /// R4: nothing is applied in place before the fence.
        R4ApplyAfterFence,
        /// R5: not more than the last two batches are replayed.
        R5ReplayTwoOnly,
        /// R5: not fewer than the last two batches are replayed.
        R5ReplayBoth,
        /// R5: the ring holds at least three batches.
        R5ThreeSlots,
        /// R6: a block that batch b frees is used again from batch b + 2 on.
        R6ReuseDelay,
        /// R6: a block is not used again inside of the batch that frees it.
        R6ReuseInBatch,
        /// R7: a batch without records takes no number.
        R7EmptyBatch,
        /// R8: recovery persists a watermark with a new run before new batches.
        R8NewRun,
        /// R8: records at or below the watermark are not replayed.
        R8Watermark,
        /// I1: only the thread that won the mark retires the node.
        I1WinnerRetires,
        /// I2: the bit is set after the intent is durable.
        I2BitAfterIntent,
        /// I2: the bit is set before the node is linked.
        I2BitBeforeLink,
        /// I3: a link that may not be durable is made so before anything that was read through it is used.
        I3FlushDirtyLinks,
        /// I4: an unlink is durable before the block is used again.
        I4DurableUnlink,
        /// I5: a lane keeps its last two intents.
        I5TwoIntents,
        /// I6: a node's block is used again only when no shard's recovery can still write into its root.
        I6ReuseAfterReplay,
    }
}
