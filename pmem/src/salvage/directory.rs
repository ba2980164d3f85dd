//! Copying a directory: its names, and the values of their bundles one by one.

use super::{
    SalvageError,
    report::{Outcome, SavedBundles},
    values::Copy,
};
use crate::{
    heap::{HeapError, View},
    types::{
        Bundle, Directory, NAME_MAX, directory,
        salvage::{Counts, Salvage},
    },
};
use std::cell::RefCell;

impl<V: View> Copy<'_, V> {
    /// Copies a directory. Gives how many bundles are there, in whole or in part, and what became of them.
    pub(super) fn directory(
        &mut self,
        salvage: &mut Salvage<'_>,
        is_verified: &mut bool,
    ) -> Result<(Counts, SavedBundles), SalvageError> {
        // The names are read to their end first, for what the values say of damage goes to the same place.
        let names: RefCell<Vec<(Vec<u8>, Result<Bundle, HeapError>)>> = RefCell::default();
        let Ok(counts) = directory::salvage::<_, std::convert::Infallible>(
            self.view,
            self.root,
            salvage,
            &mut |name, bundle| {
                names.borrow_mut().push((name.to_vec(), bundle));
                Ok(())
            },
        );
        let mut saved = SavedBundles::default();
        for (name, bundle) in names.into_inner() {
            let bundle = bundle.ok().filter(|_| (1..=NAME_MAX).contains(&name.len()));
            match bundle {
                Some(bundle) => self.bundle(&name, bundle, salvage, is_verified, &mut saved)?,
                None => {
                    let text = format!("the bundle of {:?} is damaged", String::from_utf8_lossy(&name));
                    salvage.damaged(self.root, text);
                    saved.lost += 1;
                }
            }
        }
        if counts == (Counts { saved: 0, expected: Some(0) }) && salvage.damage_count == 0 {
            self.leave_empty(
                |tx, root| Directory::at(root).create(tx, b"-", 1).map(drop),
                |tx, root| Directory::at(root).remove(tx, b"-").map(drop),
            )?;
        }
        // What is there in part counts as there; that something is missing of it, the damage tells.
        Ok((Counts { saved: saved.whole + saved.partial, ..counts }, saved))
    }

    /// Copies a bundle, unless one of its name was copied already: a damaged list may have a name twice.
    fn bundle(
        &mut self,
        name: &[u8],
        bundle: Bundle,
        salvage: &mut Salvage<'_>,
        is_verified: &mut bool,
        saved: &mut SavedBundles,
    ) -> Result<(), SalvageError> {
        if !salvage.allow(bundle.at(), u64::from(bundle.count()) * 64) {
            saved.lost += 1;
            return Ok(());
        }
        let directory = Directory::at(self.new_root()?);
        let mut new = None;
        self.target.run(self.shard, |tx| {
            new = directory.create(tx, name, bundle.count())?;
            Ok::<_, crate::types::TypeError>(())
        })?;
        let Some(new) = new else { return Ok(()) };
        let mut damaged = 0;
        for (old, new) in bundle.fields().zip(new.fields()) {
            let before = salvage.damage_count;
            let mut field = Copy { root: old, new_root: Some(new), ..*self };
            let counts = field.value(salvage, is_verified)?;
            damaged += u64::from(Outcome::of(counts, salvage.damage_count - before) != Outcome::Whole);
        }
        saved.values_damaged += damaged;
        *(if damaged == 0 { &mut saved.whole } else { &mut saved.partial }) += 1;
        Ok(())
    }
}
