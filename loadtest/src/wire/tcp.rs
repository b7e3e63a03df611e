//! TLS connections over TCP.

use super::{
    FrameReader,
    streams::{Connection, Streams},
};
use crate::tcp;
use anyhow::{Context, bail};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

/// Opens them, each from a socket of its own.
pub struct TcpDialer {
    server: SocketAddr,
    connector: TlsConnector,
}

impl TcpDialer {
    pub fn new(server: SocketAddr, tls: ClientConfig) -> Self {
        Self { server, connector: TlsConnector::from(Arc::new(tls)) }
    }

    /// Connects.
    pub async fn dial(&self) -> anyhow::Result<Streams> {
        let connecting = async {
            let stream = tcp::connect(self.server).await?;
            self.connector.connect(ServerName::try_from("localhost")?, stream).await.map_err(anyhow::Error::from)
        };
        let Ok(connected) = timeout(CONNECT_MAX, connecting).await else {
            bail!("connecting to {} took longer than {CONNECT_MAX:?}", self.server)
        };
        let stream = connected.with_context(|| format!("connecting to {}", self.server))?;
        let (recv, send) = tokio::io::split(TlsStream::from(stream));
        Ok(Streams { connection: Connection::Tcp, send: Box::new(send), reader: FrameReader::new(recv) })
    }
}

const CONNECT_MAX: Duration = Duration::from_secs(30);
