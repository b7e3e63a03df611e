//! A relay between a Godwit server and its CQL server, which loses, keeps back and cuts what it should pass on.

use super::frame::{Frame, RESULT};
use anyhow::Context;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// Listens where the database says that it listens, and passes everything on. Dropping it closes all connections.
#[derive(Debug)]
pub struct CqlProxy {
    state: Arc<State>,
    accepting: AbortHandle,
}

/// What goes wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weather {
    /// Nothing.
    Clear,
    /// Every answer is lost with this chance, and what was asked is done.
    LoseReplies { chance: f64 },
    /// The next answer is not passed on; its connection ends instead, and what was asked is done.
    CutReplies,
    /// Answers arrive when it is over, in order.
    HoldReplies,
    /// Requests arrive when it is over, in order, even if whoever sent them is no more.
    HoldRequests,
}

impl CqlProxy {
    /// Listens on one address for a database on another.
    pub async fn start(listen: SocketAddr, database: SocketAddr, seed: u64) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("the proxy cannot listen on {listen}"))?;
        Ok(Self::over(listener, database, seed))
    }

    fn over(listener: TcpListener, database: SocketAddr, seed: u64) -> Self {
        let (forecast, _) = watch::channel(Forecast { weather: Weather::Clear, connections: 0 });
        let state = Arc::new(State { database, forecast, seed, opened: AtomicU64::new(0), hits: AtomicU64::new(0) });
        let accepting = tokio::spawn(accept(listener, state.clone())).abort_handle();
        Self { state, accepting }
    }

    /// Has something go wrong for a while. Returns how many answers or chunks of requests it struck.
    pub async fn under(&self, weather: Weather, time: Duration) -> u64 {
        let before = self.hits();
        self.turn(weather);
        sleep(time).await;
        self.turn(Weather::Clear);
        self.hits() - before
    }

    /// Changes the weather for the connections that there are. Whoever connects after that has none of it.
    fn turn(&self, weather: Weather) {
        let connections = self.state.opened.load(Ordering::Relaxed);
        self.state.forecast.send_replace(Forecast { weather, connections });
    }

    fn hits(&self) -> u64 {
        self.state.hits.load(Ordering::Relaxed)
    }
}

impl Drop for CqlProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Debug)]
struct State {
    database: SocketAddr,
    forecast: watch::Sender<Forecast>,
    seed: u64,
    opened: AtomicU64,
    hits: AtomicU64,
}

/// The weather, and how many connections had been opened when it set in.
#[derive(Debug, Clone, Copy)]
struct Forecast {
    weather: Weather,
    connections: u64,
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Ends its tasks when it is dropped.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                let number = state.opened.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(client, state.clone(), number));
            }
            // Too many open files, perhaps; it passes.
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// One connection. A database that is not there refuses it, as it would without a proxy.
async fn serve(client: TcpStream, state: Arc<State>, number: u64) {
    let Ok(database) = TcpStream::connect(state.database).await else { return };
    // Only a delay, should it fail.
    let _ = client.set_nodelay(true);
    let _ = database.set_nodelay(true);
    let (requests, answers_to) = client.into_split();
    let (answers, requests_to) = database.into_split();
    let way = |weather: watch::Receiver<Forecast>| Way { weather, state: state.clone(), number };
    let replies = pass_replies(answers, answers_to, way(state.forecast.subscribe()));
    let requests = pass_requests(requests, requests_to, way(state.forecast.subscribe()));
    // A connection that is cut takes its requests with it; one whose client is gone still delivers what it has sent.
    tokio::select! {
        _ = replies => {}
        _ = async { requests.await.ok(); std::future::pending::<()>().await } => {}
    }
}

/// One direction of a connection.
struct Way {
    weather: watch::Receiver<Forecast>,
    state: Arc<State>,
    number: u64,
}

impl Way {
    fn weather(&self) -> Weather {
        let forecast = *self.weather.borrow();
        if self.number < forecast.connections { forecast.weather } else { Weather::Clear }
    }

    /// Until it is another weather than this.
    async fn outlast(&mut self, weather: Weather) {
        while self.weather() == weather && self.weather.changed().await.is_ok() {}
    }

    fn hit(&self) {
        self.state.hits.fetch_add(1, Ordering::Relaxed);
    }
}

/// Until the database ends the connection, or the weather does.
async fn pass_replies(from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: Way) -> io::Result<()> {
    let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(way.state.seed ^ way.number);
    let mut ready = Vec::new();
    while let Some(frame) = Frame::read(&mut from).await? {
        let is_result = frame.opcode() == RESULT;
        match way.weather() {
            Weather::LoseReplies { chance } if is_result && rng.random_bool(chance) => way.hit(),
            Weather::CutReplies if is_result => {
                way.hit();
                return Ok(());
            }
            weather => {
                if weather == Weather::HoldReplies {
                    way.hit();
                    way.outlast(weather).await;
                }
                ready.extend_from_slice(frame.as_bytes());
            }
        }
        if from.buffer().is_empty() || ready.len() >= BUFFER_BYTES {
            // Whoever asked may be gone; what was asked is still to be done.
            let _ = to.write_all(&ready).await;
            ready.clear();
        }
    }
    let _ = to.write_all(&ready).await;
    Ok(())
}

/// Until the client ends the connection and all that it sent has arrived.
async fn pass_requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: Way) -> io::Result<()> {
    let mut held = Vec::new();
    let mut chunk = vec![0; BUFFER_BYTES];
    let mut open = true;
    while open || !held.is_empty() {
        let weather = way.weather();
        if weather != Weather::HoldRequests && !held.is_empty() {
            to.write_all(&held).await?;
            held.clear();
            continue;
        }
        tokio::select! {
            // Someone who was killed ends it with an error, and what came before that counts.
            read = from.read(&mut chunk), if open && held.len() < HELD_BYTES_MAX => match read {
                Ok(0) | Err(_) => open = false,
                Ok(bytes) => {
                    if weather == Weather::HoldRequests {
                        way.hit();
                    }
                    held.extend_from_slice(&chunk[..bytes]);
                }
            },
            () = way.outlast(weather) => {}
        }
    }
    to.shutdown().await
}

const BUFFER_BYTES: usize = 64 * 1024;
/// Of one connection; a client that sends more waits.
const HELD_BYTES_MAX: usize = 16 << 20;
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
