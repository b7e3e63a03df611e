//! Puts a configuration together from its sources, and says which of them is to blame.

use super::{
    Config,
    print::{is_key, key_names},
};
use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Format, Toml},
    util::nest,
    value::{Dict, Map, Value},
};
use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Read when no file is named and this one is in the working directory.
const DEFAULT_FILE: &str = "godwit.toml";

const PREFIX: &str = "GODWIT_";

/// `GODWIT_*` variables that other commands read, or that say where the configuration is.
const NOT_KEYS: [&str; 5] =
    ["GODWIT_CONFIG", "GODWIT_FINGERPRINT", "GODWIT_INVITATION", "GODWIT_PASSWORD", "GODWIT_SERVER"];

/// What tests and their services are told.
const TESTS_PREFIX: &str = "GODWIT_TEST_";

/// The section of the embedded store was called that before `store` said which store it is.
const MOVED_SECTION: &str = "store";

/// What the command line says. A flag that was not given leaves the key to the other sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<String>,
    /// `--cores`.
    pub cores: Option<usize>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--set section.key=value`, any number of them, values as in TOML.
    pub set: Vec<String>,
}

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Checked.
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What the operator should hear at the start, one sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads all sources: `file`, or `godwit.toml` in the working directory if there is one; the environment of this
    /// process; the flags.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded, ConfigError> {
        let file = match file {
            Some(file) => Some(file.to_owned()),
            None => Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()),
        };
        Self::load_from(file, std::env::vars_os(), overrides)
    }

    fn load_from(
        file: Option<PathBuf>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        overrides: &Overrides,
    ) -> Result<Loaded, ConfigError> {
        let mut warnings = Vec::new();
        let mut figment = Figment::new();
        if let Some(file) = &file {
            figment = figment.merge(file_layer(file)?);
        }
        figment = figment.merge(environment_layer(variables, &mut warnings)?);
        figment = figment.merge(flag_layer(overrides)?);

        let config: Config = figment.extract().map_err(|error| wrong_value(&error))?;
        let invalid: Vec<_> = config.invalid();
        if !invalid.is_empty() {
            let line = |key: &str, reason: &str| {
                let source = figment.find_metadata(key).map_or("the defaults".into(), |found| found.name.to_string());
                format!("{key} ({source}): {reason}")
            };
            return Err(ConfigError::Invalid(Lines(invalid.iter().map(|i| line(&i.key, &i.reason)).collect())));
        }
        warnings.extend(config.warnings());
        Ok(Loaded { config, file, warnings })
    }
}

/// One source, already checked to have no unknown keys, under the name that errors call it by.
struct Layer {
    name: String,
    values: Dict,
}

impl Layer {
    fn set(&mut self, path: &[&str], value: Value) {
        let nested = nest(&path.join("."), value).into_dict().unwrap_or_default();
        for (key, value) in nested {
            match (self.values.get_mut(&key), value) {
                (Some(Value::Dict(_, there)), Value::Dict(_, more)) => there.extend(more),
                (_, value) => {
                    self.values.insert(key, value);
                }
            }
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn file_layer(file: &Path) -> Result<Layer, ConfigError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError::Unreadable { file: name.clone(), reason: error.to_string() })?;
    let data = Toml::string(&text).data().map_err(|error| ConfigError::Syntax {
        file: name.clone(),
        reason: error.kind.to_string().trim_end().to_owned(),
    })?;
    let values = data.into_values().next().unwrap_or_default();
    for (key, value) in &values {
        match value {
            Value::Dict(..) if key == MOVED_SECTION => return Err(ConfigError::Moved { place: name }),
            Value::Dict(_, section) => {
                for inner in section.keys() {
                    known(&[key, inner], &name)?;
                }
                // An empty section of a wrong name would pass the loop above.
                if section.is_empty() && !key_names().iter().any(|known| known.starts_with(&format!("{key}."))) {
                    return Err(unknown(key, &name));
                }
            }
            _ => known(&[key], &name)?,
        }
    }
    Ok(Layer { name, values })
}

fn environment_layer(
    variables: impl Iterator<Item = (OsString, OsString)>,
    warnings: &mut Vec<String>,
) -> Result<Layer, ConfigError> {
    let mut layer = Layer { name: "the environment".into(), values: Dict::new() };
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if NOT_KEYS.contains(&variable) || variable.starts_with(TESTS_PREFIX) {
            continue;
        }
        let key = variable[PREFIX.len()..].to_lowercase();
        let path: Vec<&str> = key.split("__").collect();
        // Without the two underscores it may be anybody's variable, and is not worth refusing to start for.
        if path.len() == 1 && !is_key(&path) {
            warnings.push(format!("the environment variable {variable} names no key and is ignored"));
            continue;
        }
        known(&path, &format!("the environment variable {variable}"))?;
        let value = value.into_string().map_err(|_| ConfigError::NotUnicode(variable.to_owned()))?;
        layer.set(&path, parse_value(&value));
    }
    Ok(layer)
}

fn flag_layer(overrides: &Overrides) -> Result<Layer, ConfigError> {
    let mut layer = Layer { name: "the command line".into(), values: Dict::new() };
    if let Some(listen) = &overrides.listen {
        layer.set(&["listen"], listen.clone().into());
    }
    if let Some(cores) = overrides.cores {
        layer.set(&["cores"], cores.into());
    }
    if let Some(data_dir) = &overrides.data_dir {
        let data_dir = data_dir.to_str().ok_or_else(|| ConfigError::NotUnicode("--data-dir".into()))?;
        layer.set(&["data_dir"], data_dir.into());
    }
    for assignment in &overrides.set {
        let (key, value) = assignment.split_once('=').ok_or_else(|| ConfigError::NoAssignment(assignment.clone()))?;
        let path: Vec<&str> = key.trim().split('.').collect();
        known(&path, &format!("--set {assignment}"))?;
        layer.set(&path, parse_value(value.trim()));
    }
    Ok(layer)
}

/// As in TOML, with optional quotes: `5`, `true`, `"a"`, `a`, `["a", "b"]`.
fn parse_value(text: &str) -> Value {
    // Never an error: what is nothing else is a string.
    text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {})
}

fn known(path: &[&str], place: &str) -> Result<(), ConfigError> {
    match path {
        _ if is_key(path) => Ok(()),
        [MOVED_SECTION, _] => Err(ConfigError::Moved { place: place.to_owned() }),
        _ => Err(unknown(&path.join("."), place)),
    }
}

fn unknown(key: &str, place: &str) -> ConfigError {
    if let Some(section @ ("scylla" | "redis")) = key.strip_suffix(".password") {
        let advice =
            format!("write it into a file that only the server can read, and name that in {section}.password_file");
        return ConfigError::UnknownKey { key: key.to_owned(), place: place.to_owned(), advice };
    }
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let near = key_names().into_iter().find(|name| last(name) == last(key));
    let advice = match near {
        Some(near) => format!("did you mean {near}?"),
        None => "`godwit config` prints all keys".to_owned(),
    };
    ConfigError::UnknownKey { key: key.to_owned(), place: place.to_owned(), advice }
}

fn wrong_value(error: &figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let place = error.metadata.as_ref().map_or("the defaults".into(), |metadata| metadata.name.to_string());
    let place = match place.as_str() {
        "the environment" => format!("the environment variable {PREFIX}{}", error.path.join("__").to_uppercase()),
        _ => place,
    };
    let reason = match &error.kind {
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("{actual} is not {}", in_words(expected))
        }
        Kind::UnknownVariant(actual, expected) => format!("{actual:?} is none of {}", expected.join(", ")),
        Kind::Message(message) if message.contains("socket address") => {
            format!("it is not {}", in_words("socket address"))
        }
        other => other.to_string(),
    };
    ConfigError::WrongValue { key, place, reason }
}

/// What the deserialiser calls a type, as an operator would.
fn in_words(expected: &str) -> &str {
    match expected {
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "socket address" => "an IP address with a port, such as 127.0.0.1:4433",
        other => other,
    }
}

/// Why there is no configuration. The text names the source and the key, and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file that was named is not there, or not readable.
    #[error("cannot read the configuration file {file}: {reason}")]
    Unreadable {
        /// Its path.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// The file is no TOML.
    #[error("{file} is not valid TOML: {reason}")]
    Syntax {
        /// Its path.
        file: String,
        /// Where and why.
        reason: String,
    },
    /// A key that does not exist.
    #[error("there is no key {key:?}, which {place} sets; {advice}")]
    UnknownKey {
        /// As it was written.
        key: String,
        /// The source.
        place: String,
        /// What to do.
        advice: String,
    },
    /// A key of a section that has another name now.
    #[error(
        "the section [store], which {place} sets, is called [embedded] now, its keys being the same: write [embedded], \
         GODWIT_EMBEDDED__KEY or --set embedded.key=value. `store` is where the history is kept, \"embedded\" by default"
    )]
    Moved {
        /// The source.
        place: String,
    },
    /// A value of the wrong type.
    #[error(
        "the value of {key}, which {place} sets, is wrong: {reason}; `godwit config` prints what it should look like"
    )]
    WrongValue {
        /// Its full name.
        key: String,
        /// The source.
        place: String,
        /// What was expected.
        reason: String,
    },
    /// Values outside their range, or that contradict each other.
    #[error("the configuration cannot be used:{0}")]
    Invalid(Lines),
    /// `--set` without `=`.
    #[error("--set {0:?} is no assignment; write --set section.key=value")]
    NoAssignment(String),
    /// A value that is not UTF-8.
    #[error("the value of {0} is not valid UTF-8")]
    NotUnicode(String),
}

/// One line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines(Vec<String>);

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RegistrationMode, StoreAddress};
    use proptest::prelude::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn load(text: &str, environment: &[(&str, &str)], set: &[&str]) -> Result<Loaded, ConfigError> {
        let file = file(text);
        let variables: Vec<_> =
            environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        let overrides =
            Overrides { set: set.iter().map(|&assignment| assignment.to_owned()).collect(), ..Overrides::default() };
        Config::load_from(Some(file.path().to_owned()), variables.into_iter(), &overrides)
    }

    fn error(text: &str, environment: &[(&str, &str)], set: &[&str]) -> String {
        load(text, environment, set).unwrap_err().to_string()
    }

    #[test]
    fn with_no_source_the_defaults_are_in_force() {
        let loaded = Config::load_from(None, std::iter::empty(), &Overrides::default()).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let text =
            "[limits]\nidle_timeout_ms = 2000\nlinger_ms = 2000\nhistory_entries_max = 2\nmessage_bytes_max = 200";
        let environment = [("GODWIT_LIMITS__LINGER_MS", "3000"), ("GODWIT_LIMITS__HISTORY_ENTRIES_MAX", "3")];
        let limits = load(text, &environment, &["limits.history_entries_max=4"]).unwrap().config.limits;
        let seen = (limits.message_bytes_max, limits.idle_timeout_ms, limits.linger_ms, limits.history_entries_max);
        assert_eq!(seen, (200, 2000, 3000, 4));
        assert_eq!(limits.users_per_request_max, Config::default().limits.users_per_request_max);
    }

    #[test]
    fn the_environment_sets_addresses_lists_and_modes() {
        let environment = [
            ("GODWIT_LISTEN", "[::]:4433"),
            ("GODWIT_TLS__NAMES", r#"["chat.example", "10.0.0.1"]"#),
            ("GODWIT_REGISTRATION__MODE", "invitation"),
            ("GODWIT_METRICS__ENABLED", "false"),
            ("UNRELATED", "x"),
        ];
        let config = load("", &environment, &[]).unwrap().config;
        assert_eq!(config.listen, "[::]:4433".parse().unwrap());
        assert_eq!(config.tls.names, ["chat.example", "10.0.0.1"]);
        assert_eq!(config.registration.mode, Some(RegistrationMode::Invitation));
        assert!(!config.metrics.enabled);
    }

    #[test]
    fn the_short_flags_set_their_keys() {
        let overrides = Overrides {
            listen: Some("127.0.0.1:0".into()),
            cores: Some(3),
            data_dir: Some("elsewhere".into()),
            set: Vec::new(),
        };
        let config = Config::load_from(None, std::iter::empty(), &overrides).unwrap().config;
        assert_eq!(config.listen.port(), 0);
        assert_eq!((config.cores, config.data_dir), (3, PathBuf::from("elsewhere")));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_source_and_advice() {
        let seen = error("[limits]\nidle_timeout = 5", &[], &[]);
        assert!(seen.contains("limits.idle_timeout") && seen.contains("godwit config"), "{seen}");
        let seen = error("idle_timeout_ms = 5", &[], &[]);
        assert!(seen.contains("did you mean limits.idle_timeout_ms?"), "{seen}");
        let seen = error("[limit]", &[], &[]);
        assert!(seen.contains("\"limit\""), "{seen}");
        let seen = error("", &[("GODWIT_LIMITS__NOTHING", "1")], &[]);
        assert!(seen.contains("GODWIT_LIMITS__NOTHING"), "{seen}");
        let seen = error("", &[], &["limits.nothing=1"]);
        assert!(seen.contains("--set limits.nothing=1"), "{seen}");
    }

    #[test]
    fn the_section_store_is_refused_with_its_new_name() {
        for seen in [
            error("[store]\ncache_bytes = 1048576", &[], &[]),
            error("[store]", &[], &[]),
            error("", &[("GODWIT_STORE__CACHE_BYTES", "1048576")], &[]),
            error("", &[], &["store.cache_bytes=1048576"]),
        ] {
            assert!(seen.contains("[embedded]"), "{seen}");
        }
        assert!(load("", &[], &["embedded.cache_bytes=1048576"]).is_ok());
    }

    #[test]
    fn store_and_summaries_are_read_from_every_source() {
        let config = load("store = \"embedded:/a b\"\nsummaries = \"redis://a,b\"", &[], &[]).unwrap().config;
        assert_eq!(config.store, StoreAddress::EmbeddedIn("/a b".into()));
        assert_eq!(config.summaries.to_string(), "redis://a,b");
        let config =
            load("", &[("GODWIT_STORE", "scylla://a,b:9042/chat")], &["summaries=rediss://[::1]:7000"]).unwrap().config;
        assert_eq!(config.store.to_string(), "scylla://a,b:9042/chat");
        assert_eq!(config.summaries.to_string(), "rediss://[::1]:7000");
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_its_source_and_what_one_looks_like() {
        let seen = error("", &[("GODWIT_STORE", "cassandra://a/b")], &[]);
        assert!(
            seen.contains("the environment variable GODWIT_STORE") && seen.contains("scylla://node1,node2/keyspace"),
            "{seen}"
        );
        let seen = error("", &[], &["summaries=redis://:secret@host"]);
        assert!(seen.contains("redis.password_file") && !seen.contains("secret"), "{seen}");
        let seen = error("[scylla]\npassword = \"secret\"", &[], &[]);
        assert!(seen.contains("scylla.password_file") && !seen.contains("\"secret"), "{seen}");
    }

    #[test]
    fn a_variable_that_names_no_key_is_ignored_with_a_warning() {
        let loaded = load("", &[("GODWIT_LISTN", "x"), ("GODWIT_PASSWORD", "secret")], &[]).unwrap();
        assert_eq!(loaded.warnings.len(), 1);
        assert!(loaded.warnings[0].contains("GODWIT_LISTN"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_its_source() {
        let seen = error("[limits]\nidle_timeout_ms = \"soon\"", &[], &[]);
        assert!(seen.contains("limits.idle_timeout_ms") && seen.contains("/"), "{seen}");
        let seen = error("", &[("GODWIT_CORES", "many")], &[]);
        assert!(seen.contains("the environment variable GODWIT_CORES"), "{seen}");
        let seen = error("", &[], &["registration.mode=everyone"]);
        assert!(seen.contains("the command line") && seen.contains("open, invitation, closed"), "{seen}");
        let seen = error("listen = \"localhost\"", &[], &[]);
        assert!(seen.contains("listen"), "{seen}");
    }

    #[test]
    fn a_value_outside_its_range_is_refused_with_its_source_and_range() {
        let seen = error("[token]\nlifetime_days = 0", &[("GODWIT_LIMITS__HISTORY_ENTRIES_MAX", "0")], &[]);
        assert!(seen.contains("token.lifetime_days") && seen.contains("1 to 3650"), "{seen}");
        assert!(seen.contains("limits.history_entries_max (the environment)"), "{seen}");
    }

    #[test]
    fn broken_toml_and_a_missing_file_are_told_apart() {
        assert!(matches!(load("listen = ", &[], &[]), Err(ConfigError::Syntax { .. })));
        let missing = Config::load_from(Some("/nowhere/godwit.toml".into()), std::iter::empty(), &Overrides::default());
        assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_loading_panic(text in "(\\[?[a-z_.]{0,12}\\]? ?=? ?[\"0-9a-z\\[{]{0,6}\n){0,6}", value in ".{0,20}") {
            let _ = load(&text, &[("GODWIT_LISTEN", &value.replace('\0', ""))], &[]);
        }
    }
}
