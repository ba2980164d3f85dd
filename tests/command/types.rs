//! `abide types`.

use crate::support::{complains, prints};
use abide::schema::BUILT_IN;

#[test]
fn types_lists_every_type_and_one_with_its_methods() {
    let listed = prints(&["types"]);
    for info in BUILT_IN {
        assert!(listed.lines().any(|line| line.starts_with(&format!("{} ", info.name))), "{}", info.name);
    }
    let map = prints(&["types", "Map"]);
    assert!(map.contains("  insert(key: Value, value: Value) -> Option<Value>   [write]\n"), "{map}");
    assert!(map.contains("\nOption: ") || map.contains("\nOption<T>: "), "{map}");
    assert!(prints(&["types", "Object"]).contains("expire_in(ms: u64) -> bool"));
    let semaphore = prints(&["types", "Semaphore"]);
    assert!(
        semaphore.contains("created by --create, with permits: u64, unowned: bool = false"),
        "{semaphore}"
    );
    let unknown = complains(2, &["types", "Lamp"]);
    assert!(unknown.contains("AtomicLong"), "{unknown}");
    complains(2, &["--store", "x", "types"]);
}

#[test]
fn types_are_told_to_programs_with_all_that_the_registry_knows() {
    let all: serde_json::Value = serde_json::from_str(&prints(&["types", "--json"])).unwrap();
    let all = all.as_array().unwrap();
    // What every object can do comes last.
    assert_eq!(all.len(), BUILT_IN.len() + 1);
    for (info, told) in BUILT_IN.into_iter().zip(all) {
        assert_eq!((told["name"].as_str(), told["id"].as_u64()), (Some(info.name), Some(info.id.into())));
        let methods = told["methods"].as_array().unwrap();
        let names: Vec<_> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
        assert_eq!(names, info.methods.iter().map(|method| method.name).collect::<Vec<_>>());
        for (method, told) in info.methods.iter().zip(methods) {
            assert_eq!(told["arguments"].as_array().unwrap().len(), method.arguments.len());
        }
    }
    let reducer: serde_json::Value = serde_json::from_str(&prints(&["types", "Reducer", "--json"])).unwrap();
    assert_eq!(
        reducer["creation"][3],
        serde_json::json!({"name": "op", "type": "MergeOp", "default": "sum"})
    );
    assert_eq!(reducer["created_by_first_call"], false);
}
