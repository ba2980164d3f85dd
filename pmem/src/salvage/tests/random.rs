//! Random damage anywhere.

use super::{damage::check_claims, *};

/// Bytes that are changed at random, anywhere or where the tables are.
fn damage(bytes: &mut [u8], rng: &mut fastrand::Rng) {
    let pages = bytes.len() / 4096;
    for _ in 0..1 << rng.u32(0..9) {
        let at = match rng.u32(0..4) {
            // The superblocks are spared here: without them there is nothing to look at.
            0 => rng.usize(4096..8192),
            1 => rng.usize(12288..bytes.len() / 3),
            _ => rng.usize(12288..bytes.len()),
        };
        bytes[at] = if rng.bool() { bytes[at] ^ 1 << rng.u32(0..8) } else { rng.u8(..) };
    }
    if rng.u32(0..4) == 0 {
        let page = rng.usize(3..pages) * 4096;
        rng.fill(&mut bytes[page..page + 4096]);
    }
}

#[test]
fn whatever_is_damaged_what_is_reported_as_saved_is_as_it_was() {
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut rng = fastrand::Rng::with_seed(seed);
    println!("SEED={seed}");
    let sample = sample(true);
    let (mut whole, mut lost) = (0, 0);
    for round in 0..150 {
        let mut bytes = sample.bytes.clone();
        damage(&mut bytes, &mut rng);
        if rng.u32(0..10) == 0 {
            bytes.truncate(rng.usize(bytes.len() / 4..bytes.len()));
        }
        match sample.salvage_with(&bytes, &salvage_options()) {
            Ok((report, all)) => {
                println!("round {round}");
                check_claims(&sample, &report, &all);
                whole += report.whole();
                lost += report.lost() + report.partial();
            }
            Err(SalvageError::Read(OpenError::Truncated { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(whole > 1000 && lost > 100, "{whole} whole, {lost} not");
}
