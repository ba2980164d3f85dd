//! Counts the words of files and folders into one shared map.
//!
//! `cargo run --release --example wordcount -- .` counts this repository. Cloud threads take files from a
//! shared list, count each by themselves, and merge the counts into the map where it lives: one message a file.

mod support;

use abide::{CallError, CloudThread, MergeOp, Store, cloud_function};
use anyhow::{Context, bail};
use clap::Parser;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Counts words.
#[derive(Debug, Parser)]
struct Arguments {
    /// Files, and folders whose files are counted too. Hidden files and folders, and `target`, are left out.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How many of the most frequent words to print.
    #[arg(long, default_value_t = 20)]
    top: usize,
    #[command(flatten)]
    common: support::Common,
}

/// What one cloud thread did.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Counted {
    files: u64,
    words: u64,
    skipped: Vec<String>,
}

/// Counts files from the shared list until it is empty.
#[cloud_function]
fn count_words(run: String) -> Result<Counted, CallError> {
    let store = Store::current()?;
    let files = store.list::<String>(&format!("{run}/files"));
    let counts = store.map::<String, u64>(&format!("{run}/words"));
    let done = store.counter(&format!("{run}/done"));
    let mut counted = Counted::default();
    while let Some(file) = files.pop_front()? {
        match fs::read(&file).map(String::from_utf8) {
            Ok(Ok(text)) => {
                let mut words = BTreeMap::<String, u64>::new();
                for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                    // A key has at most so many bytes of value; nothing longer is a word.
                    if word.len() <= 256 {
                        *words.entry(word.to_lowercase()).or_default() += 1;
                    }
                }
                counted.words += words.values().sum::<u64>();
                counted.files += 1;
                let entries: Vec<_> = words.into_iter().collect();
                // A merge is one call and all or nothing; a frame has room for this many words and more.
                for part in entries.chunks(10_000) {
                    counts.merge_many(part.iter().map(|(word, count)| (word, count)), MergeOp::Sum)?;
                }
            }
            Ok(Err(_)) => counted.skipped.push(format!("{file}: not UTF-8")),
            Err(error) => counted.skipped.push(format!("{file}: {error}")),
        }
        done.increment(1)?;
    }
    Ok(counted)
}

fn find_files(path: &Path, files: &mut Vec<String>) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read {}", path.display());
    let kind = fs::symlink_metadata(path).with_context(unreadable)?;
    if kind.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).with_context(unreadable)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if !name.to_string_lossy().starts_with('.') && name != "target" {
                find_files(&entry.path(), files)?;
            }
        }
    } else if kind.is_file() {
        let path = fs::canonicalize(path).with_context(unreadable)?;
        files.push(
            path.into_os_string().into_string().map_err(|name| anyhow::anyhow!("{name:?} is not UTF-8"))?,
        );
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    abide::init();
    let arguments = Arguments::parse();
    let mut files = Vec::new();
    for path in &arguments.paths {
        find_files(path, &mut files)?;
    }
    if files.is_empty() {
        bail!("no files there");
    }
    let place = arguments.common.open()?;
    let (store, run) = (&place.store, support::run_name("wordcount"));
    let queue = store.list::<String>(&format!("{run}/files"));
    for part in files.chunks(1_000) {
        queue.extend(part)?;
    }
    let counts = store.map::<String, u64>(&format!("{run}/words"));
    let done = store.counter(&format!("{run}/done"));
    let bar = support::progress(files.len() as u64, "files");
    let spawn = |_| {
        CloudThread::builder()
            .backend(arguments.common.backend.clone())
            .store(store)
            .spawn(count_words, (run.clone(),))
    };
    let threads: Vec<_> = (0..arguments.common.threads()).map(spawn).collect();
    let counted =
        support::watched(&bar, &done, || threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>());
    let mut total = Counted::default();
    for counted in counted {
        let counted = counted?;
        total.files += counted.files;
        total.words += counted.words;
        total.skipped.extend(counted.skipped);
    }
    let mut words = counts.entries().collect::<Result<Vec<_>, _>>()?;
    let sum: u64 = words.iter().map(|(_, count)| count).sum();
    if sum != total.words {
        bail!("the map has {sum} words, but the threads counted {}", total.words);
    }
    words.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    for (word, count) in words.iter().take(arguments.top) {
        println!("{count:>10}  {word}");
    }
    println!("{} words, {} different, in {} files", total.words, words.len(), total.files);
    const SHOWN: usize = 5;
    for skipped in total.skipped.iter().take(SHOWN) {
        eprintln!("skipped {skipped}");
    }
    if total.skipped.len() > SHOWN {
        eprintln!("skipped {} more files", total.skipped.len() - SHOWN);
    }
    queue.delete()?;
    counts.delete()?;
    done.delete()?;
    Ok(())
}
