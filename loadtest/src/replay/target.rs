//! The server that a replay starts.

use super::plan::{Kind, Plan};
use crate::{server_binary, server_process::Launch, target::Target};
use std::path::PathBuf;

/// How to start one's own.
#[derive(Debug)]
pub struct OwnServer {
    pub binary: Option<PathBuf>,
    pub cores: Option<usize>,
}

/// Starts a server that will take as many accounts, and as large a group, as the plan needs.
pub async fn start(own: OwnServer, plan: &Plan) -> anyhow::Result<Target> {
    let environment = environment(plan);
    let binary = server_binary::find(own.binary)?;
    let settings: Vec<String> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // Nobody should think that a server does this by itself.
    eprintln!("Starting {} with cheap passwords and open registration:", binary.display());
    eprintln!("  {}", settings.join(" "));
    Target::own(Launch::godwit(binary, own.cores, environment)?).await
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
