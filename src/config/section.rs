//! A section of the configuration, written once: its keys, their documentation, defaults and ranges.

/// One key, as `godwit config` prints it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As in the file.
    pub name: &'static str,
    /// Its documentation, line by line, each with a leading space.
    pub docs: &'static [&'static str],
}

/// What every section can say about itself.
pub trait Section {
    /// The keys, in the order in which they are printed.
    const KEYS: &'static [Key];

    /// Every key whose value lies outside its range, with what is wrong with it.
    fn out_of_range(&self) -> Vec<(&'static str, String)>;
}

/// Makes a struct out of documented keys: `key: Type = default, in range;`. The documentation of a key is also the comment
/// that `godwit config` prints above it, so the two cannot differ.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr $(, in $range:expr)?;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::section::Section for $name {
            const KEYS: &'static [$crate::config::section::Key] =
                &[$($crate::config::section::Key { name: stringify!($key), docs: &[$($doc),+] },)+];

            fn out_of_range(&self) -> Vec<(&'static str, String)> {
                #[allow(unused_mut)]
                let mut found = Vec::new();
                $($(
                    let range = $range;
                    if !range.contains(&self.$key) {
                        let reason = format!("it is {}, and must be {} to {}", self.$key, range.start(), range.end());
                        found.push((stringify!($key), reason));
                    }
                )?)+
                found
            }
        }
    };
}

pub(super) use section;
