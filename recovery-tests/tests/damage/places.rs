//! What stands where in a region, by `pmem/FORMAT.md`, and what damage there cannot be noticed.
//!
//! Nearly everything carries a check, of its own or of what it is part of. What does not:
//!
//! ```text
//! what                                       damage                     what may be read wrongly
//! positions of a command ring                any                        that ring's commands
//! a list's root, directory and slots         any                        that list (its elements in blocks are checked)
//! entries of a byte array's table            zeros                      that array: an extent of zeros is one
//! links of a map, and of the name index      zeros, or another link     that map, or whether a name is found
//! lines of completion tables                 zeros                      that table: it is a line that is free
//! the last batch, if it is in its ring       any                        what that batch changed: it is taken for one that
//! or its log alone                                                      was never committed (if the ones before it are
//!                                                                       damaged too, so are they)
//! bitmaps and descriptors                    any                        after a write: it may take what is in use;
//!                                                                       but `check` finds it
//! ```
//! A damaged link is found by a check of its own, so it takes a whole other one to be followed.

use crate::sample::{BEFORE_LAST, Image, LAST, NAMES, SHARDS, Variant};
use abide_pmem::{Heap, Mem, types::visit_root};
use std::{collections::HashSet, ops::Range};

/// What an area of the region holds.
#[derive(Debug, Clone)]
struct Area {
    start: u64,
    end: u64,
    label: String,
}

/// Which damage of an area goes unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blind {
    /// Any.
    Any,
    /// One that leaves zeros.
    Zeros,
    /// One that leaves zeros, or a word that stood elsewhere.
    Moved,
    /// Any, but what is read is right until something is written.
    AfterWrite,
}

/// An area that is not fully checked.
#[derive(Debug, Clone)]
struct Weak {
    at: Range<u64>,
    blind: Blind,
    why: &'static str,
    /// How the names of the items begin, or end, that may be wrong.
    items: Vec<String>,
    /// Goes unnoticed only if this is damaged too.
    also: Option<Range<u64>>,
}

/// A word of a file that is not what it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// In the region, or [`LOG`] and more in its log.
    pub(crate) at: u64,
    pub(crate) after: u64,
}

/// Added to places in the log, to tell them from those in the region.
pub(crate) const LOG: u64 = 1 << 40;

/// All areas of a region.
#[derive(Debug)]
pub(crate) struct Places {
    areas: Vec<Area>,
    weak: Vec<Weak>,
    words: HashSet<u64>,
    zones: u64,
    descriptors_end: u64,
}

fn word(bytes: &[u8], at: u64) -> u64 {
    u64::from_le_bytes(bytes[at as usize..][..8].try_into().expect("a word"))
}

/// The words that differ between two images.
pub(crate) fn changes(before: &Image, after: &Image) -> Vec<Change> {
    let differ = |before: &[u8], after: &[u8], base: u64| -> Vec<Change> {
        (0..before.len().min(after.len()) as u64 / 8 * 8)
            .step_by(8)
            .filter(|&at| word(before, at) != word(after, at))
            .map(|at| Change { at: base + at, after: word(after, at) })
            .collect()
    };
    let mut changes = differ(&before.region, &after.region, 0);
    if let (Some(before), Some(after)) = (&before.log, &after.log) {
        changes.extend(differ(before, after, LOG));
    }
    changes
}

impl Places {
    /// Learns them from a region without damage, and its files.
    pub(crate) fn new<M: Mem>(heap: &Heap<M>, image: &Image, variant: Variant) -> Self {
        let geometry = *heap.layout().geometry();
        let mut places = Self {
            areas: Vec::new(),
            weak: Vec::new(),
            words: image.region.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect(),
            zones: 0,
            descriptors_end: 0,
        };
        places.add(0, 0x1000, "superblock".into());
        places.add(0x1000, 64, "state 0".into());
        places.add(0x1040, 64, "state 1".into());
        places.add(0x2000, 0x1000, "superblock copy".into());
        let mut at = 0x3000;
        let shards = u64::from(geometry.shards);
        let headers = places.table(&mut at, "shard", shards, 512);
        places.table(&mut at, "lane", geometry.lanes.into(), 192);
        let slot_bytes = u64::from(geometry.ring_slot_bytes);
        let rings = places.table(&mut at, "ring slot", shards * 4, slot_bytes);
        let completions = places.table(&mut at, "completion", shards * u64::from(geometry.completions), 64);
        places.table(&mut at, "commands", shards, geometry.command_ring_bytes);
        let directory_bytes = 64 + u64::from(geometry.directory_pages) * 8;
        let directory = places.table(&mut at, "directory", 1, directory_bytes);
        let chunk_bytes = u64::from(geometry.chunk_bytes);
        let zones = at.next_multiple_of(chunk_bytes.max(4096));
        let stride = 64 + (chunk_bytes / 64 / 8).next_multiple_of(64);
        let chunks = u64::from(geometry.zone_chunks);
        for chunk in 0..chunks {
            places.add(zones + chunk * stride, 64, format!("descriptor {chunk}"));
            places.add(zones + chunk * stride + 64, stride - 64, format!("bitmap {chunk}"));
        }
        places.zones = zones;
        places.descriptors_end = zones + chunks * stride;
        let any = || vec![String::new()];
        places.weaken(zones..places.descriptors_end, Blind::AfterWrite, "what is allocated", any());
        for shard in 0..shards {
            let header = headers + shard * 512;
            let items = vec![format!("commands {shard}")];
            places.weaken(header + 0x88..header + 0x98, Blind::Any, "positions of commands", items);
            // Highest chunk, garbage, lists of chunks: what is allocated, too.
            places.weaken(header + 0x80..header + 0x88, Blind::AfterWrite, "what is allocated", any());
            places.weaken(header + 0x98..header + 0x200, Blind::AfterWrite, "what is allocated", any());
            let lines = completions + shard * u64::from(geometry.completions) * 64;
            let items = vec![format!("clients {shard}"), "client ".into()];
            let table = lines..lines + u64::from(geometry.completions) * 64;
            places.weaken(table, Blind::Zeros, "a completion that is gone", items);
        }
        let names = || vec!["names".to_owned(), ": found".to_owned()];
        places.weaken(directory..directory + directory_bytes, Blind::Moved, "links of the index", names());
        heap.index()
            .visit(&mut |node| {
                places.add(node.node, node.bytes, format!("node {}", String::from_utf8_lossy(&node.name)));
                places.weaken(node.node..node.node + 8, Blind::Moved, "links of the index", names());
            })
            .expect("an index without damage");
        for (name, kind, shard) in NAMES {
            let entry = heap.index().get(kind as u16, name.as_bytes()).expect("an index").expect("a name");
            visit_root(&heap.reader(shard), entry.root, &mut |owned| {
                places.add(owned.offset, owned.bytes, format!("block {name}"));
                if name == "ages" {
                    let at = owned.offset..owned.offset + owned.bytes;
                    places.weaken(at, Blind::Moved, "links of a map", vec!["ages: ".into()]);
                }
            })
            .expect("a value without damage");
            places.add_root(heap.mem(), name, entry.root);
        }
        if variant.is_cut() {
            for shard in 0..SHARDS {
                places.add_last_batch(
                    &image.region,
                    shard,
                    rings + u64::from(shard) * 4 * slot_bytes,
                    slot_bytes,
                );
            }
        }
        if let (Variant::LogDropped, Some(log)) = (variant, &image.log) {
            places.add_last_frames(log);
        }
        places
    }

    fn add(&mut self, start: u64, bytes: u64, label: String) {
        self.areas.push(Area { start, end: start + bytes, label });
    }

    fn table(&mut self, at: &mut u64, name: &str, count: u64, each: u64) -> u64 {
        let start = *at;
        for i in 0..count {
            self.add(start + i * each, each, format!("{name} {i}"));
        }
        *at = (start + count * each).next_multiple_of(64);
        start
    }

    fn weaken(&mut self, at: Range<u64>, blind: Blind, why: &'static str, items: Vec<String>) {
        self.weak.push(Weak { at, blind, why, items, also: None });
    }

    /// The words of a root, and below it, that change in place.
    fn add_root(&mut self, mem: &impl Mem, name: &str, root: u64) {
        let items = || vec![format!("{name}: ")];
        let word = |at: u64| mem.load(at);
        match name {
            "queue" => {
                let (directory, capacity) = (word(root + 24), word(root + 32));
                let why = "positions, links and slots of a list";
                self.weaken(root + 8..root + 40, Blind::Any, why, items());
                self.weaken(directory..directory + (5 + capacity) * 8, Blind::Any, why, items());
                for i in 0..capacity {
                    let segment = word(directory + (5 + i) * 8);
                    if segment != 0 {
                        self.weaken(segment..segment + 64, Blind::Any, why, items());
                    }
                }
            }
            "ages" => self.weaken(root + 16..root + 32, Blind::Moved, "links of a map", items()),
            "long" => {
                let body = word(root + 24) & 0x0000_ffff_ffff_fff8;
                let entries = word(body + 32) & 0xffff_ffff;
                let table = body + 64..body + 64 + entries * 16;
                self.weaken(table, Blind::Zeros, "an extent that is gone", items());
            }
            _ => {}
        }
        // An empty value is one of zeros.
        self.weaken(root..root + 64, Blind::Zeros, "a root that is gone", items());
    }

    /// The last batch of a shard: its records, and the contents that they name.
    fn add_last_batch(&mut self, image: &[u8], shard: u32, ring: u64, slot_bytes: u64) {
        let mut slots: Vec<u64> = (0..4).map(|slot| ring + slot * slot_bytes).collect();
        slots.sort_by_key(|&slot| word(image, slot + 16));
        let (last, before) = (slots[3], slots[2]);
        let items = || vec![format!("{}: ", LAST[shard as usize])];
        let why = "the last batch";
        self.weaken(last..last + slot_bytes, Blind::Any, why, items());
        // The batch before is the last one then.
        self.weak.push(Weak {
            at: before..before + slot_bytes,
            blind: Blind::Any,
            why: "the last two batches",
            items: vec![format!("{}: ", BEFORE_LAST[shard as usize])],
            also: Some(last..last + slot_bytes),
        });
        let (words, counts) = (word(image, last) >> 32, word(image, last + 24));
        assert!(words > 5 && words * 8 <= slot_bytes, "a record of {words} words");
        for i in 0..counts >> 32 & 0xffff {
            let content = word(image, last + 40 + i * 8);
            let (at, words) = (content & 0x0000_ffff_ffff_ffff, content >> 48);
            self.weaken(at..at + words * 8, Blind::Any, why, items());
        }
    }

    /// The last frames of the log.
    fn add_last_frames(&mut self, log: &[u8]) {
        let is_frame = |&at: &u64| log[at as usize..].starts_with(b"FRAM");
        let mut frames: Vec<u64> = (0x2000..log.len() as u64 - 32).step_by(8).filter(is_frame).collect();
        frames.sort_by_key(|&at| word(log, at + 16));
        let end = |at: u64| LOG + at + 32 + (word(log, at) >> 32) * 72;
        let (last, before) = (frames[frames.len() - 1], frames[frames.len() - 2]);
        let items = LAST.map(|name| format!("{name}: ")).to_vec();
        self.weaken(LOG + last..end(last), Blind::Any, "the last batch", items);
        // What lies before it is the end of the log then.
        self.weak.push(Weak {
            at: LOG..end(before),
            blind: Blind::Any,
            why: "the log's last frames",
            items: vec![String::new()],
            also: Some(LOG + last..end(last)),
        });
    }

    /// Where each area begins.
    pub(crate) fn starts(&self) -> Vec<u64> {
        self.areas.iter().map(|area| area.start).collect()
    }

    pub(crate) fn describe(&self, at: u64) -> String {
        match self.areas.iter().find(|area| (area.start..area.end).contains(&at)) {
            Some(area) => format!("{} + {:#x}", area.label, at - area.start),
            None if at >= LOG => format!("log {:#x}", at - LOG),
            None => format!("{at:#x}"),
        }
    }

    /// The bytes of all lines of the tables, the descriptors and the bitmaps that hold something.
    pub(crate) fn metadata(&self, image: &[u8]) -> Vec<u64> {
        in_use(image, 0..self.descriptors_end)
    }

    /// The bytes of all lines of the tables before the zones that hold something.
    pub(crate) fn tables(&self, image: &[u8]) -> Vec<u64> {
        in_use(image, 0..self.zones)
    }

    /// The bytes of all lines behind the descriptors that hold something.
    pub(crate) fn zones(&self, image: &[u8]) -> Vec<u64> {
        in_use(image, self.descriptors_end..image.len() as u64)
    }

    /// Why it may be that the item was read as something else after these changes. Says also whether a check must find them.
    pub(crate) fn excuse(
        &self,
        changes: &[Change],
        item: &str,
        is_written: bool,
    ) -> Option<(&'static str, bool)> {
        let touches = |at: &Range<u64>| changes.iter().any(|change| at.contains(&change.at));
        let excuses = |weak: &&Weak| {
            weak.items.iter().any(|part| item.starts_with(part) || item.ends_with(part))
                && weak.also.as_ref().is_none_or(touches)
                && changes.iter().any(|change| {
                    weak.at.contains(&change.at)
                        && match weak.blind {
                            Blind::Any => true,
                            Blind::Zeros => change.after == 0,
                            Blind::Moved => change.after == 0 || self.words.contains(&change.after),
                            Blind::AfterWrite => is_written,
                        }
                })
        };
        let weak = self.weak.iter().filter(excuses).min_by_key(|weak| weak.blind == Blind::AfterWrite)?;
        Some((weak.why, weak.blind == Blind::AfterWrite))
    }
}

/// The bytes of all lines of a range that are not zeros.
fn in_use(image: &[u8], range: Range<u64>) -> Vec<u64> {
    (range.start / 64..range.end / 64)
        .filter(|line| image[(line * 64) as usize..][..64].iter().any(|&byte| byte != 0))
        .flat_map(|line| line * 64..line * 64 + 64)
        .collect()
}
