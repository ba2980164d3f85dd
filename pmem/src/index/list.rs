//! The list: a lock-free linked list in the order of reversed hashes (Harris, DISC 2001; Michael, SPAA 2002; split-ordered
//! buckets: Shalev and Shavit, J. ACM 2006) whose links are durable before anything that was read through them is used
//! (link-and-persist: David et al., ATC 2018).
//!
//! A change of a link sets DIRTY. Whoever meets a dirty link flushes it, fences, and takes DIRTY away before it goes on or
//! changes it (rule I3). So a link's value is durable before it has another one, and after a crash each link holds its
//! last durable value or the one after that.

use super::{
    Index,
    link::Link,
    node::{Node, Target},
    tables::Passed,
};
use crate::{
    heap::HeapError,
    mem::{Mem, Rule, Site, WORD},
};
use std::cmp::Ordering;

/// Where something stands in the list, or would.
#[derive(Debug)]
pub(super) struct Position {
    /// Offset of the link that leads there.
    pub(super) from: u64,
    /// That link as it was: durable, and of a holder that was not removed.
    pub(super) link: Link,
    pub(super) found: Option<Found>,
}

/// What stands there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    /// A node that was not removed. For [`Target::Name`] the one with that name, for [`Target::Behind`] the first behind.
    Node(Node),
    /// The bucket.
    Bucket(u64),
}

impl<M: Mem> Index<'_, M> {
    /// Finds a target in the list behind the bucket at `start`, and takes out removed nodes on the way. No fence where
    /// nobody else is changing the list.
    pub(super) fn find(&self, start: u64, target: &Target<'_>) -> Result<Position, HeapError> {
        loop {
            if let Some(position) = self.try_find(start, target)? {
                return Ok(position);
            }
        }
    }

    /// `None` if another thread's change makes it necessary to begin again.
    fn try_find(&self, start: u64, target: &Target<'_>) -> Result<Option<Position>, HeapError> {
        let tables = self.tables();
        let mut from = start;
        let mut link = self.bucket_link(start)?;
        let mut passed = Passed::default();
        loop {
            let at = link.offset();
            if link.is_nil() {
                return Ok(Some(Position { from, link, found: None }));
            }
            if link.leads_to_bucket() {
                let order = tables.order_of(at)?;
                passed.bucket(at, order)?;
                let found = match target {
                    Target::Bucket(sought) if order == *sought => Some(Found::Bucket(at)),
                    _ => None,
                };
                let is_behind = order > target.order() && !matches!(target, Target::Behind(_));
                if found.is_some() || is_behind {
                    return Ok(Some(Position { from, link, found }));
                }
                link = self.bucket_link(at)?;
                from = at;
                continue;
            }
            let node = tables.node(at)?;
            let onward = self.durable_link(at)?;
            if onward.is_marked() {
                match self.unlink(from, link, onward)? {
                    Some(changed) => link = changed,
                    None => return Ok(None),
                }
                if self.mem().broken(Rule::I1WinnerRetires) {
                    self.release_as_helper(&node)?;
                }
                continue;
            }
            passed.node(tables, &node)?;
            match node.compare(self.mem(), tables.seed, target)? {
                Ordering::Less => (from, link) = (at, onward),
                Ordering::Equal => return Ok(Some(Position { from, link, found: Some(Found::Node(node)) })),
                Ordering::Greater => {
                    let found = matches!(target, Target::Behind(_)).then_some(Found::Node(node));
                    return Ok(Some(Position { from, link, found }));
                }
            }
        }
    }

    /// The link of a bucket in the list, durable.
    #[inline]
    fn bucket_link(&self, at: u64) -> Result<Link, HeapError> {
        match self.durable_link(at)? {
            link if link.is_marked() => Err(HeapError::Corrupt { offset: at }),
            link => Ok(link),
        }
    }

    /// The link at an offset, made durable if it may not be. A marked one is not: that its holder is removed becomes durable
    /// when it is unlinked.
    #[inline]
    pub(super) fn durable_link(&self, at: u64) -> Result<Link, HeapError> {
        loop {
            let link = self.tables().link(at)?;
            if link.is_marked() || !link.is_dirty(self.run()) || self.mem().broken(Rule::I3FlushDirtyLinks) {
                return Ok(link);
            }
            self.help(at, link)?;
        }
    }

    /// Makes another thread's change durable.
    #[cold]
    fn help(&self, at: u64, link: Link) -> Result<(), HeapError> {
        let mem = self.mem();
        mem.flush(Site::HelpFlush, at, WORD);
        mem.fence(Site::HelpFence);
        mem.health()?;
        let _ = mem.compare_exchange(at, link.word(), link.clean().word());
        Ok(())
    }

    /// Changes a link and makes that durable. `None` if it is not what it was. One fence.
    pub(super) fn swing(
        &self,
        (flush, fence): (Site, Site),
        at: u64,
        link: Link,
        to: Link,
    ) -> Result<Option<Link>, HeapError> {
        let mem = self.mem();
        let changed = link.retarget(to).dirty(self.run());
        if mem.compare_exchange(at, link.word(), changed.word()).is_err() {
            return Ok(None);
        }
        self.settle((flush, fence), at, changed)?;
        Ok(Some(changed.clean()))
    }

    /// Makes this thread's change of a link durable.
    pub(super) fn settle(&self, (flush, fence): (Site, Site), at: u64, link: Link) -> Result<(), HeapError> {
        let mem = self.mem();
        mem.flush(flush, at, WORD);
        mem.fence(fence);
        mem.health()?;
        // Whoever was faster has made it durable as well.
        let _ = mem.compare_exchange(at, link.word(), link.clean().word());
        Ok(())
    }

    /// Takes a removed node out: `link` leads to it and `onward` from it. `None` if `link` is not what it was.
    pub(super) fn unlink(&self, from: u64, link: Link, onward: Link) -> Result<Option<Link>, HeapError> {
        if self.mem().broken(Rule::I4DurableUnlink) {
            let changed = link.retarget(onward);
            let done = self.mem().compare_exchange(from, link.word(), changed.word()).is_ok();
            return Ok(done.then_some(changed));
        }
        self.swing((Site::UnlinkFlush, Site::UnlinkFence), from, link, onward)
    }
}
