//! The listener: `/metrics`, `/health/live`, `/health/ready`, and what [`OfflineNotices`] answers.

use super::{Health, OfflineNotices, Stage};
use crate::telemetry::MetricsText;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{Semaphore, oneshot},
    time::{interval, sleep, timeout},
};

/// Requests at the same time. An operator needs two or three.
const CONNECTIONS_MAX: usize = 32;
/// The whole of one connection: one request, then it is closed.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How often histograms are folded.
const FOLD_EVERY: Duration = Duration::from_secs(5);
/// How long to wait when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const DEAD_LETTERS: &str = "/offline/dead-letters";
const REPLAY: &str = "/offline/replay";

/// Answers operators until it is dropped.
#[derive(Debug)]
pub struct AdminListener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminListener {
    /// Listens. When this returns, requests are answered.
    pub fn start(
        listen: SocketAddr,
        metrics: MetricsText,
        health: Health,
        offline: Arc<dyn OfflineNotices>,
    ) -> Result<Self, AdminError> {
        let shown = Arc::new(Shown { metrics, health, offline });
        let failed = |error| AdminError { listen, error };
        let listener = StdListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, shown) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: the port that was found if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        // Both are gone if the thread died, which its own panic message has told.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What operators get to see.
struct Shown {
    metrics: MetricsText,
    health: Health,
    offline: Arc<dyn OfflineNotices>,
}

async fn serve(listener: StdListener, shown: Arc<Shown>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "metrics and health are not served"),
    };
    let fold = shown.metrics.clone();
    tokio::spawn(async move {
        let mut tick = interval(FOLD_EVERY);
        loop {
            tick.tick().await;
            fold.fold();
        }
    });
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed; if it were, nobody could be served.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shown = shown.clone();
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION_TIMEOUT, answer(stream, &shown)).await;
                    drop(permit);
                });
            }
            // Out of sockets, mostly: another connection has to end first.
            Err(error) => {
                tracing::debug!(%error, "a request for metrics or health was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, shown: &Shown) {
    let service = service_fn(|request: Request<_>| {
        let response = respond(&request, shown);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request for metrics or health was not answered");
    }
}

fn respond<B>(request: &Request<B>, shown: &Shown) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (is_allowed, allowed) = match path {
        REPLAY => (*request.method() == Method::POST, "POST"),
        "/metrics" | "/health/live" | "/health/ready" | DEAD_LETTERS => {
            (matches!(*request.method(), Method::GET | Method::HEAD), "GET, HEAD")
        }
        // Whatever was meant, it is not here.
        _ => (true, ""),
    };
    if !is_allowed {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}\n"));
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return refused;
    }
    match path {
        "/metrics" => text(StatusCode::OK, shown.metrics.render()),
        // That it is answered says that the process runs; a core that dies ends the process.
        "/health/live" => text(StatusCode::OK, "live\n"),
        "/health/ready" => match shown.health.stage() {
            Stage::Serving => text(StatusCode::OK, "ready\n"),
            Stage::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            Stage::Waiting => text(StatusCode::SERVICE_UNAVAILABLE, "waiting\n"),
            Stage::Lapsed => text(StatusCode::SERVICE_UNAVAILABLE, "lapsed\n"),
            Stage::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        },
        DEAD_LETTERS => json(shown.offline.dead_letters()),
        REPLAY => json(shown.offline.replay()),
        _ => text(
            StatusCode::NOT_FOUND,
            format!("/metrics, /health/live, /health/ready, {DEAD_LETTERS}, POST {REPLAY}\n"),
        ),
    }
}

fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    // The version is that of the Prometheus text format.
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// The address cannot be listened on.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {listen} for metrics and health: {error}; set metrics.listen to another address, or \
     metrics.enabled = false"
)]
pub struct AdminError {
    /// As configured.
    pub listen: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{metric, recorder_tests::local};
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream as StdStream};
    use std::sync::atomic::{AtomicBool, Ordering};

    struct TwoLetters;

    impl OfflineNotices for TwoLetters {
        fn dead_letters(&self) -> String {
            "[1,2]".into()
        }

        fn replay(&self) -> String {
            "2".into()
        }
    }

    fn start(metrics: MetricsText, health: &Health) -> AdminListener {
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        AdminListener::start(listen, metrics, health.clone(), Arc::new(TwoLetters)).unwrap()
    }

    fn ask(listener: &AdminListener, head: &str) -> String {
        let mut stream = StdStream::connect(listener.address()).unwrap();
        write!(stream, "{head} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_scrape_gets_the_metrics() {
        let metrics = local(|| metrics::counter!(metric::RESYNCS).increment(2));
        let answer = ask(&start(metrics, &Health::default()), "GET /metrics");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("version=0.0.4") && answer.contains("godwit_resyncs_total 2"), "{answer}");
    }

    #[test]
    fn ready_follows_the_stage_and_live_does_not() {
        let health = Health::default();
        let listener = start(local(|| {}), &health);
        let is_held = Arc::new(AtomicBool::new(true));
        let steps: [(&dyn Fn(), &str, &str); 6] = [
            (&|| health.set(Stage::Starting), "503", "starting"),
            (&|| health.set(Stage::Waiting), "503", "waiting"),
            (
                &|| {
                    let is_held = is_held.clone();
                    health.serve(move || is_held.load(Ordering::Relaxed));
                },
                "200",
                "ready",
            ),
            (&|| is_held.store(false, Ordering::Relaxed), "503", "lapsed"),
            (&|| is_held.store(true, Ordering::Relaxed), "200", "ready"),
            (&|| health.set(Stage::Draining), "503", "draining"),
        ];
        for (step, status, word) in steps {
            step();
            let answer = ask(&listener, "GET /health/ready");
            assert_eq!(answer.split(' ').nth(1), Some(status), "{word}");
            assert!(answer.ends_with(&format!("{word}\n")), "{answer}");
            assert!(ask(&listener, "GET /health/live").starts_with("HTTP/1.1 200"));
        }
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let listener = start(local(|| {}), &Health::default());
        assert!(ask(&listener, "GET /").starts_with("HTTP/1.1 404"));
        assert!(ask(&listener, "POST /metrics").starts_with("HTTP/1.1 405"));
        assert!(ask(&listener, "POST /offline/replay/").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn dead_letters_are_shown_and_replayed_by_a_post_alone() {
        let listener = start(local(|| {}), &Health::default());
        let shown = ask(&listener, "GET /offline/dead-letters");
        assert!(shown.contains("application/json") && shown.ends_with("[1,2]"), "{shown}");
        assert!(ask(&listener, "GET /offline/replay").starts_with("HTTP/1.1 405"));
        assert!(ask(&listener, "POST /offline/dead-letters").starts_with("HTTP/1.1 405"));
        assert!(ask(&listener, "POST /offline/replay").ends_with("\r\n\r\n2"));
    }

    #[test]
    fn a_client_that_says_nothing_does_not_keep_others_waiting() {
        let listener = start(local(|| {}), &Health::default());
        let _silent: Vec<_> = (0..10).map(|_| StdStream::connect(listener.address()).unwrap()).collect();
        assert!(ask(&listener, "GET /health/live").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn a_taken_address_is_an_error_that_says_what_to_do() {
        let listener = start(local(|| {}), &Health::default());
        let (listen, letters) = (listener.address(), Arc::new(TwoLetters));
        let error = AdminListener::start(listen, local(|| {}), Health::default(), letters).unwrap_err();
        assert!(error.to_string().contains("metrics.listen"), "{error}");
    }

    #[test]
    fn it_stops_listening_when_dropped() {
        let listener = start(local(|| {}), &Health::default());
        let address = listener.address();
        drop(listener);
        assert!(StdStream::connect(address).is_err());
    }
}
