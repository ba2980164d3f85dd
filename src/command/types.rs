//! `abide types`: which types of objects there are, and what they can do.

use super::{Failure, call::type_named, print};
use abide::schema::{
    BUILT_IN, MethodInfo, TypeInfo,
    describe::{TERMS, kind_name, prose},
    types::object,
};
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct TypesArguments {
    /// One type, such as Map. `Object` is what every object can do.
    #[arg(value_name = "TYPE")]
    type_name: Option<String>,
}

impl TypesArguments {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let chosen = match self.type_name.as_deref() {
            None => None,
            Some(name) if name == object::INFO.name => Some(&object::INFO),
            Some(name) => Some(type_named(name)?),
        };
        match chosen {
            Some(info) if json => print(format_args!("{}\n", as_json(info))),
            None if json => print(format_args!("{}\n", Value::from_iter(all().map(as_json)))),
            Some(info) => print_type(info),
            None => {
                let width = BUILT_IN.iter().map(|info| info.name.len()).max().unwrap_or(0);
                for info in all() {
                    print(format_args!("{:width$}  {}\n", info.name, first_sentence(info.doc)))?;
                }
                Ok(())
            }
        }
    }
}

/// What every object can do comes last.
fn all() -> impl Iterator<Item = &'static TypeInfo> {
    BUILT_IN.into_iter().chain([&object::INFO])
}

fn first_sentence(doc: &str) -> String {
    let doc = prose(doc);
    let end = doc.find(". ").map_or(doc.len(), |at| at + 1);
    doc[..end].to_owned()
}

fn print_type(info: &TypeInfo) -> Result<(), Failure> {
    print(format_args!("{}: {}\n", info.name, prose(info.doc)))?;
    if info.id != object::INFO.id {
        let when =
            if info.default_creation.is_some() { "created by the first call" } else { "created by --create" };
        let arguments = info.creation_signature();
        let arguments = if arguments.is_empty() { "no arguments".to_owned() } else { arguments };
        print(format_args!("{when}, with {arguments}\n"))?;
    }
    for method in info.methods {
        print(format_args!(
            "\n  {}   [{}]\n      {}\n",
            method.signature(),
            kind_name(method.kind),
            prose(method.doc)
        ))?;
    }
    let used: Vec<_> = TERMS.iter().filter(|(name, _)| is_used(info, name)).collect();
    if !used.is_empty() {
        print(format_args!("\n"))?;
    }
    for (name, meaning) in used {
        print(format_args!("{name}: {meaning}\n"))?;
    }
    Ok(())
}

/// Whether a type of this name is among the arguments and results of a type.
fn is_used(info: &TypeInfo, term: &str) -> bool {
    let term = term.split('<').next().unwrap_or(term);
    let methods = info.methods.iter();
    let arguments =
        methods.clone().flat_map(|method| method.arguments).chain(info.creation).map(|(_, kind)| *kind);
    arguments
        .chain(methods.map(|method| method.output))
        .any(|kind| kind.split(|c: char| !c.is_alphanumeric()).any(|word| word == term))
}

fn as_json(info: &TypeInfo) -> Value {
    let defaults = (info.creation_defaults)();
    let creation = info.creation.iter().zip(defaults).map(|((name, kind), default)| match default {
        Some(default) => json!({"name": name, "type": kind, "default": default}),
        None => json!({"name": name, "type": kind}),
    });
    json!({
        "name": info.name,
        "id": info.id,
        "doc": prose(info.doc),
        "creation": creation.collect::<Vec<_>>(),
        "created_by_first_call": info.default_creation.is_some(),
        "methods": info.methods.iter().map(method_as_json).collect::<Vec<_>>(),
    })
}

fn method_as_json(method: &MethodInfo) -> Value {
    let arguments = method.arguments.iter().map(|(name, kind)| json!({"name": name, "type": kind}));
    json!({
        "name": method.name,
        "id": method.id,
        "doc": prose(method.doc),
        "kind": kind_name(method.kind),
        "arguments": arguments.collect::<Vec<_>>(),
        "result": method.result(),
    })
}
