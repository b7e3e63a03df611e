//! The client alone, with the commands of a conversation list and nothing around them: what summaries in Redis are compared with.

use redis::{Client, Pipeline, Value, aio::MultiplexedConnection};

/// A connection, and what one user's list takes.
pub struct BareRedis {
    connection: MultiplexedConnection,
    list: Pipeline,
    lines: Pipeline,
}

impl BareRedis {
    /// Finds the keys of one user's list, which must be the only one below this prefix, with all lines there.
    pub async fn connect(url: &str, prefix: &str, user: u64) -> Self {
        let mut connection = Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut connection).await.unwrap();
        let list_of = format!(":u:{user}");
        let (mut list, mut lines) = (Pipeline::new(), Pipeline::new());
        for key in &keys {
            if key.ends_with(&list_of) {
                list.cmd("GET").arg(key);
            } else if key.contains(":c:") {
                lines.cmd("HMGET").arg(key).arg(&["t", "n", "d", "l", "s"]).arg(user);
            }
        }
        Self { connection, list, lines }
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The list, then all its lines: two round trips. How many bytes came.
    pub async fn read(&mut self) -> usize {
        let mut bytes = 0;
        for pipeline in [&self.list, &self.lines] {
            let answers: Vec<Value> = pipeline.query_async(&mut self.connection).await.unwrap();
            bytes += answers.iter().map(size).sum::<usize>();
        }
        bytes
    }

    /// Removes all keys below a prefix.
    pub async fn forget(&mut self, prefix: &str) {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut self.connection).await.unwrap();
        let () = redis::cmd("DEL").arg(keys).query_async(&mut self.connection).await.unwrap();
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        _ => 0,
    }
}
