//! Reading a damaged list.
//!
//! Neither the root nor segments and slots have checksums; elements in blocks of their own have. So what a damaged root, directory or
//! slot leads to can pass for the list, and short elements for others: whoever reports what was read has to say so.

use super::shape::Shape;
use crate::{
    heap::View,
    mem::{Mem as _, WORD},
    types::salvage::{Counts, Salvage},
};
use std::collections::HashSet;

/// Gives `each` all elements that can be read, in order.
///
/// # Errors
/// Those of `each`.
pub(crate) fn salvage<V: View, E>(
    view: &V,
    root: u64,
    salvage: &mut Salvage<'_>,
    each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Counts, E> {
    let shape = match Shape::load(view, root) {
        Ok(shape) => shape,
        Err(error) => {
            salvage.failed(&error, root, "the root");
            return Ok(Counts::default());
        }
    };
    let len = shape.len();
    if len > view.heap().mem().len() / WORD {
        salvage.damaged(root, format_args!("{len} elements have no room in the region"));
        return Ok(Counts::default());
    }
    let mut counts = Counts { saved: 0, expected: Some(len) };
    let mut segments = HashSet::new();
    let mut index = 0;
    while index < len {
        let position = shape.head.wrapping_add(index);
        let count = shape.next_segment(position).wrapping_sub(position).min(len - index);
        let at = match shape.segment(view, position) {
            Ok(segment) if segments.insert(segment) => Ok(segment),
            Ok(segment) => Err((segment, "two segments stand in one place".to_owned())),
            Err(error) => Err((shape.directory, error.to_string())),
        };
        if let Err((at, why)) = at {
            salvage.damaged(at, format_args!("elements {index} to {}: {why}", index + count - 1));
            index += count;
            continue;
        }
        for index in index..index + count {
            let read = shape.slot_at(view, index).map_err(Into::into).and_then(|slot| slot.read(view));
            if !salvage.allow(root, WORD + read.as_ref().map_or(0, |element| element.len() as u64)) {
                return Ok(counts);
            }
            match read {
                Ok(element) => {
                    each(&element)?;
                    counts.saved += 1;
                }
                Err(error) => salvage.failed(&error, root, &format!("element {index}")),
            }
        }
        index += count;
    }
    Ok(counts)
}
