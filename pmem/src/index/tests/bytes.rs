//! Damaged bytes: right answers or typed errors.

use super::*;
use std::collections::BTreeSet;

/// The lines of the index: its tables, its chunks' descriptors and bitmaps, and its chunks.
fn index_bytes(heap: &Heap<Sim>) -> Vec<u64> {
    let layout = heap.layout();
    let geometry = layout.geometry();
    let mut words = BTreeSet::new();
    let mut add = |start: u64, bytes: u64| words.extend((start..start + bytes).step_by(8));
    for lane in 0..geometry.lanes {
        add(layout.lane(lane), 192);
    }
    add(layout.directory, 64 + u64::from(geometry.directory_pages) * 8);
    let mut chunks = BTreeSet::new();
    heap.index()
        .visit(&mut |node| {
            chunks.insert(layout.chunk_of(node.node).unwrap());
        })
        .unwrap();
    for page in 0..geometry.directory_pages {
        chunks.extend(heap.index().tables().chunk_in(heap.index().tables().page_word(page)).unwrap());
    }
    for chunk in chunks {
        add(layout.descriptor(chunk), layout.descriptor_stride);
        add(layout.chunk(chunk), geometry.chunk_bytes.into());
    }
    words.into_iter().collect()
}

/// Opens and uses a region in which one word was changed. Whatever is found must be right.
fn survives(words: &[u64], at: u64, value: u64) -> Result<(), String> {
    let sim = Sim::with_words(&crate::sim::SimConfig::default(), words.to_vec());
    sim.store(at, value);
    sim.set_loads_max(2_000_000);
    let Ok(heap) = Heap::open(sim, [0; 16]) else { return Ok(()) };
    let _ = heap.index().check();
    for i in 0..20 {
        match heap.index().get(TYPE, format!("{i}").as_bytes()) {
            Ok(found) if found.is_some() == (i % 3 != 0) => {
                if let Some(entry) = found
                    && heap.reader(0).word(entry.root) != i
                {
                    // Roots are their types' to check.
                    let flipped = (at..at + 8).contains(&entry.root);
                    if !flipped {
                        return Err(format!("{i} has the wrong root"));
                    }
                }
            }
            // A root that says that the object is deleted is no single flipped bit away from any other.
            Ok(found) => return Err(format!("{i}: {found:?}")),
            Err(IndexError::Heap(HeapError::Corrupt { .. })) => {}
            Err(error) => return Err(format!("{i}: {error}")),
        }
    }
    let _ = heap.index().scan(&Cursor::default(), b"", 100);
    for name in ["new", "other", "1", "2"] {
        let _ = create(&heap, name);
        let _ = remove(&heap, name);
    }
    Ok(())
}

fn sample() -> Heap<Sim> {
    let heap = testing::heap();
    for i in 0..20 {
        let entry = create(&heap, &format!("{i}")).unwrap();
        heap.atomically(0, |tx| tx.write(entry.root, i)).unwrap();
    }
    for i in (0..20).step_by(3) {
        remove(&heap, &format!("{i}")).unwrap();
    }
    testing::reopen(&heap)
}

#[test]
fn any_flipped_bit_gives_what_is_right_or_a_typed_error() {
    let heap = sample();
    let durable = heap.mem().durable_words();
    for at in index_bytes(&heap) {
        let old = heap.mem().load(at);
        // Most words are zeros, and alike.
        let step = if cfg!(miri) {
            61
        } else if old == 0 {
            13
        } else {
            1
        };
        for bit in (0..64).step_by(step) {
            survives(&durable, at, old ^ 1 << bit)
                .unwrap_or_else(|wrong| panic!("bit {bit} of the word at {at:#x}, {old:#x}: {wrong}"));
        }
    }
}

/// Words from elsewhere in the index: whole links and chunk numbers in wrong places.
#[test]
fn any_word_in_a_wrong_place_ends_in_an_answer() {
    let heap = sample();
    let durable = heap.mem().durable_words();
    let words = index_bytes(&heap);
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..if cfg!(miri) { 10 } else { 4000 } {
        let (at, from) = (words[rng.usize(..words.len())], words[rng.usize(..words.len())]);
        let value =
            if rng.u32(..4) == 0 { link::seal(rng.u64(..1 << 20) & !0xf) } else { heap.mem().load(from) };
        // What is found may be wrong, but it must end, and not panic.
        let _ = survives(&durable, at, value);
    }
}
