//! The node as its clients know it: the address that was given, and what the latest WELCOME said.

use super::{frames::frame_bytes, options::Settings};
use abide_net::{
    CallError, Request,
    frame::{Call, Welcome},
    limits::FRAME_BYTES_MAX,
    route::{NodeMap, ShardId, check_key, shard_of},
};
use abide_schema::{ObjectType, types::shard};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One incarnation of the node. Its map does not change as long as it lives.
#[derive(Debug)]
pub(crate) struct Incarnation {
    pub(crate) map: NodeMap,
    /// How long it lets a session of this client live without a sign of life.
    pub(crate) lease: Duration,
    /// The longest frame that it takes, without the length prefix.
    pub(crate) frame_bytes_max: usize,
    /// An address at which it answered. All cores are at the same host.
    reached_at: SocketAddr,
}

/// Which shard a call is for, and the core that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) shard: ShardId,
    pub(crate) core: usize,
}

impl Incarnation {
    pub(crate) fn new(reached_at: SocketAddr, welcome: &Welcome) -> Incarnation {
        let Welcome { epoch, shards, ref ports, .. } = *welcome;
        // Frames with an empty map are malformed, so no other WELCOME comes from a connection.
        assert!(shards > 0 && !ports.is_empty(), "a node has a shard and a core: {welcome:?}");
        // Never zero, so that parts of it can be waited for.
        let lease = Duration::from_millis(welcome.lease_ms.max(1).into());
        let frame_bytes_max = FRAME_BYTES_MAX.min(welcome.frame_bytes_max as usize);
        let map = NodeMap { epoch, shards, ports: ports.clone() };
        Incarnation { map, lease, frame_bytes_max, reached_at }
    }

    /// Where a request belongs. Refuses what no node could take: keys, shards, and frames that are too long.
    pub(crate) fn route(&self, request: &Request<'_>) -> Result<Route, CallError> {
        let shards = self.map.shards;
        if frame_bytes(request) > self.frame_bytes_max {
            return Err(CallError::TooLarge { max: self.frame_bytes_max as u64 });
        }
        let shard = match request.shard {
            Some(shard) => shard,
            None => {
                check_key(request.key)?;
                shard_of(request.type_id, request.key, shards)
            }
        };
        self.route_to(shard)
    }

    /// Where a call belongs that was encoded for an earlier incarnation: the asynchronous client keeps calls so.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    pub(crate) fn route_again(&self, call: &Call<'_>) -> Result<Route, CallError> {
        let is_for_shard = call.type_id == shard::Type::ID;
        self.route_to(if is_for_shard {
            call.shard
        } else {
            shard_of(call.type_id, call.key, self.map.shards)
        })
    }

    fn route_to(&self, shard: ShardId) -> Result<Route, CallError> {
        let shards = self.map.shards;
        if shard >= shards {
            return Err(CallError::bad_argument(format!("shard {shard} of {shards}")));
        }
        Ok(Route { shard, core: self.map.core_of(shard) })
    }

    /// A third of the lease: when two in a row are lost, the next is still in time.
    pub(crate) fn heartbeat_every(&self) -> Duration {
        self.lease / 3
    }

    pub(crate) fn cores(&self) -> usize {
        self.map.ports.len()
    }

    /// The core's own port.
    pub(crate) fn address_of(&self, core: usize) -> SocketAddr {
        let mut address = self.reached_at;
        address.set_port(self.map.ports[core]);
        address
    }
}

/// What all sessions of one `connect` share.
#[derive(Debug)]
pub(crate) struct Node {
    /// As it was given: resolved again whenever the node is not where it was.
    pub(crate) address: String,
    pub(crate) settings: Settings,
    latest: Mutex<Arc<Incarnation>>,
}

impl Node {
    /// A node that was reached.
    pub(crate) fn new(address: String, settings: Settings, incarnation: Incarnation) -> Node {
        Node { address, settings, latest: Mutex::new(Arc::new(incarnation)) }
    }

    /// The incarnation that answered last.
    pub(crate) fn latest(&self) -> Arc<Incarnation> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what a WELCOME said.
    pub(crate) fn welcomed(&self, reached_at: SocketAddr, welcome: &Welcome) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        // Not only a greater epoch: a clock may have been set back. Should two WELCOMEs overtake one another,
        // the next connection puts it right.
        if welcome.epoch != latest.map.epoch {
            tracing::info!(address = self.address, epoch = welcome.epoch, "the node was restarted");
            *latest = Arc::new(Incarnation::new(reached_at, welcome));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::remote::options::RemoteOptions;
    use abide_net::{Creation, MethodKind};

    pub(crate) fn welcome(epoch: u64, shards: u32, ports: &[u16]) -> Welcome {
        Welcome { epoch, lease_ms: 10_000, frame_bytes_max: 1 << 20, shards, core: 0, ports: ports.to_vec() }
    }

    pub(crate) fn incarnation(epoch: u64, shards: u32, ports: &[u16]) -> Incarnation {
        Incarnation::new("127.0.0.1:7400".parse().unwrap(), &welcome(epoch, shards, ports))
    }

    pub(crate) fn request(key: &str, kind: MethodKind) -> Request<'_> {
        let (creation, shard) = (Creation::Never, None);
        let (epoch, replicas) = (0, None);
        Request {
            type_id: 3,
            key,
            shard,
            method: 1,
            kind,
            creation,
            epoch,
            replicas,
            arguments: b"arguments",
        }
    }

    #[test]
    fn a_request_goes_to_the_core_that_owns_its_shard() {
        let node = incarnation(1, 8, &[7400, 7401, 7402]);
        for n in 0..100 {
            let key = format!("key-{n}");
            let route = node.route(&request(&key, MethodKind::Read)).unwrap();
            assert_eq!(route.shard, shard_of(3, &key, 8));
            assert_eq!(route.core, route.shard as usize % 3);
            assert_eq!(node.address_of(route.core).port(), 7400 + route.core as u16);
        }
        let to_shard = Request { shard: Some(7), key: "", ..request("", MethodKind::Read) };
        assert_eq!(node.route(&to_shard), Ok(Route { shard: 7, core: 1 }));
    }

    #[test]
    fn keys_and_shards_that_no_node_has_are_refused() {
        let node = incarnation(1, 8, &[7400]);
        let long = "k".repeat(513);
        assert!(matches!(node.route(&request("", MethodKind::Read)), Err(CallError::BadArgument { .. })));
        assert_eq!(node.route(&request(&long, MethodKind::Read)), Err(CallError::TooLarge { max: 512 }));
        let long = vec![1; 1 << 20];
        let long = Request { arguments: &long, ..request("key", MethodKind::Read) };
        assert_eq!(node.route(&long), Err(CallError::TooLarge { max: 1 << 20 }));
        let to_shard = Request { shard: Some(8), ..request("", MethodKind::Read) };
        assert!(matches!(node.route(&to_shard), Err(CallError::BadArgument { .. })));
    }

    #[test]
    fn the_latest_welcome_says_where_the_node_is() {
        let settings = RemoteOptions::default().resolve().unwrap();
        let node = Node::new("node:7400".to_owned(), settings, incarnation(5, 4, &[1]));
        let before = node.latest();
        node.welcomed("127.0.0.1:7400".parse().unwrap(), &welcome(5, 4, &[1]));
        assert!(Arc::ptr_eq(&before, &node.latest()), "the same incarnation stays the same");
        node.welcomed("127.0.0.2:9".parse().unwrap(), &welcome(6, 2, &[2]));
        let latest = node.latest();
        assert_eq!((latest.map.epoch, latest.map.shards), (6, 2));
        assert_eq!(latest.address_of(0), "127.0.0.2:2".parse().unwrap());
    }
}
