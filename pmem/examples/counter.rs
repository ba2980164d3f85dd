//! A counter that survives `kill -9`: `cargo run -p abide-pmem --example counter -- FILE`, kill it, and run it again.

use abide_pmem::types::{Kind, Register};
use abide_pmem::{Persistence, Region, RegionOptions};
use std::{error::Error, thread::sleep, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "counter.region".into());
    let region = Region::open_or_create(path, 128 << 20, &RegionOptions::new(Persistence::ProcessCrash))?;
    let heap = region.heap();
    let object = heap.index().create(Kind::Register as u16, b"counter", 0)?;
    let counter = Register::<u64>::at(object.root);
    loop {
        // When this returns, the addition outlives the process.
        let before = heap.atomically(object.shard, |tx| counter.fetch_add(tx, 1))?;
        println!("{}", before + 1);
        sleep(Duration::from_millis(100));
    }
}
