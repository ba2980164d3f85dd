//! Both clients against a real node, which is stopped and started again with the data that it kept.

use abide_client::{CallError, MergeOp, RemoteOptions, Store};
use abide_pmem::Persistence;
use abide_shards::{
    node::{Node, NodeConfig, StartError},
    regions::DataOptions,
};
use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A node of two cores, if this machine has them, with data; or nothing where io_uring is forbidden.
struct TestNode {
    node: Option<Node>,
    config: NodeConfig,
    address: SocketAddr,
    _data: TempDir,
}

impl TestNode {
    fn start() -> Option<TestNode> {
        let folder = tempfile::tempdir().unwrap();
        let mut data = DataOptions::new(folder.path().join("data.abide"), Persistence::ProcessCrash);
        data.force_file_system = true;
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut config = NodeConfig { listen, cores: Some(cores), data: Some(data), ..NodeConfig::default() };
        config.shards = Some(4);
        let node = match Node::start(&config) {
            Err(StartError::Forbidden(error)) => {
                println!("skipped: io_uring is forbidden here ({error})");
                return None;
            }
            node => node.unwrap(),
        };
        // The first core's port stays; those of the others are new ones each time.
        let address = node.address();
        Some(TestNode { node: Some(node), config, address, _data: folder })
    }

    fn connect(&self) -> Store {
        let options = RemoteOptions { retry_for: Duration::from_secs(20), ..RemoteOptions::default() };
        Store::connect_with(&self.address.to_string(), &options).unwrap()
    }

    fn restart(&mut self) {
        self.node.take().unwrap().stop().unwrap();
        // With one core the port can be asked for; with two, the next one must be free as well.
        self.config.listen = self.address;
        if self.config.cores == Some(2)
            && Node::start(&self.config).map(|node| self.node = Some(node)).is_ok()
        {
            return;
        }
        self.config.cores = Some(1);
        self.node = Some(Node::start(&self.config).unwrap());
    }
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "it never happened that {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn persistent_objects_and_sessions_outlive_their_node_and_ephemeral_ones_are_lost() {
    let Some(mut node) = TestNode::start() else { return };
    let store = node.connect();
    let kept: Vec<_> = (0..8).map(|n| store.atomic_long(&format!("kept {n}")).persistent()).collect();
    let lost = store.atomic_long("lost");
    for counter in &kept {
        assert_eq!(counter.increment_and_get(), Ok(1));
    }
    lost.set(5).unwrap();
    assert!(kept[0].info().unwrap().persistent && !lost.info().unwrap().persistent);
    let mutex = store.mutex("mutex").persistent();
    let guard = mutex.lock().unwrap();
    for n in 2..4 {
        node.restart();
        for counter in &kept {
            assert_eq!(counter.increment_and_get(), Ok(n));
        }
        assert!(matches!(lost.get(), Err(CallError::Lost { .. })));
        assert!(
            node.connect().mutex("mutex").try_lock().unwrap().is_none(),
            "the session holds what it held"
        );
    }
    assert_eq!(guard.unlock(), Ok(()));
    assert_eq!(lost.create(), Ok(true));
    let elsewhere = store.atomic_long("kept 0").ephemeral();
    assert!(matches!(elsewhere.get(), Err(CallError::AlreadyExists { .. })));
}

#[test]
fn a_call_that_waits_in_a_persistent_object_is_answered_by_the_node_that_comes_after() {
    let Some(mut node) = TestNode::start() else { return };
    let (first, second, other) = (node.connect(), node.connect(), node.connect());
    let queue = |store: &Store| store.queue::<u32>("q").persistent();
    let waiting = |node: &TestNode| node.connect().waits().filter(|wait| wait.is_ok()).count();
    thread::scope(|scope| {
        let first = scope.spawn(|| queue(&first).take());
        eventually("the first waits", || waiting(&node) == 1);
        let second = scope.spawn(|| queue(&second).take());
        eventually("the second waits", || waiting(&node) == 2);
        node.restart();
        assert_eq!(waiting(&node), 2, "before they ask again");
        queue(&other).put(&1).unwrap();
        assert_eq!(first.join().unwrap(), Ok(1), "who asked first");
        node.restart();
        queue(&other).put(&2).unwrap();
        assert_eq!(second.join().unwrap(), Ok(2));
    });
}

#[test]
fn a_seeded_run_goes_on_where_the_one_before_stopped_also_on_the_node_that_comes_after() {
    let Some(mut node) = TestNode::start() else { return };
    let store = node.connect();
    let run = |store: &Store, words: usize| -> Vec<u64> {
        let session = store.with_seed_of("counting words").unwrap();
        let counts = session.map::<String, u64>("counts").persistent();
        let merged = ["the", "sea", "the", "sky"].iter().take(words);
        merged.map(|word| counts.merge(*word, &1, MergeOp::Sum).unwrap()).collect()
    };
    assert_eq!(run(&store, 3), [1, 1, 2]);
    assert_eq!(run(&store, 3), [1, 1, 2], "nothing is counted twice");
    node.restart();
    assert_eq!(run(&store, 4), [1, 1, 2, 1]);
    assert_eq!(store.map::<String, u64>("counts").get("the"), Ok(Some(2)));
    store.with_seed_of("counting words").unwrap().finish().unwrap();
    eventually("all cores have forgotten", || run(&store, 1)[0] > 2);
}

#[test]
fn versions_come_and_objects_expire() {
    let Some(node) = TestNode::start() else { return };
    let store = node.connect();
    let set = store.set::<u32>("s").persistent();
    set.insert(&1).unwrap();
    thread::scope(|scope| {
        let watcher = scope.spawn(|| set.versions().collect::<Vec<_>>());
        eventually("it watches", || store.info().unwrap().iter().any(|shard| shard.waiters == 1));
        set.insert(&2).unwrap();
        eventually("it watches again", || store.info().unwrap().iter().any(|shard| shard.waiters == 1));
        assert_eq!(set.expire_in(Duration::from_secs(600)), Ok(false));
        assert_eq!(set.persist(), Ok(true));
        assert_eq!(set.expire_in(Duration::from_millis(1)), Ok(false));
        let versions = watcher.join().unwrap();
        assert_eq!(versions.last(), Some(&Err(CallError::Broken)), "{versions:?}");
        assert!(
            versions.len() > 2 && versions.is_sorted_by_key(|version| version.clone().unwrap_or(u64::MAX))
        );
    });
    assert_eq!(set.exists(), Ok(false));
}

#[test]
fn each_type_of_data_works_over_the_network() {
    let Some(node) = TestNode::start() else { return };
    let store = node.connect();
    let scores = store.sorted_map::<u64, String>("scores").persistent();
    scores.insert_many([(&90, "Ada"), (&75, "Grace"), (&80, "Barbara")]).unwrap();
    assert_eq!(scores.keys().collect::<Result<Vec<_>, _>>(), Ok(vec![75, 80, 90]));
    assert_eq!(scores.top(1), Ok(vec![(90, "Ada".to_owned())]));
    assert_eq!(scores.range(Some(&76), None::<&u64>).count(), 2);
    assert_eq!((scores.rank(&80), scores.floor(&79).unwrap().unwrap().0), (Ok(1), 75));
    let set = store.set::<String>("set");
    assert_eq!((set.extend(["a", "b", "a"]), set.iter().count()), (Ok(2), 2));
    let vector = store.vector::<f64>("vector", 3);
    vector.add_assign([1.0, 2.0, 3.0]).unwrap();
    vector.scale(2.0).unwrap();
    assert_eq!((vector.to_vec(), vector.dot([1.0, 0.0, 1.0])), (Ok(vec![2.0, 4.0, 6.0]), Ok(8.0)));
    let matrix = store.matrix::<i64>("matrix", 2, 2);
    matrix.set_row(1, [3, 4]).unwrap();
    assert_eq!(matrix.compute(1, 0, MergeOp::Sum, 5), Ok(8));
    assert_eq!((matrix.to_vec(), matrix.col(1)), (Ok(vec![0, 0, 8, 4]), Ok(vec![0, 4])));
    let blob = store.blob("blob").persistent();
    blob.write(b"abc").unwrap();
    assert_eq!(blob.append(b"def"), Ok(6));
    assert_eq!(blob.get_range(2, 2), Ok(b"cd".to_vec()));
    assert!(blob.digest().unwrap().starts_with("bef57ec7f53a6d40beb640a780a639c8"));
    let queue = store.bounded_queue::<u32>("queue", 1).persistent();
    assert_eq!((queue.offer(&1), queue.offer(&2), queue.take()), (Ok(true), Ok(false), Ok(1)));
    let urgent = store.priority_queue::<String>("urgent");
    urgent.push(2, "later").unwrap();
    urgent.push(1, "sooner").unwrap();
    assert_eq!(urgent.take(), Ok((1, "sooner".to_owned())));
    let topic = store.topic::<u32>("topic").persistent();
    for n in 0..3 {
        assert_eq!(topic.publish(&(n * 10)), Ok(u64::from(n)));
    }
    let followed: Vec<_> = topic.follow(1).take(2).map(|value| value.unwrap()).collect();
    assert_eq!(followed, [(1, 10), (2, 20)]);
    let ids = store.id_generator("ids");
    assert_eq!((ids.next_range(5), ids.next()), (Ok(0), Ok(5)));
    let rate = store.rate_limiter("rate", 1, Duration::from_secs(3600), 1);
    assert_eq!((rate.try_acquire(1), rate.try_acquire(1)), (Ok(true), Ok(false)));
}

#[test]
fn each_type_of_synchronisation_works_over_the_network() {
    let Some(node) = TestNode::start() else { return };
    let (store, other) = (node.connect(), node.connect());
    let waiting = || store.waits().count();

    let lock = store.rw_lock("lock");
    let reading = lock.write().unwrap().downgrade().unwrap();
    assert!(other.rw_lock("lock").try_read().unwrap().is_some());
    assert!(other.rw_lock("lock").try_write().unwrap().is_none());
    drop(reading);
    assert!(other.rw_lock("lock").try_write().unwrap().is_some());

    thread::scope(|scope| {
        let guard = store.condition("condition").lock().unwrap();
        let notifies = scope.spawn(|| other.condition("condition").lock().unwrap().notify_all());
        eventually("the other waits for the lock", || waiting() == 1);
        let guard = guard.wait().unwrap();
        assert_eq!(notifies.join().unwrap(), Ok(1));
        assert!(!guard.wait_timeout(Duration::from_millis(1)).unwrap().1);
    });

    let leadership = store.election("election").campaign("first").unwrap();
    thread::scope(|scope| {
        let next = scope.spawn(|| other.election("election").campaign("second").unwrap().token());
        eventually("the other campaigns", || waiting() == 1);
        let token = leadership.token();
        drop(leadership);
        assert!(next.join().unwrap() > token);
    });

    let phaser = store.phaser("phaser");
    thread::scope(|scope| {
        phaser.bulk_register(2).unwrap();
        let arrives = scope.spawn(|| phaser.arrive_and_wait());
        eventually("one has arrived", || phaser.arrived() == Ok(1));
        assert_eq!(phaser.arrive_and_wait(), Ok(1));
        assert_eq!(arrives.join().unwrap(), Ok(1));

        let mine = scope.spawn(|| store.exchanger::<String>("exchanger").exchange("mine"));
        assert_eq!(other.exchanger::<String>("exchanger").exchange("yours"), Ok("mine".to_owned()));
        assert_eq!(mine.join().unwrap(), Ok("yours".to_owned()));

        let waits = scope.spawn(|| store.event("event").wait());
        assert_eq!(other.event("event").set(), Ok(true));
        assert_eq!(waits.join().unwrap(), Ok(()));

        let looks_up = scope.spawn(|| store.rendezvous("peers").lookup("b"));
        other.rendezvous("peers").publish("b", "10.0.0.2").unwrap();
        assert_eq!(looks_up.join().unwrap(), Ok("10.0.0.2".to_owned()));
        assert_eq!(store.rendezvous("peers").names().count(), 1);

        let contributes = scope.spawn(|| store.reducer::<i64>("sums", 2, 2).contribute([1, 2]));
        assert_eq!(other.reducer::<i64>("sums", 2, 2).contribute([10, 20]), Ok(vec![11, 22]));
        assert_eq!(contributes.join().unwrap(), Ok(vec![11, 22]));
    });
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asynchronous_calls_go_on_with_the_node_that_comes_after() {
    let Some(mut node) = TestNode::start() else { return };
    let store = abide_client::AsyncStore::connect(&node.address.to_string()).await.unwrap();
    let counter = store.atomic_long("n").persistent();
    let latches: Vec<_> = (0..8).map(|n| store.count_down_latch(&format!("l{n}"), 1).persistent()).collect();
    assert_eq!(counter.increment_and_get().await, Ok(1));
    let waits: Vec<_> = latches.iter().map(|latch| latch.wait()).collect();
    while store.info().await.unwrap().iter().map(|shard| shard.waiters).sum::<u64>() < 8 {}
    for n in 2..4 {
        tokio::task::block_in_place(|| node.restart());
        assert_eq!(counter.increment_and_get().await, Ok(n));
    }
    for latch in &latches {
        latch.count_down(1).await.unwrap();
    }
    for wait in waits {
        assert_eq!(wait.await, Ok(()));
    }
}
