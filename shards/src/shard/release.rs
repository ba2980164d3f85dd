//! Calls that leave a queue together, too many for one block.
//!
//! The block that lets them go moves the queue's tree as a whole to a bundle of its own, with what they are to be answered:
//! at that moment they have left. Then the shard answers them part by part, each part a block, before it looks at any other
//! event. A crash between two parts loses nothing: a shard that opens finishes what it finds.

use super::{Context, names::OWN_FIELDS, object::WaiterId, records::RELEASE_PREFIX};
use crate::state::{Answers, Cell, Fields, Tree, damaged, refuse};
use abide_net::CallError;
use abide_pmem::types::{Bundle, SortedMap};

/// Fields of a release: what the next is answered, and who is left. They stand where an object's own would, so that the
/// numbers are those of fields of a bundle.
const FIELDS: u32 = 2;
const _: () = assert!(FIELDS <= OWN_FIELDS);

fn fields(bundle: Bundle) -> Fields {
    Fields::at(bundle.root(0), FIELDS)
}

/// Moves a queue's calls to a release.
pub(super) fn begin(context: &mut Context<'_, '_>, queue: Tree, answers: &Answers) -> Result<(), CallError> {
    let (first, _) = queue.first(context)?.ok_or_else(|| damaged("a queue of calls"))?;
    let name = [RELEASE_PREFIX, &first].concat();
    let directory = context.directory;
    let made = directory.create(context.block_mut(), &name, FIELDS).map_err(refuse)?;
    let fields = fields(made.ok_or_else(|| damaged("a release of calls"))?);
    let left = SortedMap::at(fields.root(1));
    queue.map().move_to(context.block_mut(), left).map_err(refuse)?;
    Cell::at(fields, 0).set(context, Some(answers))?;
    let releases = context.books.releases;
    releases.insert(context.block_mut(), &name, &[]).map(drop).map_err(refuse)
}

/// Answers a part of the first release. Says whether there was one.
pub(super) fn go_on(context: &mut Context<'_, '_>) -> Result<bool, CallError> {
    let (books, directory) = (context.books, context.directory);
    let Some((name, _)) = books.releases.first(context.block()).map_err(refuse)? else { return Ok(false) };
    let found = directory.find(context.block(), &name).map_err(refuse)?;
    let fields = fields(found.ok_or_else(|| damaged("a release of calls"))?);
    let (head, left) = (Cell::<Answers>::at(fields, 0), Tree::at(fields, 1));
    let mut answers = head.get(context)?.ok_or_else(|| damaged("a release of calls"))?;
    for _ in 0..answers.part() {
        let Some((id, _)) = left.pop_first(context)? else { break };
        let id = WaiterId::from_key(&id)?;
        let answer = answers.next();
        // One that ended otherwise, because its record could not be read, is answered already.
        if context.waits(id) {
            context.wake_encoded(id, answer)?;
        }
    }
    if left.is_empty(context)? {
        directory.remove(context.block_mut(), &name).map_err(refuse)?;
        books.releases.remove(context.block_mut(), &name).map_err(refuse)?;
    } else {
        head.set(context, Some(&answers))?;
    }
    Ok(true)
}
