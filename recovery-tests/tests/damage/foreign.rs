//! Files that are no region, or another one than was meant.

use crate::{
    child,
    sample::{self, Image, Variant, log_of, options},
};
use abide_pmem::{
    Persistence, Region, RegionOptions,
    layout::SuperblockError,
    line_log::LogError,
    region::{CreateError, OpenError},
};
use std::{os::unix::fs::symlink, path::Path, process::Command};

/// CRC32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0x82f6_3b78 })
    })
}

/// Changes both superblocks, with right checksums.
fn with_superblock(image: &Image, change: impl Fn(&mut [u8])) -> Image {
    let mut image = image.clone();
    for at in [0, 0x2000] {
        let block = &mut image.region[at..at + 0x1000];
        change(block);
        let crc = crc32c(&block[..160]);
        block[160..164].copy_from_slice(&crc.to_le_bytes());
    }
    image
}

fn open(path: &Path, options: &RegionOptions) -> Result<(), OpenError> {
    Region::open(path, options).map(drop)
}

#[test]
fn what_is_no_region_is_refused_and_left_as_it_is() {
    let name = "foreign::what_is_no_region_is_refused_and_left_as_it_is";
    child::expect_right(child::run(name, |voice| {
        let folder = crate::quick_folder();
        let path = folder.path().join("region");
        let program = std::fs::read(std::env::current_exe().expect("a program")).expect("a program");
        let log = Variant::LogClosed.make(folder.path()).log.expect("a log");
        for (what, bytes) in [
            ("nothing", vec![]),
            ("a byte", vec![7]),
            ("text", b"no region at all\n".repeat(20_000)),
            ("zeros", vec![0; sample::BYTES as usize]),
            ("a program", program[..400_000.min(program.len())].to_vec()),
            ("a log", log),
            ("the magic alone", b"ABIDERGN".to_vec()),
            ("the magic and ones", [b"ABIDERGN".to_vec(), vec![0xff; 200_000]].concat()),
        ] {
            for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
                voice.case(&format!("{what}, {persistence:?}"), |voice| {
                    std::fs::write(&path, &bytes).expect("it can be written");
                    let refused = |error: &OpenError| {
                        matches!(error, OpenError::Superblock(_) | OpenError::Truncated { .. })
                    };
                    for result in [
                        open(&path, &options(persistence)),
                        Region::open_read_only(&path, &options(persistence)).map(drop),
                    ] {
                        if !result.as_ref().is_err_and(refused) {
                            voice.wrong(&format!("{result:?}"));
                        }
                    }
                    let created = Region::open_or_create(&path, sample::BYTES, &options(persistence));
                    if !matches!(created, Err(CreateError::Open(_))) {
                        voice.wrong(&format!("open_or_create: {created:?}"));
                    }
                    if std::fs::read(&path).expect("it is there") != bytes {
                        voice.wrong("it was changed");
                    }
                });
            }
        }
    }));
}

#[test]
fn a_region_of_another_format_is_refused_by_name() {
    let name = "foreign::a_region_of_another_format_is_refused_by_name";
    child::expect_right(child::run(name, |voice| {
        let folder = crate::quick_folder();
        let image = Variant::Closed.make(folder.path());
        let path = folder.path().join("region");
        let options = options(Persistence::ProcessCrash);
        image.store(&path);
        let expected = sample::read(Region::open(&path, &options).expect("a region without damage").heap());
        let number = |at: usize, value: u32| {
            move |block: &mut [u8]| block[at..at + 4].copy_from_slice(&value.to_le_bytes())
        };
        // Offset, and what is put there, by FORMAT.md. Whatever the sizes are: tables that stand elsewhere hold no checksum that fits.
        for (what, at, value) in [
            ("a later major version", 8, 2),
            ("an unknown incompatible feature", 16, 1),
            ("the other byte order", 24, 0x0403_0201),
            ("another page", 28, 16384),
            ("another line", 32, 128),
            ("no shards", 76, 0),
            ("one shard more", 76, 3),
            ("too many shards", 76, u32::MAX),
            ("another chunk", 84, 2048),
            ("a chunk that is no power of two", 84, 1000),
            ("another zone", 88, 64),
            ("other ring slots", 92, 1024),
            ("more lanes", 80, 3),
            ("another uuid", 36, 1),
            ("no directory", 100, 0),
        ] {
            voice.case(what, |voice| {
                with_superblock(&image, number(at, value)).store(&path);
                match Region::open(&path, &options) {
                    Err(
                        OpenError::Superblock(_)
                        | OpenError::State(_)
                        | OpenError::Heap(_)
                        | OpenError::Truncated { .. },
                    ) => {}
                    Err(error) => voice.wrong(&format!("{error:?}")),
                    // A size by which only the space is managed, or that of rings of which a closed region needs nothing.
                    Ok(region) => {
                        let mut wrong = sample::wrong(&expected, &sample::read(region.heap()), false);
                        // Positions and slots of a list carry no check.
                        wrong.retain(|item| !item.starts_with("queue: "));
                        if !wrong.is_empty() || !matches!(at, 84 | 88 | 92) {
                            voice.wrong(&format!("it was opened, {wrong:?}"));
                        }
                        drop(sample::write(region.heap()));
                    }
                }
            });
        }
        voice.case("an unknown read-only feature", |voice| {
            with_superblock(&image, number(20, 1)).store(&path);
            if !matches!(open(&path, &options), Err(OpenError::ReadOnly { .. })) {
                voice.wrong("it was opened for writing");
            }
            if Region::open_read_only(&path, &options).is_err() {
                voice.wrong("it was not opened for reading");
            }
        });
        voice.case("an unknown compatible feature", |voice| {
            with_superblock(&image, number(12, 1)).store(&path);
            if let Err(error) = open(&path, &options) {
                voice.wrong(&format!("{error}"));
            }
        });
        voice.case("a first word of zeros", |voice| {
            let mut image = image.clone();
            image.region[..8].fill(0);
            image.store(&path);
            if !matches!(open(&path, &options), Err(OpenError::Superblock(SuperblockError::NotARegion))) {
                voice.wrong("it was never finished, and opened");
            }
        });
    }));
}

#[test]
fn a_region_of_another_domain_or_with_another_log_gives_the_data_or_an_error() {
    let name = "foreign::a_region_of_another_domain_or_with_another_log_gives_the_data_or_an_error";
    child::expect_right(child::run(name, |voice| {
        let folder = crate::quick_folder();
        let path = folder.path().join("region");
        for variant in sample::VARIANTS {
            let _ = std::fs::remove_dir_all(folder.path().join("other"));
            std::fs::create_dir(folder.path().join("other")).expect("a folder");
            let (image, other) = (variant.make(&folder.path().join("other")), crate::quick_folder());
            image.store(&path);
            let expected = {
                let region = Region::open(&path, &variant.options()).expect("a region without damage");
                sample::read(region.heap())
            };
            for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
                voice.case(&format!("{variant:?} as {persistence:?}"), |voice| {
                    image.store(&path);
                    // Nobody says of a file whether this machine's page cache had all of it, so nothing is refused here.
                    match Region::open(&path, &options(persistence)) {
                        Ok(region) => {
                            let wrong = sample::wrong(&expected, &sample::read(region.heap()), false);
                            if !wrong.is_empty() {
                                voice.wrong(&format!("{wrong:?}"));
                            }
                        }
                        Err(error) => voice.wrong(&format!("{error:?}")),
                    }
                });
            }
            let strange = Variant::LogDropped.make(other.path()).log;
            voice.case(&format!("{variant:?} beside the log of another region"), |voice| {
                Image { log: strange.clone(), ..image.clone() }.store(&path);
                let needs_it = variant == Variant::LogDropped;
                for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
                    match Region::open(&path, &options(persistence)) {
                        Ok(region) => {
                            let wrong = sample::wrong(&expected, &sample::read(region.heap()), false);
                            if needs_it || !wrong.is_empty() {
                                voice.wrong(&format!("opened, {wrong:?}"));
                            }
                        }
                        Err(OpenError::Log(_) | OpenError::MakeLog(_)) => {}
                        Err(error) => voice.wrong(&format!("{error:?}")),
                    }
                    if std::fs::read(log_of(&path)).ok() != strange && needs_it {
                        voice.wrong("the log was changed");
                    }
                }
            });
            for what in ["a folder", "a pipe", "nothing"] {
                voice.case(&format!("{variant:?} beside {what} for a log"), |voice| {
                    image.store(&path);
                    let log = log_of(&path);
                    let _ = std::fs::remove_file(&log);
                    match what {
                        "a folder" => std::fs::create_dir(&log).expect("a folder"),
                        "a pipe" => pipe(&log),
                        _ => {}
                    }
                    let result = open(&path, &variant.options());
                    let fits = match (variant, what) {
                        (Variant::LogDropped, "nothing") => {
                            matches!(result, Err(OpenError::Log(LogError::Missing)))
                        }
                        (Variant::LogDropped | Variant::LogClosed, "a folder" | "a pipe") => result.is_err(),
                        _ => result.is_ok(),
                    };
                    if !fits {
                        voice.wrong(&format!("{result:?}"));
                    }
                    let _ = std::fs::remove_dir(&log).or_else(|_| std::fs::remove_file(&log));
                });
            }
        }
    }));
}

fn pipe(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(status.success(), "{status}");
}

#[test]
fn what_is_no_file_is_refused_and_a_link_to_a_region_is_one() {
    let name = "foreign::what_is_no_file_is_refused_and_a_link_to_a_region_is_one";
    child::expect_right(child::run(name, |voice| {
        let folder = crate::quick_folder();
        let image = Variant::Closed.make(folder.path());
        let at = |name: &str| folder.path().join(name);
        image.store(&at("region"));
        pipe(&at("pipe"));
        symlink(at("region"), at("link")).expect("a link");
        symlink(at("nowhere"), at("dangling")).expect("a link");
        symlink(at("circle"), at("circle")).expect("a link");
        let not_a_file = |error: &OpenError| matches!(error, OpenError::NotAFile { .. });
        let not_found = |error: &OpenError| matches!(error, OpenError::NotFound { .. });
        let io = |error: &OpenError| matches!(error, OpenError::Io { .. });
        for (path, fits) in [
            (folder.path().to_owned(), &not_a_file as &dyn Fn(&OpenError) -> bool),
            (at("pipe"), &not_a_file),
            ("/dev/null".into(), &not_a_file),
            ("/dev/zero".into(), &not_a_file),
            (at("nowhere"), &not_found),
            (at("dangling"), &not_found),
            (at("circle"), &io),
            (at("region").join("below"), &|error| io(error) || not_found(error)),
        ] {
            for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
                voice.case(&format!("{}, {persistence:?}", path.display()), |voice| {
                    let result = open(&path, &options(persistence));
                    if !result.as_ref().is_err_and(fits) {
                        voice.wrong(&format!("{result:?}"));
                    }
                });
            }
        }
        voice.case("a link", |voice| {
            if let Err(error) = open(&at("link"), &Variant::Closed.options()) {
                voice.wrong(&format!("{error}"));
            }
        });
    }));
}
