//! The client alone, with the commands of a conversation list and nothing around them: what summaries in Redis are compared with.

use redis::{Client, Value, aio::MultiplexedConnection};
use std::collections::HashMap;

/// A connection, and how the keys of one user's list are called.
pub struct BareRedis {
    connection: MultiplexedConnection,
    user: u64,
    list: String,
    /// By the id of the conversation.
    lines: HashMap<[u8; 16], String>,
}

impl BareRedis {
    /// Finds the keys of one user's list, which must be the only one below this prefix, with all lines there.
    pub async fn connect(url: &str, prefix: &str, user: u64) -> Self {
        let mut connection = Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let keys = keys(&mut connection, prefix).await;
        let list_of = format!(":u:{user}");
        let (mut list, mut lines) = (String::new(), HashMap::new());
        for key in keys {
            if key.ends_with(&list_of) {
                list = key;
            } else if let Some((_, id)) = key.rsplit_once(":c:") {
                lines.insert(u128::from_str_radix(id, 16).unwrap().to_be_bytes(), key);
            }
        }
        Self { connection, user, list, lines }
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The list, then the lines that it names: two round trips. How many came whole.
    pub async fn read(&mut self) -> usize {
        let list: Vec<u8> = redis::cmd("GET").arg(&self.list).query_async(&mut self.connection).await.unwrap();
        let ids = &list[list.iter().position(|byte| *byte == b'|').unwrap() + 1..];
        let mut lines = redis::pipe();
        for id in ids.as_chunks().0 {
            lines.cmd("HMGET").arg(&self.lines[id]).arg(&FIELDS).arg(self.user);
        }
        let lines: Vec<Value> = lines.query_async(&mut self.connection).await.unwrap();
        lines.iter().filter(|line| matches!(line, Value::Array(fields) if !fields.contains(&Value::Nil))).count()
    }

    /// Removes all keys below a prefix.
    pub async fn forget(&mut self, prefix: &str) {
        let keys = keys(&mut self.connection, prefix).await;
        let () = redis::cmd("DEL").arg(keys).query_async(&mut self.connection).await.unwrap();
    }
}

async fn keys(connection: &mut MultiplexedConnection, prefix: &str) -> Vec<String> {
    redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(connection).await.unwrap()
}

/// As the store asks for them.
const FIELDS: [&str; 5] = ["t", "n", "d", "l", "s"];
