//! A node, behind TCP.

use super::{
    Envelope, PATIENCE, Store,
    raw_client::{LOOK_SLOT, RawClient, Said},
};
use crate::model::{CallId, Session, world::Answers};
use abide_net::MethodKind;
use abide_pmem::Persistence;
use abide_shards::{
    node::{Node, NodeConfig, StartError},
    regions::DataOptions,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

/// A node on a free port, or nothing where io_uring is forbidden.
pub(crate) fn start_node(data: Option<&DataOptions>) -> Option<Node> {
    let config = NodeConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        shards: Some(3),
        data: data.cloned(),
        ..NodeConfig::default()
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    match Node::start(&NodeConfig { cores: Some(cores), ..config }) {
        Ok(node) => Some(node),
        Err(StartError::Forbidden(error)) => {
            eprintln!("SKIPPED: io_uring is forbidden here ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub(crate) struct Tcp {
    data: Option<DataOptions>,
    _directory: Option<tempfile::TempDir>,
    node: Option<Node>,
    clients: BTreeMap<Session, RawClient>,
    names: HashMap<(Session, u32, u64), CallId>,
    sender: Sender<Said>,
    said: Receiver<Said>,
    answers: Answers,
    /// Looks at shards that are not answered yet.
    looks: u32,
    looked: u64,
}

impl Tcp {
    /// A node with a place for persistent objects, or without; or nothing where io_uring is forbidden.
    pub(crate) fn new(persistent: bool) -> Option<Tcp> {
        let directory = persistent.then(|| tempfile::tempdir().expect("a directory"));
        let data = directory.as_ref().map(|directory| DataOptions {
            force_file_system: true,
            ..DataOptions::new(directory.path().join("data"), Persistence::ProcessCrash)
        });
        let node = start_node(data.as_ref())?;
        let (sender, said) = channel();
        Some(Tcp {
            data,
            _directory: directory,
            node: Some(node),
            clients: BTreeMap::new(),
            names: HashMap::new(),
            sender,
            said,
            answers: Answers::new(),
            looks: 0,
            looked: 0,
        })
    }

    fn connect(&mut self, session: Session) {
        let addresses = self.node.as_ref().expect("it runs").addresses();
        let address = addresses[session as usize % addresses.len()];
        self.clients.insert(session, RawClient::connect(address, session, self.sender.clone()));
    }

    fn client(&mut self, session: Session) -> &mut RawClient {
        self.clients.get_mut(&session).expect("the session is there")
    }

    fn send(&mut self, envelope: &Envelope, retry: bool) {
        self.names.insert((envelope.session, envelope.slot, envelope.sequence), envelope.call);
        self.client(envelope.session).send(envelope, retry);
        if envelope.asked.kind == MethodKind::Wait {
            self.look(envelope.session);
        }
    }

    /// Returns when all shards have done what this session asked of them before: connections are not ordered among each
    /// other, and a call that waits gives no sign that it has come.
    fn look(&mut self, session: Session) {
        self.looked += 1;
        let sequence = self.looked;
        self.looks += self.client(session).look(sequence);
        let until = Instant::now() + PATIENCE;
        while self.looks > 0 {
            let left = until.saturating_duration_since(Instant::now());
            assert!(self.hear(left), "a shard does not answer");
        }
    }

    /// Takes in what the node says next. Says whether it said something in time.
    fn hear(&mut self, patience: Duration) -> bool {
        match self.said.recv_timeout(patience) {
            Ok(Said::Reply { slot, .. }) if slot >= LOOK_SLOT => self.looks -= 1,
            Ok(Said::Reply { session, slot, sequence, answer }) => {
                let call = self.names.get(&(session, slot, sequence)).copied();
                self.answers.push((call.expect("an answer is to a call"), answer));
            }
            Ok(Said::Alive(alive)) => assert!(alive, "a session has not survived"),
            Ok(Said::Odd(odd)) => panic!("the node said {odd}"),
            Err(_) => return false,
        }
        true
    }
}

impl Store for Tcp {
    fn begin(&mut self, session: Session) {
        self.connect(session);
    }

    fn start(&mut self, envelope: &Envelope) {
        self.send(envelope, false);
    }

    fn retry(&mut self, envelope: &Envelope) -> bool {
        self.send(envelope, true);
        true
    }

    fn cancel(&mut self, envelope: &Envelope) -> bool {
        self.client(envelope.session).cancel(envelope);
        self.look(envelope.session);
        true
    }

    /// The look begins a session of the same name, which holds nothing; it ends too.
    fn end(&mut self, session: Session) -> bool {
        self.client(session).goodbye();
        self.look(session);
        self.client(session).goodbye();
        true
    }

    fn pass_until(&mut self, _: u64) {}

    fn restart(&mut self, _: bool, waiting: &[Envelope]) {
        let sessions: Vec<Session> = std::mem::take(&mut self.clients).into_keys().collect();
        self.node.take().expect("it runs").stop().expect("it stops in order");
        self.node = start_node(self.data.as_ref());
        sessions.into_iter().for_each(|session| self.connect(session));
        for envelope in waiting {
            self.send(envelope, true);
        }
        // What a session had answered once is asked for again by the run; that it lives is asked here.
        for client in self.clients.values_mut() {
            client.heartbeat();
        }
    }

    fn answers(&mut self, expected: usize) -> Answers {
        let until = Instant::now() + PATIENCE;
        while self.answers.len() < expected && self.hear(until.saturating_duration_since(Instant::now())) {}
        while self.hear(Duration::ZERO) {}
        std::mem::take(&mut self.answers)
    }
}
