//! Copying a directory: its names, and the values of their bundles one by one.

use super::{
    SalvageError,
    report::{Outcome, SavedBundles},
    values::Copy,
};
use crate::{
    heap::View,
    types::{
        Bundle, Directory, NAME_MAX, directory,
        salvage::{Counts, Salvage},
    },
};

impl<V: View> Copy<'_, V> {
    /// Copies a directory. Gives how many bundles are there, in whole or in part, and what became of them.
    pub(super) fn directory(
        &mut self,
        salvage: &mut Salvage<'_>,
        is_verified: &mut bool,
    ) -> Result<(Counts, SavedBundles), SalvageError> {
        let (counts, names) = directory::salvage(self.view, self.root, salvage);
        let mut saved = SavedBundles::default();
        for (name, bundle) in names {
            let bundle = bundle.filter(|_| (1..=NAME_MAX).contains(&name.len()));
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
