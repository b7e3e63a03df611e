//! The server that a replay starts.

use super::plan::{Kind, Plan};
use crate::{server_binary, server_process::Launch, target::Target};
use std::path::PathBuf;

/// How to start one's own.
#[derive(Debug)]
pub struct OwnServer {
    pub binary: Option<PathBuf>,
    pub cores: Option<usize>,
    /// Configuration beyond what a load test always needs, as environment variables.
    pub environment: Vec<(String, String)>,
    /// It may end by itself while what it depends on is gone.
    pub may_end: bool,
}

/// Starts a server that will take as many accounts, and as large a group, as the plan needs.
pub async fn start(own: OwnServer, plan: &Plan) -> anyhow::Result<Target> {
    let mut environment = environment(plan);
    environment.extend(own.environment);
    let binary = server_binary::find(own.binary)?;
    let settings: Vec<String> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // Nobody should think that a server does this by itself.
    eprintln!("Starting {} with cheap passwords and open registration:", binary.display());
    eprintln!("  {}", settings.join(" "));
    let launch = Launch::godwit(binary, own.cores, environment)?;
    Target::own(if own.may_end { launch.that_may_end() } else { launch }).await
}

fn environment(plan: &Plan) -> Vec<(String, String)> {
    let mut environment = server_binary::load_test_environment();
    let group = plan.conversations.iter().find(|conversation| conversation.kind == Kind::Group);
    let members = group.map_or(0, |group| group.members.len());
    if members > GROUP_MEMBERS_BY_DEFAULT {
        environment.push(("GODWIT_LIMITS__GROUP_MEMBERS_MAX".to_owned(), members.to_string()));
    }
    environment
}

/// The server's own limit, unless it is told another.
const GROUP_MEMBERS_BY_DEFAULT: usize = 5000;
