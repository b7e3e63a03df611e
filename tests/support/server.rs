//! A whole server in this process, on loopback and a directory of its own.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use godwit::{config::Config, server::Server};
use std::net::SocketAddr;

pub struct TestServer {
    pub server: Option<Server>,
    pub config: Config,
    _directory: tempfile::TempDir,
}

impl TestServer {
    pub fn start() -> Self {
        Self::start_with(|_| ())
    }

    /// Password hashing is made cheap, because it is not what these tests are about.
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), cores: 2, ..Config::default() };
        config.data_dir = directory.path().join("data");
        config.metrics.enabled = false;
        config.password.memory_kib = 8;
        config.password.iterations = 1;
        change(&mut config);
        let server = Server::start(&config).unwrap();
        Self { server: Some(server), config, _directory: directory }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address()
    }

    pub fn fingerprint(&self) -> String {
        self.server.as_ref().unwrap().fingerprint().to_owned()
    }

    /// Stops in order and starts again on the same directory and port.
    pub fn restart(&mut self) {
        let server = self.server.take().unwrap();
        self.config.listen = server.address();
        server.stop();
        self.server = Some(Server::start(&self.config).unwrap());
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}
