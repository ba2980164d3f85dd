use super::*;
use crate::handles::tests::{Brought, Fake, encoded};
use abide_net::{Value, codec};
use abide_schema::{
    ObjectName, Page,
    types::{atomic_long, map, semaphore, shard},
};
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;

/// Four shards; shard n has 2n objects, in pages of at most three. Key: number of the shard, and of the
/// object in it.
fn with_objects() -> Arc<Fake> {
    let fake = Fake::new(|call| {
        let Some(shard::ListObjects { type_id, prefix, cursor, limit }) = call.as_call() else {
            return encoded(&true);
        };
        let shard = call.shard.expect("a listing asks shards");
        let cursor = cursor.map_or(0, |cursor| u64::from_le_bytes(cursor.try_into().unwrap()));
        let objects = (cursor + 1..=u64::from(shard) * 2).map(|n| (n, format!("{shard}/{n}")));
        let mut objects =
            objects.filter(|(_, key)| prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix)));
        let found: Vec<_> = objects.by_ref().take(limit.min(3) as usize).collect();
        let next = objects.next().and(found.last().map(|(n, _)| n.to_le_bytes().to_vec()));
        let type_id = type_id.unwrap_or(if shard == 1 { 9 } else { 0x8001 });
        encoded(&Page {
            entries: found.into_iter().map(|(_, key)| ObjectName { type_id, key }).collect(),
            next,
        })
    });
    fake.shards.store(4, SeqCst);
    fake
}

fn keys(objects: impl Iterator<Item = Result<ListedObject, CallError>>) -> Vec<String> {
    objects.map(|object| object.unwrap().key).collect()
}

#[test]
fn a_listing_visits_each_shard_page_by_page() {
    let fake = with_objects();
    let store = Store::of(fake.clone());
    let mut objects = store.list_objects(ListFilter::default());
    assert_eq!(fake.calls(), []);
    assert_eq!(objects.next(), Some(Ok(ListedObject { type_name: "Map".to_owned(), key: "1/1".to_owned() })));
    assert_eq!(objects.nth(1).unwrap().unwrap().type_name, "type 0x8001");
    let rest = ["2/2", "2/3", "2/4", "3/1", "3/2", "3/3", "3/4", "3/5", "3/6"];
    assert_eq!(keys(objects), rest);
    assert_eq!(fake.calls().len(), 6, "one page of shards 0 and 1, two of 2 and 3");
    assert_eq!(keys(store.list_objects(ListFilter::default().with_prefix("2/"))).len(), 4);
    store.list_objects(ListFilter::default().of_type("List")).for_each(|object| {
        assert_eq!(object.unwrap().type_name, "List");
    });
}

#[test]
fn a_listing_of_an_unknown_type_says_which_there_are() {
    let mut objects = Store::of(with_objects()).list_objects(ListFilter::default().of_type("Lamp"));
    let error = objects.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("Lamp") && error.contains("AtomicLong, "), "{error}");
    assert_eq!(objects.next(), None);
}

#[test]
fn a_store_asks_each_shard_about_itself() {
    let fake = Fake::new(|call| {
        assert_eq!((call.type_id, call.key.as_str()), (0, ""));
        encoded(&ShardInfo {
            shard: call.shard.unwrap(),
            objects: 1,
            sessions: 2,
            waiters: 3,
            calls: 4,
            epoch: 7,
            program: "fake".to_owned(),
            uptime_ms: 5,
            persistent_objects: 1,
            persistence: "volatile".to_owned(),
            bytes: 6,
            bytes_max: 7,
            persistent_bytes: 8,
            persistent_bytes_max: 9,
        })
    });
    fake.shards.store(3, SeqCst);
    let infos = Store::of(fake.clone()).info().unwrap();
    assert_eq!(infos.iter().map(|info| info.shard).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn objects_are_deleted_by_name() {
    let fake = Fake::answering(&true);
    let store = Store::of(fake.clone());
    assert_eq!(store.delete("Map", "m"), Ok(true));
    let calls = fake.calls();
    assert_eq!((calls[0].type_id, calls[0].key.as_str()), (map::Type::ID, "m"));
    assert_eq!(calls[0].as_call(), Some(object::Delete {}));
    assert!(matches!(store.delete("map", "m"), Err(CallError::NoSuchMethod { .. })));
}

#[test]
fn sessions_and_addresses_are_those_of_the_caller() {
    let store = Store::of(Fake::answering(&0_i64));
    assert_eq!(store.address(), Some("fake:1".to_owned()));
    let session = store.new_session().unwrap();
    assert!(!Arc::ptr_eq(session.caller(), store.caller()));
}

#[test]
fn methods_are_called_by_name_with_json() {
    let fake = Fake::answering(&Some(Value::text("before")));
    let store = Store::of(fake.clone());
    let answer = store.call_json("Map", "m", "insert", vec![json!("key"), json!([1, 2])], None, None);
    assert_eq!(answer, Ok(json!("before")));
    let value = Value::from_json(&json!([1, 2])).unwrap();
    fake.expect(map::Insert { key: Value::text("key"), value });

    let fake = Fake::answering(&5_i64);
    let store = Store::of(fake.clone());
    let brought = |initial| codec::encode(&atomic_long::Creation { initial }).unwrap();
    assert_eq!(store.call_json("AtomicLong", "x", "add_and_get", vec![json!(2)], None, None), Ok(json!(5)));
    let call = fake.calls().remove(0);
    assert_eq!(call.as_call(), Some(atomic_long::AddAndGet { delta: 2 }));
    assert_eq!(call.creation, Brought::IfAbsent(brought(0)));
    store.call_json("AtomicLong", "x", "get", vec![], Some(vec![json!(3)]), Some(1)).unwrap();
    let call = fake.calls().remove(0);
    assert_eq!((call.creation, call.replicas), (Brought::Exactly(brought(3)), Some(1)));
}

#[test]
fn methods_of_every_object_are_called_by_name_on_each_type() {
    let fake = Fake::answering(&true);
    let store = Store::of(fake.clone());
    for info in abide_schema::BUILT_IN {
        for method in ["exists", "delete", "create"] {
            assert_eq!(
                store.call_json(info.name, "x", method, vec![], None, None),
                Ok(json!(true)),
                "{}",
                info.name
            );
        }
        let calls = fake.calls();
        assert!(calls.iter().all(|call| call.type_id == info.id));
        assert_eq!((&calls[0].creation, &calls[1].creation), (&Brought::Nothing, &Brought::Nothing));
        let default = info.default_creation.map_or(Brought::Nothing, |encoded| Brought::IfAbsent(encoded()));
        assert_eq!(calls[2].creation, default);
    }
    store.call_json("Semaphore", "s", "create", vec![], Some(vec![json!(3), json!(true)]), None).unwrap();
    let created = codec::encode(&semaphore::Creation { permits: 3, unowned: true }).unwrap();
    assert_eq!(fake.calls()[0].creation, Brought::Exactly(created));
}

#[test]
fn what_is_called_by_a_wrong_name_or_with_wrong_arguments_is_not_sent() {
    let fake = Fake::answering(&());
    let store = Store::of(fake.clone());
    let call =
        |type_name, key, method, arguments| store.call_json(type_name, key, method, arguments, None, None);
    let text = |result: Result<serde_json::Value, CallError>| match result {
        Err(CallError::NoSuchMethod { name }) => name,
        other => panic!("{other:?}"),
    };
    let unknown = text(call("AtomicLong", "x", "ad", vec![]));
    assert!(
        unknown.contains("AtomicLong.ad") && unknown.contains("add_and_get") && unknown.contains("exists")
    );
    let unknown = text(call("Long", "x", "get", vec![]));
    assert!(unknown.contains("\"Long\"") && unknown.contains("AtomicLong"));
    for (key, arguments) in
        [("x", vec![]), ("x", vec![json!("a")]), ("x", vec![json!(1); 2]), ("", vec![json!(1)])]
    {
        let result = call("AtomicLong", key, "set", arguments);
        assert!(matches!(result, Err(CallError::BadArgument { .. })), "{result:?}");
    }
    assert_eq!(fake.calls(), []);
}
