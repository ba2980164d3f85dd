//! A map that survives `kill -9`: `cargo run -p abide-pmem --example map -- FILE` stores each line `KEY VALUE` that it
//! reads, and says what was there; a line `KEY` only asks.

use abide_pmem::types::{Kind, Map};
use abide_pmem::{Persistence, Region, RegionOptions};
use std::{error::Error, io};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "map.region".into());
    let region = Region::open_or_create(path, 128 << 20, &RegionOptions::new(Persistence::ProcessCrash))?;
    let heap = region.heap();
    let object = heap.index().create(Kind::Map as u16, b"map", 0)?;
    let map = Map::at(object.root);
    for line in io::stdin().lines() {
        let line = line?;
        let (key, value) = line.split_once(' ').unwrap_or((&line, ""));
        let before = map.get(&heap.reader(object.shard), key.as_bytes())?;
        println!("{key}: {:?}", before.as_deref().map(String::from_utf8_lossy));
        if !value.is_empty() {
            // When this returns, the entry outlives the process.
            heap.atomically(object.shard, |tx| map.insert(tx, key.as_bytes(), value.as_bytes()))?;
        }
    }
    Ok(region.close()?)
}
