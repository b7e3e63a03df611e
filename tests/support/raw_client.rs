//! A client without manners: it writes the frames, and the bytes, that a test tells it to.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use bytes::{Bytes, BytesMut};
use godwit_proto::{
    codec::{FrameDecoder, encode_frame},
    v1::{self, ClientFrame, ErrorCode, ServerFrame, client_frame::Body as Request, server_frame::Body},
};
use prost::Message;
use quinn::{
    ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig, crypto::rustls::QuicClientConfig,
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Long enough for a busy machine; nothing is measured against it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct RawClient {
    pub endpoint: Endpoint,
    pub connection: Connection,
    pub send: SendStream,
    pub recv: RecvStream,
    decoder: FrameDecoder,
    next_request: u64,
}

impl RawClient {
    pub async fn connect(server: SocketAddr) -> Self {
        Self::connect_with(server, TransportConfig::default()).await
    }

    pub async fn connect_with(server: SocketAddr, transport: TransportConfig) -> Self {
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut config = client_config(&[godwit_proto::ALPN]);
        config.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(config);
        let connection = endpoint.connect(server, "localhost").unwrap().await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        Self { endpoint, connection, send, recv, decoder: FrameDecoder::new(), next_request: 1 }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        // The server may close while this is written, which is what some tests are about.
        let _ = self.send.write_all(bytes).await;
    }

    pub async fn write_frame(&mut self, frame: &ClientFrame) {
        let mut out = BytesMut::new();
        encode_frame(frame, &mut out);
        self.write(&out).await;
    }

    pub async fn request(&mut self, body: Request) -> Body {
        let request_id = self.next_request;
        self.next_request += 1;
        self.write_frame(&ClientFrame { request_id, body: Some(body) }).await;
        loop {
            let frame = self.next().await.expect("the server closed the session stream");
            if frame.request_id == request_id {
                return frame.body.unwrap();
            }
        }
    }

    /// The next frame of the session stream; `None` when it ended.
    pub async fn next(&mut self) -> Option<ServerFrame> {
        next_frame(&mut self.recv, &mut self.decoder).await
    }

    pub async fn bulk(&mut self, body: Request) -> Body {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        let mut out = BytesMut::new();
        encode_frame(&ClientFrame { request_id: 1, body: Some(body) }, &mut out);
        send.write_all(&out).await.unwrap();
        send.finish().unwrap();
        next_frame(&mut recv, &mut FrameDecoder::new()).await.unwrap().body.unwrap()
    }

    pub async fn hello(&mut self, device: u8) -> v1::HelloResponse {
        match self.request(hello(device)).await {
            Body::Hello(hello) => hello,
            other => panic!("no hello: {other:?}"),
        }
    }

    pub async fn register(&mut self, name: &str) -> v1::AuthenticateResponse {
        match self.request(register(name)).await {
            Body::Authenticate(response) => response,
            other => panic!("not registered: {other:?}"),
        }
    }

    /// Hello and registration.
    pub async fn new_user(server: SocketAddr, name: &str) -> (Self, v1::AuthenticateResponse) {
        let mut client = Self::connect(server).await;
        client.hello(1).await;
        let user = client.register(name).await;
        (client, user)
    }

    /// Waits until the server closes the connection, and says with which application code.
    pub async fn closed(&self) -> u64 {
        match tokio::time::timeout(PATIENCE, self.connection.closed()).await.expect("the server does not close") {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("closed otherwise: {other}"),
        }
    }
}

pub async fn next_frame(recv: &mut RecvStream, decoder: &mut FrameDecoder) -> Option<ServerFrame> {
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return Some(ServerFrame::decode(frame).unwrap());
        }
        let chunk = tokio::time::timeout(PATIENCE, recv.read_chunk(64 * 1024, true)).await.expect("no answer");
        decoder.push(&chunk.ok().flatten()?.bytes);
    }
}

pub fn hello(device: u8) -> Request {
    Request::Hello(v1::HelloRequest {
        protocol_version: 1,
        device_id: Bytes::copy_from_slice(&[device; 16]),
        device_name: "test".into(),
        client_name: "test/1".into(),
    })
}

pub fn register(name: &str) -> Request {
    Request::Register(v1::RegisterRequest {
        username: name.into(),
        password: "correct horse".into(),
        ..Default::default()
    })
}

pub fn send(conversation: &[u8], id: u8, body: impl Into<Bytes>) -> Request {
    Request::Send(v1::SendRequest {
        conversation_id: Bytes::copy_from_slice(conversation),
        client_msg_id: Bytes::copy_from_slice(&[id; 16]),
        body: body.into(),
        ..Default::default()
    })
}

#[track_caller]
pub fn error_code(body: &Body) -> ErrorCode {
    match body {
        Body::Error(error) => error.code(),
        other => panic!("no error: {other:?}"),
    }
}

/// A configuration that accepts any certificate: these tests are about what comes after the handshake.
pub fn client_config(alpn: &[&[u8]]) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
