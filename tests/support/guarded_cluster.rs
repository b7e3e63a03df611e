//! A Cassandra of one node that speaks TLS alone, wants to see a certificate and asks for a user and a password.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod services;

use crate::certificates::{self, Authority};
use godwit_services::{Guard, Process, guarded_cassandra};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use scylla::client::{session::Session, session::TlsContext, session_builder::SessionBuilder};
use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// On a machine that has much else to do.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// Killed when the value is dropped.
pub struct GuardedCluster {
    pub address: SocketAddr,
    /// Who has signed the node's certificate and may sign those of clients.
    pub ca: PathBuf,
    /// A certificate that the node trusts, and its key.
    pub client: (PathBuf, PathBuf),
    runtime: Runtime,
    /// Of the administrator.
    session: Option<Session>,
    process: Process,
    directory: TempDir,
}

impl GuardedCluster {
    /// Waits until it lets its administrator in. `None`: somebody said that tests that need servers are left out.
    pub fn start() -> Option<Self> {
        if env::var_os("GODWIT_TEST_WITHOUT_SERVICES").is_some() {
            services::leave_out("it starts a Cassandra of its own", "Cassandra");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let authority = Authority::new("the authority");
        let ca = certificates::write(at, "ca.pem", &authority.pem);
        let identity = certificates::write(at, "node.pem", &authority.certify(&["127.0.0.1"]).together());
        let client = authority.certify(&["godwit"]).write(at, "client");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let guard = Guard { identity: &identity, clients: &ca };
        let launch = guarded_cassandra(&at.join("node"), address, guard).unwrap();
        let process = launch.start(&at.join("log")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut cluster = Self { address, ca, client, runtime, session: None, process, directory };
        cluster.session = Some(cluster.log_in());
        Some(cluster)
    }

    /// Runs a statement as the administrator.
    pub fn execute(&self, cql: &str) {
        let session = self.session.as_ref().unwrap();
        self.runtime.block_on(session.query_unpaged(cql, ())).unwrap();
    }

    /// Writes a file beside the certificates.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        certificates::write(self.directory(), name, text)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The same node at an address that its certificate does not name, as long as the test runs.
    pub fn elsewhere(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        let (here, node) = (listener.local_addr().unwrap(), self.address);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, node) = (client.unwrap(), TcpStream::connect(node).unwrap());
                pass_on(client.try_clone().unwrap(), node.try_clone().unwrap());
                pass_on(node, client);
            }
        });
        here
    }

    fn log_in(&self) -> Session {
        let tls = TlsContext::from(self.tls());
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let builder = SessionBuilder::new().known_node(self.address.to_string()).tls_context(Some(tls.clone()));
            match self.runtime.block_on(builder.user("cassandra", "cassandra").build()) {
                Ok(session) => return session,
                Err(error) if !self.process.runs() || Instant::now() > deadline => {
                    let log = fs::read_to_string(self.directory().join("log")).unwrap_or_default();
                    panic!("Cassandra does not let us in: {error}\n{log}");
                }
                Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn tls(&self) -> Arc<ClientConfig> {
        let certificates = |path: &Path| {
            CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect::<Vec<CertificateDer<'static>>>()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&self.ca));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.client.1).unwrap();
        let config = builder.with_root_certificates(roots).with_client_auth_cert(certificates(&self.client.0), key);
        Arc::new(config.unwrap())
    }
}

impl Drop for GuardedCluster {
    fn drop(&mut self) {
        // Whatever became of the test, its memory is needed.
        self.process.kill().unwrap();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // Either end may hang up.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
