//! What a configuration must satisfy beyond its types, and what an operator should hear about one that is valid.

use super::{Config, RegistrationMode, Section, SummariesAddress};

/// OWASP's floor for Argon2id with one lane: 19 MiB and two passes, or more memory with one pass.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
const MEMORY_KIB_ADVISED: u32 = 19_456;
const MEMORY_KIB_ADVISED_WITH_ONE_PASS: u32 = 47_104;

/// A key by its full name, `section.key`, and what is wrong with it.
pub(super) struct Invalid {
    pub key: String,
    pub reason: String,
}

impl Config {
    /// Everything that is wrong with the values, each with the key to change. Empty: the configuration can be used.
    pub(super) fn invalid(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        let mut section = |prefix: &str, wrong: Vec<(&'static str, String)>| {
            found.extend(wrong.into_iter().map(|(key, reason)| Invalid { key: format!("{prefix}{key}"), reason }));
        };
        // Taken apart by name, so that a new section cannot be forgotten here.
        let Self {
            listen: _,
            cores: _,
            data_dir: _,
            store: _,
            summaries: _,
            tls,
            registration,
            limits,
            transport,
            embedded,
            scylla,
            redis,
            password,
            token,
            delivery,
            schedule,
            metrics,
            log,
        } = self;
        section("", self.out_of_range());
        section("tls.", tls.out_of_range());
        section("registration.", registration.out_of_range());
        section("limits.", limits.out_of_range());
        section("transport.", transport.out_of_range());
        section("embedded.", embedded.out_of_range());
        section("scylla.", scylla.out_of_range());
        section("redis.", redis.out_of_range());
        section("password.", password.out_of_range());
        section("token.", token.out_of_range());
        section("delivery.", delivery.out_of_range());
        section("schedule.", schedule.out_of_range());
        section("metrics.", metrics.out_of_range());
        section("log.", log.out_of_range());
        self.contradictions(&mut found);
        found
    }

    /// What is allowed and yet probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.listen.ip().is_loopback() && self.registration_mode() == RegistrationMode::Open {
            warnings.push(format!(
                "everybody who reaches {} can register; set registration.mode = \"invitation\" or \"closed\" if that is \
                 not meant",
                self.listen
            ));
        }
        if self.metrics.enabled && !self.metrics.listen.ip().is_loopback() {
            warnings.push(format!(
                "metrics.listen = {} is reachable from other machines and asks for no password",
                self.metrics.listen
            ));
        }
        let advised = if self.password.iterations >= 2 { MEMORY_KIB_ADVISED } else { MEMORY_KIB_ADVISED_WITH_ONE_PASS };
        if self.password.memory_kib < advised {
            warnings.push(format!(
                "new passwords are hashed with too little work: with password.iterations = {}, password.memory_kib should \
                 be {advised} or more",
                self.password.iterations
            ));
        }
        warnings
    }

    /// Keys that are fine alone and wrong together.
    fn contradictions(&self, found: &mut Vec<Invalid>) {
        let mut wrong = |key: &str, reason: &str| found.push(Invalid { key: key.into(), reason: reason.into() });
        let (tls, scylla, redis) = (&self.tls, &self.scylla, &self.redis);
        for (section, certificate, key) in [
            ("tls", &tls.cert_file, &tls.key_file),
            ("scylla", &scylla.cert_file, &scylla.key_file),
            ("redis", &redis.cert_file, &redis.key_file),
        ] {
            let (alone, missing) = match (certificate, key) {
                (Some(_), None) => ("cert_file", "key_file"),
                (None, Some(_)) => ("key_file", "cert_file"),
                _ => continue,
            };
            wrong(&format!("{section}.{alone}"), &format!("it needs {section}.{missing} beside it"));
        }
        match (&scylla.user, &scylla.password_file) {
            (Some(_), None) => wrong("scylla.user", "it needs scylla.password_file beside it"),
            (None, Some(_)) => wrong("scylla.password_file", "it needs scylla.user beside it"),
            _ => {}
        }
        if redis.user.is_some() && redis.password_file.is_none() {
            wrong("redis.user", "it needs redis.password_file beside it");
        }
        // Who names a certificate believes that it is used.
        if scylla.ca_file.is_none() && scylla.cert_file.is_some() {
            wrong("scylla.cert_file", "without scylla.ca_file there is no TLS, and nobody to show a certificate to");
        }
        let plain = matches!(self.summaries, SummariesAddress::Redis { tls: false, .. });
        if plain && (redis.ca_file.is_some() || redis.cert_file.is_some()) {
            wrong(
                "summaries",
                "redis:// is without TLS, and [redis] names a certificate; write rediss://, or name none",
            );
        }
        if self.tls.names.is_empty() {
            wrong("tls.names", "a certificate is issued for at least one name");
        }
        if self.password.memory_kib < 8 * self.password.parallelism {
            wrong("password.memory_kib", "Argon2 needs 8 KiB for each lane of password.parallelism");
        }
        if self.limits.retry_handshakes_min > self.limits.handshakes_max {
            wrong("limits.retry_handshakes_min", "it must not be above limits.handshakes_max");
        }
        // A pushed entry and its surroundings must fit one record of the store's queue, or it could never be sent.
        if self.embedded.queue_bytes_max < 4 * self.limits.message_bytes_max {
            wrong("embedded.queue_bytes_max", "it must hold at least four messages of limits.message_bytes_max");
        }
        if self.data_dir.as_os_str().is_empty() {
            wrong("data_dir", "it is empty; name a directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid_keys(config: &Config) -> Vec<String> {
        config.invalid().into_iter().map(|invalid| invalid.key).collect()
    }

    #[test]
    fn the_defaults_are_valid_and_warn_of_nothing() {
        assert_eq!(invalid_keys(&Config::default()), Vec::<String>::new());
        assert_eq!(Config::default().warnings(), Vec::<String>::new());
    }

    #[test]
    fn every_value_outside_its_range_is_found_at_once() {
        let mut config = Config::default();
        config.limits.message_bytes_max = 1024 * 1024;
        config.token.lifetime_days = 0;
        assert_eq!(invalid_keys(&config), ["limits.message_bytes_max", "token.lifetime_days"]);
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let mut config = Config::default();
        config.tls.cert_file = Some("cert.pem".into());
        assert_eq!(invalid_keys(&config), ["tls.cert_file"]);
    }

    #[test]
    fn a_certificate_that_would_not_be_used_is_refused() {
        let mut config = Config::default();
        (config.scylla.cert_file, config.scylla.key_file) = (Some("cert.pem".into()), Some("key.pem".into()));
        config.redis.cert_file = Some("cert.pem".into());
        config.summaries = "redis://host".parse().unwrap();
        assert_eq!(invalid_keys(&config), ["redis.cert_file", "scylla.cert_file", "summaries"]);
        config.scylla.ca_file = Some("ca.pem".into());
        config.redis.key_file = Some("key.pem".into());
        config.summaries = "rediss://host".parse().unwrap();
        assert!(invalid_keys(&config).is_empty());
    }

    #[test]
    fn a_user_without_a_password_is_refused() {
        let mut config = Config::default();
        config.scylla.user = Some("godwit".into());
        config.redis.user = Some("godwit".into());
        assert_eq!(invalid_keys(&config), ["scylla.user", "redis.user"]);
        config.scylla.password_file = Some("password".into());
        config.redis.password_file = Some("password".into());
        assert!(invalid_keys(&config).is_empty());
    }

    #[test]
    fn open_registration_for_other_machines_is_allowed_with_a_warning() {
        let mut config = Config { listen: "0.0.0.0:4433".parse().unwrap(), ..Config::default() };
        assert!(config.warnings().is_empty());
        config.registration.mode = Some(RegistrationMode::Open);
        assert!(invalid_keys(&config).is_empty());
        assert!(config.warnings()[0].contains("everybody"));
    }

    #[test]
    fn weak_password_parameters_warn() {
        let mut config = Config::default();
        config.password.iterations = 1;
        assert!(config.warnings()[0].contains("47104"));
    }
}
