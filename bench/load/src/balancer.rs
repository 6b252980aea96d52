//! A round-robin in front of several processes. It hands each connection to the next one that takes
//! it, and retries nothing: what was sent to a process that dies is lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A process behind it.
struct Backend {
    address: SocketAddr,
    open: AtomicUsize,
    opened: AtomicUsize,
}

/// A running round-robin; gone when dropped.
pub(crate) struct Balancer {
    address: SocketAddr,
    backends: Arc<Vec<Backend>>,
    _accepting: JoinSet<()>,
}

/// One more open connection, until it is dropped.
struct Open<'a>(&'a AtomicUsize);

impl Balancer {
    /// Listens in front of the processes on these ports.
    ///
    /// # Errors
    /// When there is no free port.
    pub(crate) async fn start(ports: impl IntoIterator<Item = u16>) -> Result<Self> {
        let backend = |port| Backend {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            open: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
        };
        let backends = Arc::new(ports.into_iter().map(backend).collect::<Vec<_>>());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&backends)));
        Ok(Self {
            address,
            backends,
            _accepting: accepting,
        })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections to this process are open.
    pub(crate) fn open(&self, number: usize) -> usize {
        let backend = self.backends.get(number);
        backend.map_or(0, |backend| backend.open.load(Ordering::SeqCst))
    }

    /// How many connections to it were ever opened.
    pub(crate) fn opened(&self, number: usize) -> usize {
        let backend = self.backends.get(number);
        backend.map_or(0, |backend| backend.opened.load(Ordering::SeqCst))
    }
}

async fn accept(listener: TcpListener, backends: Arc<Vec<Backend>>) {
    let turn = Arc::new(AtomicU64::new(0));
    let mut conversations = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while conversations.try_join_next().is_some() {}
        let (backends, turn) = (Arc::clone(&backends), Arc::clone(&turn));
        conversations.spawn(async move {
            // Whoever is cut off learns it from the connection.
            let _cut_off = converse(client, &backends, &turn).await;
        });
    }
}

async fn converse(
    mut client: TcpStream,
    backends: &[Backend],
    turn: &AtomicU64,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    loop {
        for _ in backends {
            let turn = usize::try_from(turn.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
            let Some(backend) = backends.get(turn % backends.len()) else {
                continue;
            };
            // Counted before it is connected: a kill in between is one that it was open at.
            let _open = Open::new(&backend.open);
            backend.opened.fetch_add(1, Ordering::SeqCst);
            // Nothing was sent yet, so this is not a retry.
            if let Ok(mut server) = TcpStream::connect(backend.address).await {
                server.set_nodelay(true)?;
                copy_bidirectional(&mut client, &mut server).await?;
                return Ok(());
            }
        }
        tokio::task::yield_now().await;
    }
}

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
