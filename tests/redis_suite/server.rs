//! Redis servers of a test's own, which may be killed.

use std::{
    net::{TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// A process, which is killed when this is dropped.
pub struct Server {
    pub port: u16,
    arguments: Vec<String>,
    process: Child,
    dir: TempDir,
}

impl Server {
    /// Starts `redis-server` with these options, and waits until it answers. `None`: it is not here, and need not be.
    pub fn start(options: &[&str]) -> Option<Self> {
        Self::start_on(|port| vec!["--port".to_owned(), port.to_string()], options)
    }

    /// The same, with nothing but TLS.
    pub fn start_tls(options: &[&str]) -> Option<Self> {
        Self::start_on(|port| ["--port", "0", "--tls-port", &port.to_string()].map(str::to_owned).to_vec(), options)
    }

    fn start_on(listen: impl FnOnce(u16) -> Vec<String>, options: &[&str]) -> Option<Self> {
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"].map(str::to_owned).to_vec();
        arguments.push(dir.path().to_str().unwrap().to_owned());
        arguments.extend(listen(port));
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let process = match spawn(&arguments) {
            Ok(process) => process,
            Err(_) if std::env::var_os("GODWIT_TEST_WITHOUT_SERVICES").is_some() => {
                println!("left out: no redis-server");
                return None;
            }
            Err(error) => {
                panic!("redis-server does not start ({error}): install it, as in `apt-get install redis-server`")
            }
        };
        let mut server = Self { port, arguments, process, dir };
        server.wait();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Begins again, with nothing.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.arguments).unwrap();
        self.wait();
    }

    fn wait(&mut self) {
        for _ in 0..500 {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("redis-server does not run: {status}, {:?}", self.arguments);
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server in {:?} does not listen", self.dir.path());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster of three.
pub fn cluster() -> Option<[Server; 3]> {
    let start = || {
        let bus = free_port().to_string();
        let server = Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus])?;
        Some((server, bus))
    };
    let nodes = [start()?, start()?, start()?];
    let connect = |server: &Server| redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    for (n, (server, _)) in nodes.iter().enumerate() {
        let (from, to) = (n * 16_384 / 3, (n + 1) * 16_384 / 3 - 1);
        let mut connection = connect(server);
        let _: () = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(from).arg(to).query(&mut connection).unwrap();
        for (other, bus) in &nodes {
            let mut meet = redis::cmd("CLUSTER");
            let _: () = meet.arg("MEET").arg("127.0.0.1").arg(other.port).arg(bus).query(&mut connection).unwrap();
        }
    }
    for (server, _) in &nodes {
        super::until("the cluster is whole", || {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connect(server)).unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        });
    }
    Some(nodes.map(|(server, _)| server))
}

fn spawn(arguments: &[String]) -> std::io::Result<Child> {
    Command::new("redis-server").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

pub fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
