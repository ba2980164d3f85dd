//! The types and methods in words, made of the same declarations that calls are dispatched by, so that what is written here cannot
//! drift from what is served.

use crate::{BUILT_IN, MethodInfo, TypeInfo, types::object};
use abide_net::MethodKind;
use std::fmt::Write;

/// What types of arguments and results are, beyond those that Rust has, and how they are written in JSON: names and meanings.
pub static TERMS: [(&str, &str); 16] = [
    (
        "Value",
        "any value. Scalars and texts are themselves in JSON, arrays and objects documents; `{\"$bytes\": \"<hex>\"}` is bytes, \
         `{\"$float\": \"NaN\"}` a float that JSON has no notation for, `{\"$bincode\": \"<hex>\"}` a value of a program's own type",
    ),
    ("Option<T>", "a `T`, or null. Optional arguments at the end may be left out"),
    ("Result<T, E>", "`{\"Ok\": T}` or `{\"Err\": E}`"),
    ("Vec<T>", "an array"),
    ("Bytes", "bytes, written as `{\"$bytes\": \"<hex>\"}`"),
    (
        "Number",
        "an integer of 64 bits, or a float: in JSON a number, which is a float if it has a fraction or an exponent, or \
         `{\"$float\": \"NaN\"}`",
    ),
    ("Numbers", "an array of numbers, all of them integers or all floats"),
    ("NumberKind", "`\"i64\"` or `\"f64\"`"),
    (
        "MergeOp",
        "how two values are joined: `\"sum\"`, `\"product\"`, `\"min\"`, `\"max\"`, `\"and\"`, `\"or\"`, `\"xor\"`, `\"concat\"`, \
         `\"first\"` or `\"last\"`",
    ),
    (
        "Page<T, C>",
        "a part of an iteration, `{\"entries\": [T], \"next\": C}`: `next` is the cursor of the page after it, null after the last",
    ),
    (
        "TopicPage",
        "`{\"entries\": [[position, value]], \"next\": cursor, \"missed\": how many were forgotten before they could be read}`",
    ),
    ("FutureState", "`{\"Value\": value}`, `{\"Error\": text}` or `\"Cancelled\"`"),
    ("Holder", "who holds a lock: `session`, `owner`, `token` and how many times, `holds`"),
    ("Leader", "who leads: `session`, `candidate` and `token`"),
    ("ConditionWait", "`{\"token\": the lock's fencing token, \"notified\": false if its time was over}`"),
    (
        "ObjectInfo",
        "type, key, bytes, times, version, waiters, replicas, whether it is persistent, and when it expires",
    ),
];

/// A word for how a method behaves.
pub fn kind_name(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Read => "read",
        MethodKind::Write => "write",
        MethodKind::Wait => "wait",
    }
}

/// Documentation as one paragraph of plain text.
pub fn prose(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl MethodInfo {
    /// The method as it is called: `add_and_get(delta: i64) -> i64`.
    pub fn signature(&self) -> String {
        let arguments = with_types(self.arguments.iter().copied());
        let arrow = if self.output == "()" { "" } else { " -> " };
        format!("{}({arguments}){arrow}{}", self.name, self.result())
    }

    /// The type of the result; empty if there is none.
    pub fn result(&self) -> String {
        if self.output == "()" { String::new() } else { plain(self.output) }
    }
}

impl TypeInfo {
    /// The arguments that create an object, with their defaults: `permits: u64, unowned: bool = false`.
    pub fn creation_signature(&self) -> String {
        let defaults = (self.creation_defaults)();
        let arguments = self.creation.iter().zip(defaults).map(|((name, kind), default)| match default {
            Some(default) => format!("{name}: {} = {default}", plain(kind)),
            None => format!("{name}: {}", plain(kind)),
        });
        arguments.collect::<Vec<_>>().join(", ")
    }
}

fn with_types<'a>(arguments: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    arguments.map(|(name, kind)| format!("{name}: {}", plain(kind))).collect::<Vec<_>>().join(", ")
}

/// A type as people write it; macros leave spaces in it.
pub fn plain(kind: &str) -> String {
    kind.replace(" <", "<").replace("< ", "<").replace(" >", ">")
}

/// Every built-in type with its methods, in Markdown: the contents of docs/objects.md.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for info in BUILT_IN {
        let anchor = info.name.to_lowercase();
        text += &format!("{}[{}](#{anchor})", if info.id == BUILT_IN[0].id { "" } else { " · " }, info.name);
    }
    text += "\n\n## Every object\n\n";
    text += &prose(object::INFO.doc);
    text += "\n\n";
    table(&mut text, &object::INFO);
    for info in BUILT_IN {
        let _ = write!(text, "\n## {}\n\n{}\n\n{}\n\n", info.name, prose(info.doc), creation(info));
        table(&mut text, info);
    }
    text += "\n## Arguments and results\n\n";
    for (name, meaning) in TERMS {
        let _ = writeln!(text, "- `{name}`: {meaning}.");
    }
    text
}

const HEAD: &str = "\
# Objects

<!-- Made of the registry by `cargo test -p abide-schema --test docs -- --ignored`; do not edit. -->

Every type of object with its methods. `abide types` prints the same. Methods of kind *read* change nothing; those of kind *write* are
executed exactly once, however often their call is sent; those of kind *wait* are too, and may wait for others until they are answered.
A `timeout_ms` that is left out lets a call wait for ever.

";

fn creation(info: &TypeInfo) -> String {
    if info.creation.is_empty() {
        return "Created by the first call; it takes no arguments.".to_owned();
    }
    let how = match info.default_creation {
        Some(_) => "Created by the first call, or with arguments",
        None => "Created by a call that carries arguments",
    };
    format!("{how}: `{}`.", info.creation_signature())
}

fn table(text: &mut String, info: &TypeInfo) {
    text.push_str("| method | arguments | result | kind | what it does |\n|---|---|---|---|---|\n");
    for method in info.methods {
        let code = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            method.name,
            code(with_types(method.arguments.iter().copied())),
            code(method.result()),
            kind_name(method.kind),
            prose(method.doc).replace('|', "\\|"),
        );
    }
}
