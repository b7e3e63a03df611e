//! A node of Apache Cassandra that takes little memory and starts in seconds.

use super::{Shape, process::Launch};
use anyhow::Result;
use std::{fs, net::IpAddr, path::Path};

/// Where a node talks with others unless that is taken.
pub const STORAGE_PORT: u16 = 7000;

/// The ring cut in three; a single node has it all, whichever its token.
const TOKENS: [i64; 3] = [i64::MIN, -3_074_457_345_618_258_603, 3_074_457_345_618_258_602];

/// Heap of each node in MiB, for a single one and for one of several. In memory a node is some 350 MiB more.
const HEAP_MIB: (u32, u32) = (512, 400);

/// What Cassandra needs of Java 17's modules.
const EXPORTS: [&str; 10] = [
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/java.lang.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.attach/sun.tools.attach",
];
const OPENS: [&str; 18] = [
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.net",
    "java.base/java.math",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

/// No connection leaves the machine or comes from another; a heap that is full ends the process; nothing waits for nodes that there
/// are not. The compiler of the first tier alone starts fastest and takes least memory.
const FLAGS: [&str; 16] = [
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxDirectMemorySize=256m",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djdk.attach.allowAttachSelf=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dchronicle.analytics.disable=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=1000",
    "-Dcassandra.consistent.rangemovement=false",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dfile.encoding=UTF-8",
];

const LOGBACK: &str = r#"<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="STDOUT"/></root>
</configuration>
"#;

/// Who is let in: clients with a certificate and a password. In the beginning there is one user, `cassandra`, whose password is the same.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// The node's private key (PKCS #8) and its certificate in one file, PEM.
    pub identity: &'a Path,
    /// Who signs the certificates of clients, PEM.
    pub clients: &'a Path,
}

/// One node of those on `addresses`.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// From 0.
    pub index: usize,
    /// One for each node, its own among them.
    pub addresses: &'a [IpAddr],
    /// Where it tells clients that it is.
    pub advertised: IpAddr,
    /// The same on all of them.
    pub cql_port: u16,
    /// The same on all of them.
    pub storage_port: u16,
    /// What is asked of them all.
    pub shape: Shape,
    /// `None`: everybody is let in, without TLS.
    pub guard: Option<Guard<'a>>,
}

impl Node<'_> {
    /// Writes its configuration to `directory`, where it will keep everything, and says how it is started.
    pub fn prepare(&self, java: &Path, jars: &Path, directory: &Path) -> Result<Launch> {
        for below in ["data", "log", "tmp"] {
            fs::create_dir_all(directory.join(below))?;
        }
        fs::write(directory.join("cassandra.yaml"), self.yaml())?;
        fs::write(directory.join("logback.xml"), LOGBACK)?;

        let heap = if self.addresses.len() == 1 { HEAP_MIB.0 } else { HEAP_MIB.1 };
        let mut arguments = vec![format!("-Xms{heap}m"), format!("-Xmx{heap}m")];
        arguments.extend(FLAGS.map(str::to_owned));
        for (option, packages) in [("--add-exports", &EXPORTS[..]), ("--add-opens", &OPENS[..])] {
            arguments.extend(packages.iter().flat_map(|package| [option.to_owned(), format!("{package}=ALL-UNNAMED")]));
        }
        let at = directory.display();
        arguments.extend([
            format!("-Djava.io.tmpdir={at}/tmp"),
            format!("-Dcassandra.config=file://{at}/cassandra.yaml"),
            format!("-Dcassandra.storagedir={at}/data"),
            format!("-Dcassandra.logdir={at}/log"),
            format!("-Dlogback.configurationFile=file://{at}/logback.xml"),
            "-cp".to_owned(),
            format!("{}/*", jars.display()),
            "org.apache.cassandra.service.CassandraDaemon".to_owned(),
        ]);
        Ok(Launch { program: java.to_owned(), arguments, directory: directory.to_owned() })
    }

    fn yaml(&self) -> String {
        let &Self { index, addresses, advertised, cql_port, storage_port, shape, guard } = self;
        let address = addresses[index];
        let token = TOKENS[index];
        let seeds = addresses.iter().map(|address| format!("{address}:{storage_port}")).collect::<Vec<_>>().join(",");
        let sync = if shape.durable {
            "commitlog_sync: batch"
        } else {
            "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms"
        };
        let guard = guard.as_ref().map(Guard::yaml).unwrap_or_default();
        // A machine that also runs the tests may be slow to answer, and a snapshot of every table that a test drops is of no use.
        format!(
            "cluster_name: godwit-test
num_tokens: 1
initial_token: '{token}'
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
seed_provider: [{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: \"{seeds}\"}}]}}]
listen_address: {address}
storage_port: {storage_port}
rpc_address: {address}
broadcast_rpc_address: {advertised}
native_transport_port: {cql_port}
endpoint_snitch: SimpleSnitch
{sync}
commitlog_segment_size: 16MiB
commitlog_total_space: 128MiB
memtable_heap_space: 96MiB
memtable_offheap_space: 32MiB
file_cache_size: 32MiB
key_cache_size: 4MiB
prepared_statements_cache_size: 8MiB
concurrent_reads: 8
concurrent_writes: 8
concurrent_compactors: 1
native_transport_max_threads: 16
paxos_variant: v2
auto_snapshot: false
read_request_timeout: 10000ms
write_request_timeout: 10000ms
cas_contention_timeout: 10000ms
{guard}"
        )
    }
}

impl Guard<'_> {
    fn yaml(&self) -> String {
        let Self { identity, clients } = self;
        format!(
            "authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  ssl_context_factory: {{class_name: org.apache.cassandra.security.PEMBasedSslContextFactory}}
  keystore: {}
  truststore: {}
",
            identity.display(),
            clients.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [IpAddr; 3] = [
        IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1)),
        IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2)),
        IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3)),
    ];

    fn yaml(index: usize, nodes: usize, durable: bool) -> String {
        let addresses = &ADDRESSES[..nodes];
        let (advertised, shape) = (ADDRESSES[index], Shape { nodes, durable });
        let node = Node { index, addresses, advertised, cql_port: 9043, storage_port: 7001, shape, guard: None };
        node.yaml()
    }

    #[test]
    fn nodes_know_each_other_and_share_the_ring() {
        let (first, last) = (yaml(0, 3, false), yaml(2, 3, false));
        for text in [&first, &last] {
            assert!(text.contains("seeds: \"127.0.0.1:7001,127.0.0.2:7001,127.0.0.3:7001\""), "{text}");
        }
        assert!(first.contains("'-9223372036854775808'") && first.contains("rpc_address: 127.0.0.1\n"), "{first}");
        assert!(last.contains("'3074457345618258602'") && last.contains("listen_address: 127.0.0.3\n"), "{last}");
    }

    #[test]
    fn a_durable_node_syncs_before_it_answers() {
        assert!(yaml(0, 1, true).contains("commitlog_sync: batch\n"));
        assert!(yaml(0, 1, false).contains("commitlog_sync: periodic\n"));
    }
}
