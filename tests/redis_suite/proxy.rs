//! A way to Redis that can be held up and cut.

use super::RUNTIME;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes bytes on, connection by connection.
pub struct Proxy {
    address: SocketAddr,
    database: String,
    inner: Arc<Inner>,
}

struct Inner {
    target: String,
    /// How new connections begin.
    begin: Mutex<Pass>,
    connections: Mutex<Vec<watch::Sender<Pass>>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Pass {
    /// What comes is passed on.
    Through,
    /// What comes waits, in order, even if its sender has gone.
    Held,
    Cut,
}

impl Proxy {
    /// In front of the server at a URL.
    pub fn before(url: &str) -> Self {
        let rest = url.strip_prefix("redis://").unwrap();
        let (target, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (target, database) = (target.to_owned(), database.to_owned());
        let target = if target.contains(':') { target } else { format!("{target}:6379") };
        let inner = Arc::new(Inner { target, begin: Mutex::new(Pass::Through), connections: Mutex::default() });
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        RUNTIME.spawn(accept(listener, inner.clone()));
        Self { address, database, inner }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/{}", self.address, self.database)
    }

    /// Nothing gets through any more, nor on new connections.
    pub fn hold(&self) {
        *self.inner.begin.lock().unwrap() = Pass::Held;
        self.hold_these();
    }

    /// Nothing gets through on the connections that there are.
    pub fn hold_these(&self) {
        self.all(Pass::Held);
    }

    /// What was held gets through, and so does all that comes.
    pub fn release(&self) {
        *self.inner.begin.lock().unwrap() = Pass::Through;
        self.all(Pass::Through);
    }

    /// Ends all connections. What was held is lost.
    pub fn cut(&self) {
        self.all(Pass::Cut);
    }

    /// Ends all connections, and each new one at once.
    pub fn refuse(&self) {
        *self.inner.begin.lock().unwrap() = Pass::Cut;
        self.cut();
    }

    fn all(&self, pass: Pass) {
        for connection in &*self.inner.connections.lock().unwrap() {
            connection.send_modify(|held| {
                if *held != Pass::Cut {
                    *held = pass;
                }
            });
        }
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(&inner.target).await else { continue };
        let (pass, watched) = watch::channel(*inner.begin.lock().unwrap());
        inner.connections.lock().unwrap().push(pass);
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        RUNTIME.spawn(copy(near_read, far_write, watched.clone()));
        RUNTIME.spawn(copy(far_read, near_write, watched));
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut pass: watch::Receiver<Pass>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = pass.wait_for(|pass| *pass == Pass::Cut) => return,
        };
        if pass.wait_for(|pass| *pass != Pass::Held).await.is_ok_and(|pass| *pass == Pass::Cut) {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
