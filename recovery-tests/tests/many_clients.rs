//! Many processes share one object, and nothing is lost or doubled.

mod support;

use abide::Store;
use support::Server;

#[test]
fn two_hundred_cloud_threads_over_ten_processes_add_exactly_what_they_add() {
    let Some(server) = Server::start(10_000) else { return };
    let add = ["add", "--threads", "20", "--times", "1000"];
    let clients: Vec<_> = (0..10).map(|_| server.client(&add)).collect();
    clients.into_iter().for_each(|client| drop(client.finish()));
    let store = Store::connect(&server.address).unwrap();
    assert_eq!(store.atomic_long("total").get().unwrap(), 200_000);
}

#[test]
fn a_barrier_of_64_parties_over_8_processes_gives_each_index_once_in_each_of_1000_generations() {
    let Some(server) = Server::start(10_000) else { return };
    let (parties, generations) = (64_usize, 1_000_usize);
    let meet = ["meet", "--threads", "8", "--parties", "64", "--generations", "1000"];
    let clients: Vec<_> = (0..8).map(|_| server.client(&meet)).collect();
    let mut seen = vec![vec![0; parties]; generations];
    for client in clients {
        for line in client.finish().lines() {
            let (generation, index) = line.split_once(' ').unwrap();
            seen[generation.parse::<usize>().unwrap()][index.parse::<usize>().unwrap()] += 1;
        }
    }
    for (generation, indexes) in seen.iter().enumerate() {
        assert!(indexes.iter().all(|count| *count == 1), "generation {generation}: {indexes:?}");
    }
}
