//! The sections of the configuration: every key, what it does, what it costs, its default and its range.

use super::section::section;
use godwit_proto::{LANES, codec::FRAME_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

section! {
    /// The server's certificate.
    Tls {
        /// The certificate chain, PEM. Unset together with key_file: a self-signed certificate is made at the first start
        /// and kept in data_dir; its fingerprint is printed, for clients to pin.
        cert_file: Option<PathBuf> = None;
        /// The private key of cert_file, PEM.
        key_file: Option<PathBuf> = None;
        /// What a self-signed certificate is issued for: host names and addresses.
        names: Vec<String> = vec!["localhost".into(), "127.0.0.1".into(), "::1".into()];
    }
}

section! {
    /// Who may make an account.
    Registration {
        /// "open": everybody. "invitation": who has a code from `godwit invite`. "closed": nobody. Unset: open if the server listens on a loopback address, closed if not.
        mode: Option<RegistrationMode> = None;
    }
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// Everybody who can reach the server.
    Open,
    /// Whoever has an invitation.
    Invitation,
    /// Nobody.
    Closed,
}

section! {
    /// What a peer can make the server keep, and for how long. "Per core" limits count on each core by itself.
    Limits {
        /// The longest body of one message, in bytes. The rest of a 64 KiB frame is kept for what may surround it: at most
        /// the ids of 1,000 conversations in the answer to a sync.
        message_bytes_max: usize = 32 * 1024, in 1..=40 * 1024;
        /// Entries in one page of history. A page never outgrows a frame, however high this is.
        history_entries_max: usize = 200, in 1..=1000;
        /// Members of one group. Each costs a row in the store, some 100 bytes of memory while the group is active, and a
        /// push for every message.
        group_members_max: usize = 5000, in 2..=100_000;
        /// How long after its start a message may expire at the latest, and how far ahead the end of its delivery may be.
        expiry_after_days_max: u32 = 366, in 1..=3660;
        /// Users in one request that creates a group, adds members or finds users. As many profiles fit one frame.
        users_per_request_max: usize = 400, in 1..=400;
        /// Conversations in one page of a sync or of the list, and known positions in one sync request.
        conversations_per_page_max: usize = 200, in 1..=1000;
        /// Devices of one user that are logged in at the same time.
        devices_per_user_max: usize = 16, in 1..=1000;
        /// Bulk streams (history, sync) that one client has open at once. Each costs a slot of memory per connection,
        /// used or not.
        bulk_streams_max: u32 = 4, in 1..=64;
        /// Lanes that pushes to one client are spread over, by conversation. A lost packet holds up its lane alone; every
        /// lane in use costs a stream.
        lanes_max: u32 = LANES, in 1..=LANES;
        /// Requests of one client's session stream that wait for their answer. Past it, the server stops reading from it.
        requests_in_flight_max: usize = 1024, in 1..=65_536;
        /// The same for each bulk stream, where an answer may be as long as a frame.
        bulk_requests_in_flight_max: usize = 4, in 1..=1024;
        /// Open connections, all cores together. One costs about 30 KB while idle; new ones past it are answered
        /// OVERLOADED.
        sessions_max: usize = 100_000, in 1..=10_000_000;
        /// Connections that have not logged in, in their handshake or after it, all cores together. Each costs about 40 KB
        /// and nothing of its sender, so this is the limit that strangers meet; new ones past it are refused.
        handshakes_max: usize = 4096, in 1..=1_000_000;
        /// From this many of them on, a new client must first prove that it receives at its address, before anything is
        /// kept for it: a QUIC retry, one more round trip for everybody until the load falls. 0: always.
        retry_handshakes_min: usize = 512, in 0..=1_000_000;
        /// First packets of connections that wait to be looked at, all cores together. Further ones are dropped, as if the
        /// network had lost them.
        incoming_max: usize = 4096, in 1..=1_000_000;
        /// Bytes that may wait behind those first packets, all cores together.
        incoming_bytes_max: u64 = 16 * 1024 * 1024, in 64 * 1024..=16 * 1024 * 1024 * 1024;
        /// How long the TLS handshake of a connection may take.
        handshake_timeout_ms: u32 = 10_000, in 100..=600_000;
        /// How long a connection may take from there to being logged in.
        authentication_timeout_ms: u32 = 10_000, in 100..=600_000;
        /// How long a connection may be silent before it counts as gone. Clients send a packet at least twice as often, so
        /// lower costs their batteries, and higher keeps dead sessions.
        idle_timeout_ms: u32 = 30_000, in 1_000..=600_000;
        /// How long a session may go without sending anything but packets that keep its connection open. What people have
        /// forgotten somewhere is closed then; a client that is in use acknowledges, reads or asks.
        session_idle_ms_max: u64 = 24 * 3_600_000, in 60_000..=366 * 24 * 3_600_000;
        /// How long a connection that is being closed waits for its last frames to be acknowledged.
        linger_ms: u32 = 1_000, in 0..=60_000;
        /// How long a stopping server lets clients take what is queued for them.
        drain_timeout_ms: u32 = 5_000, in 0..=600_000;
        /// Events from connections that wait for their core, per core. Past it, connections stop reading.
        inbox_events_max: usize = 8192, in 16..=1_048_576;
        /// Events that a core takes in one turn. Higher shares more packets and syncs, lower answers sooner.
        turn_events_max: usize = 1024, in 1..=65_536;
        /// Items that wait for one core. Past it, new requests are answered OVERLOADED, on every core, until it catches up.
        mailbox_items_max: usize = 8192, in 16..=1_048_576;
        /// Bytes that wait for one client that reads slowly. Past it, pushes stop and the client is told to sync again.
        outbox_bytes_max: usize = 256 * 1024, in 2 * FRAME_BYTES_MAX..=64 * 1024 * 1024;
        /// Conversations held in memory, all cores together. Those idle longest make room; one that is needed again is
        /// loaded from the store.
        conversations_active_max: usize = 100_000, in 16..=100_000_000;
        /// Sends remembered for each active conversation, to answer a repeated one at once, at about 40 bytes each; every
        /// message is compared with all of them. A send that is repeated later still has its one seq: the store remembers
        /// all.
        dedupe_entries_max: usize = 128, in 1..=1024;
    }
}

section! {
    /// QUIC: windows, packets and sockets.
    Transport {
        /// Bytes that a client may have in flight before it has logged in, on all streams together.
        unauthenticated_receive_window_bytes: u32 = 16 * 1024, in 1024..=1024 * 1024;
        /// The same after it has: the most that one client can make the server hold of what it sends.
        receive_window_bytes: u32 = 256 * 1024, in 1024..=1024 * 1024 * 1024;
        /// The same for one stream.
        stream_receive_window_bytes: u32 = 96 * 1024, in 1024..=1024 * 1024 * 1024;
        /// Unacknowledged bytes held for one client. Should cover bandwidth times round trip of a good mobile network.
        send_window_bytes: u32 = 256 * 1024, in 1024..=1024 * 1024 * 1024;
        /// The UDP payload that is assumed to pass everywhere. QUIC requires 1,200 of a path.
        mtu_bytes: u16 = 1200, in 1200..=65_527;
        /// Probe for larger packets. Frames are small here, and every connection pays for probes with memory and timers.
        mtu_discovery: bool = false;
        /// The least time between two stateless resets of one core: how fast clients learn of a restart.
        reset_interval_min_ms: u32 = 1, in 0..=60_000;
        /// Kernel receive buffer of each socket, in bytes; the kernel may grant less.
        socket_receive_bytes: usize = 4 * 1024 * 1024, in 4096..=1024 * 1024 * 1024;
        /// Kernel send buffer of each socket, in bytes; the kernel may grant less.
        socket_send_bytes: usize = 4 * 1024 * 1024, in 4096..=1024 * 1024 * 1024;
        /// Let the kernel steer packets to cores by connection ID (Linux). Off: one core receives all packets.
        kernel_steering: bool = true;
    }
}

section! {
    /// The embedded store.
    Embedded {
        /// Memory for blocks read from disk, in bytes.
        cache_bytes: u64 = 64 * 1024 * 1024, in 1024 * 1024..=1024 * 1024 * 1024 * 1024;
        /// Free disk space, in bytes, below which sends are refused with STORE_FULL: room for what is in flight and for
        /// compaction, so that the server recovers by itself once there is room again.
        disk_reserve_bytes: u64 = 256 * 1024 * 1024, in 0..=1024 * 1024 * 1024 * 1024 * 1024;
        /// Commits that wait for the next sync. Past it, sends are answered OVERLOADED.
        queue_commits_max: usize = 32 * 1024, in 16..=16 * 1024 * 1024;
        /// Bytes that wait for the next sync. Past it, sends are answered OVERLOADED.
        queue_bytes_max: usize = 32 * 1024 * 1024, in 1024 * 1024..=16 * 1024 * 1024 * 1024;
        /// Commits that share one sync. More of them cost less each, and keep the first waiting longer.
        turn_commits_max: usize = 2048, in 1..=1024 * 1024;
        /// Bytes that share one sync.
        turn_bytes_max: usize = 4 * 1024 * 1024, in 64 * 1024..=256 * 1024 * 1024;
        /// Durable bytes that are not sorted by conversation yet. They are held in memory, and a start after a crash works
        /// through them. Past it, commits wait.
        behind_bytes_max: usize = 64 * 1024 * 1024, in 1024 * 1024..=16 * 1024 * 1024 * 1024;
        /// Conversations whose newest seq the commit thread remembers, at about 50 bytes each.
        heads_max: usize = 128 * 1024, in 16..=1024 * 1024 * 1024;
        /// Threads that read history and lists from disk.
        readers: usize = 2, in 1..=256;
        /// Reads that wait for one of them. Past it, they are answered OVERLOADED.
        reads_max: usize = 8192, in 16..=1024 * 1024;
        /// Acknowledged positions that wait to be written. Past it, they are answered OVERLOADED, which costs a second
        /// delivery.
        acked_pending_max: usize = 256 * 1024, in 16..=1024 * 1024 * 1024;
        /// How long, in milliseconds, what a withdrawn message said may stay in the store's files. When it has, all messages
        /// are written again, unless there was enough to do meanwhile that it went by itself.
        withdrawn_stay_ms_max: u64 = 24 * 3600 * 1000, in 1000..=366 * 24 * 3600 * 1000;
        /// Disk space for the engine's journals, all of which a start reads.
        journal_bytes_max: u64 = 256 * 1024 * 1024, in 64 * 1024 * 1024..=1024 * 1024 * 1024 * 1024;
    }
}

section! {
    /// The store on ScyllaDB or Apache Cassandra.
    Scylla {
        /// Who to log in as. Unset: without logging in.
        user: Option<String> = None;
        /// The file that the password of that user is read from, a line break at its end aside. Only a file, so that the
        /// password is in no list of processes or variables.
        password_file: Option<PathBuf> = None;
        /// Speak TLS with the nodes: what their certificates are checked against, PEM. They must name the addresses that the
        /// nodes are reached at. Unset: without TLS.
        ca_file: Option<PathBuf> = None;
        /// The certificate to show to the nodes, PEM, where they ask for one.
        cert_file: Option<PathBuf> = None;
        /// The private key of cert_file, PEM.
        key_file: Option<PathBuf> = None;
        /// The data centre that reads and writes stay in. Unset: the only one.
        datacenter: Option<String> = None;
        /// Copies of every row, when the keyspace is made: with three, one node may be lost. 0: three, or as many as there are
        /// nodes.
        replication: usize = 0, in 0..=9;
        /// Make and alter the keyspace and its tables at the start. Off: `godwit store init` and `godwit store migrate` do, and
        /// the server refuses to start before.
        migrate: bool = true;
        /// How long a connection to a node may take to be made.
        connect_timeout_ms: u32 = 5_000, in 100..=60_000;
        /// How long an answer may take. A write that has none by then is written again, unchanged.
        request_timeout_ms: u32 = 3_000, in 100..=60_000;
        /// For how long the keyspace is this server's after it has said so last, which it does ten times as often. After half of
        /// that without an answer from the database it acknowledges nothing until it can say so again, and after six times that it
        /// ends; another one takes over after most of it. Lower means a shorter wait for that one, and less patience with a slow
        /// database.
        lease_ms: u64 = 10_000, in 500..=600_000;
        /// Connections to each node of Cassandra; ScyllaDB gets one for each of its cores.
        connections_per_host: usize = 3, in 1..=64;
        /// Writes that wait for their answer. Past it, further ones wait for these.
        writes_in_flight_max: usize = 256, in 1..=1024 * 1024;
        /// Reads that wait for their answer. Past it, further ones wait for these.
        reads_in_flight_max: usize = 256, in 1..=1024 * 1024;
        /// Bytes of entries that one batch carries. The databases warn of batches that are larger than some times that.
        batch_bytes_max: usize = 32 * 1024, in 1024..=1024 * 1024;
        /// Entries that one batch carries.
        batch_entries_max: usize = 64, in 1..=4096;
        /// Conversations whose newest state is remembered, so that a commit need not read it.
        conversations_cached_max: usize = 64 * 1024, in 16..=100_000_000;
    }
}

section! {
    /// Summaries in Redis.
    Redis {
        /// Who to log in as. Unset: the server's default user.
        user: Option<String> = None;
        /// The file that the password is read from, a line break at its end aside. Unset: without logging in.
        password_file: Option<PathBuf> = None;
        /// What the certificate of a rediss:// server is checked against, PEM. Unset: the roots of this system.
        ca_file: Option<PathBuf> = None;
        /// The certificate to show to it, PEM, where it asks for one.
        cert_file: Option<PathBuf> = None;
        /// The private key of cert_file, PEM.
        key_file: Option<PathBuf> = None;
        /// How long a connection may take to be made.
        connect_timeout_ms: u32 = 1_000, in 10..=60_000;
        /// How long an answer may take. What has none by then is read from the store.
        response_timeout_ms: u32 = 500, in 10..=60_000;
        /// What all keys begin with. Servers with stores of their own need different ones if they share a database.
        prefix: String = "godwit".into();
        /// How long, in milliseconds, a summary that is not written is kept. Less of it costs a read of the store when somebody
        /// asks again, more of it memory in Redis.
        keep_ms: u64 = 7 * 24 * 3600 * 1000, in 1000..=366 * 24 * 3600 * 1000;
        /// How many summaries a second are compared with the store, of those that were read lately. 0: none.
        audits_per_second: u32 = 10, in 0..=100_000;
        /// How often the server says there that it lives. Nobody believes that its users are online when it was not heard of for
        /// three times as long.
        beat_ms: u32 = 10_000, in 100..=600_000;
    }
}

section! {
    /// How passwords are hashed: Argon2id. A hash remembers its own parameters, so a change is for new passwords.
    Password {
        /// Memory for one hash, in KiB. threads × memory_kib are in use during a storm of logins.
        memory_kib: u32 = 19_456, in 8..=4 * 1024 * 1024;
        /// Passes over that memory; the time grows with it.
        iterations: u32 = 2, in 1..=1000;
        /// Lanes of one hash. They are computed one after the other.
        parallelism: u32 = 1, in 1..=64;
        /// Threads that hash. A login storm takes this many cores and no more.
        threads: usize = 2, in 1..=256;
        /// Passwords that wait for a thread. Past it, logins are answered OVERLOADED.
        queue_max: usize = 256, in 1..=1_000_000;
    }
}

section! {
    /// What a device logs in with after the first time.
    Token {
        /// A token dies this long after it was used last.
        lifetime_days: u32 = 90, in 1..=3650;
    }
}

section! {
    /// Entries that were pushed to a client and that it does not acknowledge. They are pushed again, and in the end the
    /// session is closed; the entries wait in the log until the client comes back. Time is the monotonic clock's.
    Delivery {
        /// How long a client has for an acknowledgement. Clients gather them for up to a second, and a mobile network may hold
        /// them up for some more; lower only costs second deliveries. It is also the upper bound of the first random wait
        /// on top of it.
        ack_wait_ms: u64 = 5_000, in 100..=600_000;
        /// By how much the upper bound of that random wait grows with each attempt.
        factor: u32 = 2, in 1..=10;
        /// The upper bound of every random wait.
        max_ms: u64 = 30_000, in 0..=3_600_000;
        /// How often an entry is pushed again. When the last one is not acknowledged either, the session is closed with
        /// DELIVERY_TIMEOUT: with the defaults, half a minute to two and a half after the first push.
        attempts: u32 = 5, in 0..=100;
    }
}

section! {
    /// Messages that are sent later, and reminders.
    Schedule {
        /// Scheduled messages of one user that are not sent yet. Each costs disk, and memory in its last minute only.
        per_user_max: usize = 1000, in 0..=1_000_000;
        /// How far ahead a message may be scheduled.
        ahead_days_max: u32 = 366, in 1..=3660;
        /// How late a message is still sent after the server was away when it was due. One that is later is reported to its
        /// author and not sent.
        late_ms_max: u64 = 24 * 3_600_000, in 1_000..=366 * 24 * 3_600_000;
        /// How far apart the messages of a series must be. A rule with a shorter distance is refused.
        recurrence_min_s: u32 = 60, in 1..=366 * 24 * 3600;
        /// Reminders of one user, those included that were due and that the user has not dismissed.
        reminders_per_user_max: usize = 100, in 0..=150;
    }
}

section! {
    /// Metrics and health for the operator, over HTTP.
    Metrics {
        /// Whether to listen at all.
        enabled: bool = true;
        /// Where. There is no password on it, so let only your own machines reach it.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464));
    }
}

section! {
    /// What the server writes to standard error.
    Log {
        /// "error", "warn", "info", "debug", "trace", or a list by module: "info,godwit::store=debug".
        filter: String = "info,fjall=warn,lsm_tree=warn,scylla=error".into();
        /// "plain" for people, "json" for a log collector.
        format: LogFormat = LogFormat::Plain;
    }
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
}
