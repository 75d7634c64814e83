//! The types of components that come with the library.

use crate::decode::Object;
use crate::env::Env;
use crate::host::deploy::Registry;
use crate::watch::{self, Watcher};

/// A registry of all types that come with the library; add your own to it.
///
/// # Examples
///
/// ```
/// use loopkeeper::shipped;
///
/// let watcher = shipped::registry().describe("watcher")?;
/// assert!(watcher.fields.iter().any(|field| field.path == "backoff.max_delay"));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::new();
    let watcher = registry.register("watcher", |name: &str, o: &mut Object<'_, '_>| {
        let config = watch::descriptor::read(name, o)?;
        Some(move |env: &Env| Ok(Watcher::new(env, config)?))
    });
    debug_assert!(watcher.is_ok(), "the names are valid and each stands once");
    registry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Presence;

    #[test]
    fn every_type_and_field_says_what_it_is_for() {
        let registry = registry();
        assert_eq!(registry.names().collect::<Vec<_>>(), ["watcher"]);
        for name in registry.names() {
            let info = registry.describe(name).unwrap();
            assert!(!info.summary.is_empty(), "{name}");
            for field in info.fields {
                assert!(!field.doc.is_empty() && !field.kind.is_empty(), "{name}: {}", field.path);
                assert_ne!(field.presence, Presence::Default(None), "{name}: {}", field.path);
            }
        }
    }
}
