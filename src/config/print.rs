//! The configuration in force, as a file that says the same when it is read again.

use super::{
    Config, Delivery, Embedded, Limits, Log, Metrics, Password, Redis, Registration, Schedule, Scylla, Section, Tls,
    Token, Transport, section::Key,
};
use std::fmt::Write;
use toml::{Table, Value};

const SECTIONS: [(&str, &[Key]); 13] = [
    ("tls", Tls::KEYS),
    ("registration", Registration::KEYS),
    ("limits", Limits::KEYS),
    ("transport", Transport::KEYS),
    ("embedded", Embedded::KEYS),
    ("scylla", Scylla::KEYS),
    ("redis", Redis::KEYS),
    ("password", Password::KEYS),
    ("token", Token::KEYS),
    ("delivery", Delivery::KEYS),
    ("schedule", Schedule::KEYS),
    ("metrics", Metrics::KEYS),
    ("log", Log::KEYS),
];

impl Config {
    /// TOML with every key, its documentation as a comment and the value in force. A key without a value is commented out.
    pub fn to_commented_toml(&self) -> Result<String, toml::ser::Error> {
        let values = Table::try_from(self)?;
        let mut out = String::from(
            "# Godwit's configuration. Later ones win: defaults, this file, GODWIT_SECTION__KEY in the environment, flags.\n",
        );
        // TOML wants what belongs to no section first.
        for key in Config::KEYS.iter().filter(|key| keys_of(key.name).is_none()) {
            print_key(&mut out, key, values.get(key.name));
        }
        for key in Config::KEYS {
            let Some(keys) = keys_of(key.name) else { continue };
            out.push('\n');
            print_docs(&mut out, key);
            let _ = writeln!(out, "[{}]", key.name);
            for inner in keys {
                print_key(&mut out, inner, values.get(key.name).and_then(|section| section.get(inner.name)));
            }
        }
        Ok(out)
    }
}

/// Whether there is such a key, by its parts: `["listen"]` or `["limits", "idle_timeout_ms"]`.
pub(super) fn is_key(path: &[&str]) -> bool {
    let has = |keys: &[Key], name: &str| keys.iter().any(|key| key.name == name);
    match path {
        [name] => keys_of(name).is_none() && has(Config::KEYS, name),
        [section, name] => keys_of(section).is_some_and(|keys| has(keys, name)),
        _ => false,
    }
}

/// Every key by its full name.
pub(super) fn key_names() -> Vec<String> {
    let top = Config::KEYS.iter().filter(|key| keys_of(key.name).is_none()).map(|key| key.name.to_owned());
    let inner =
        SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{}", key.name)));
    top.chain(inner).collect()
}

fn keys_of(section: &str) -> Option<&'static [Key]> {
    SECTIONS.iter().find(|(name, _)| *name == section).map(|(_, keys)| *keys)
}

// Writing to a String cannot fail, so the results of `writeln!` are dropped.
fn print_key(out: &mut String, key: &Key, value: Option<&Value>) {
    out.push('\n');
    print_docs(out, key);
    let _ = match value {
        Some(value) => writeln!(out, "{} = {value}", key.name),
        None => writeln!(out, "# {} =", key.name),
    };
}

fn print_docs(out: &mut String, key: &Key) {
    for line in key.docs {
        let _ = writeln!(out, "#{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegistrationMode;

    #[test]
    fn what_is_printed_reads_back_as_the_same_configuration() {
        let mut config = Config::default();
        assert_eq!(toml::from_str::<Config>(&config.to_commented_toml().unwrap()).unwrap(), config);

        config.tls.cert_file = Some("a \"quoted\" \\ path.pem".into());
        config.registration.mode = Some(RegistrationMode::Invitation);
        config.limits.idle_timeout_ms = 1234;
        config.listen = "[::1]:1".parse().unwrap();
        config.store = "scylla://a,[::1]:9043/chat".parse().unwrap();
        config.summaries = "rediss://a,b:7001".parse().unwrap();
        assert_eq!(toml::from_str::<Config>(&config.to_commented_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn every_key_is_printed_under_its_documentation() {
        let printed = Config::default().to_commented_toml().unwrap();
        for name in key_names() {
            let key = name.rsplit('.').next().unwrap();
            let at = printed.lines().position(|line| line.trim_start_matches("# ").starts_with(&format!("{key} =")));
            let above = printed.lines().nth(at.unwrap_or_else(|| panic!("{name} is not printed")) - 1).unwrap();
            assert!(above.starts_with("# "), "{name} has no documentation above it, but {above:?}");
        }
    }

    #[test]
    fn every_section_of_the_type_is_known_here() {
        let values = Table::try_from(Config::default()).unwrap();
        let tables: Vec<_> = values.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name).collect();
        assert!(tables.iter().all(|name| keys_of(name).is_some()), "{tables:?}");
        assert_eq!(tables.len(), SECTIONS.len());
    }
}
