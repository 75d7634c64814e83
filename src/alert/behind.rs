//! Who is down because another is: what requires what, all the way up.

use std::collections::HashSet;

use crate::name::Name;

/// All that `name` requires, directly or through others, nearest first; each
/// once, and never itself.
pub(crate) fn ancestors(name: &Name, requires: &dyn Fn(&Name) -> Vec<Name>) -> Vec<Name> {
    let mut seen = HashSet::from([name.clone()]);
    let mut found = Vec::new();
    let mut level = vec![name.clone()];
    while !level.is_empty() {
        let next: Vec<Name> =
            level.iter().flat_map(requires).filter(|name| seen.insert(name.clone())).collect();
        found.extend(next.iter().cloned());
        level = next;
    }
    found
}

/// The one that `name` is down behind: the farthest that is down, for what is
/// between is down because of it, too. Of several the one named first.
pub(crate) fn behind(
    name: &Name,
    requires: &dyn Fn(&Name) -> Vec<Name>,
    is_down: &dyn Fn(&Name) -> bool,
) -> Option<Name> {
    let is_root = |name: &Name| !ancestors(name, requires).iter().any(is_down);
    let down: Vec<Name> = ancestors(name, requires).into_iter().filter(|name| is_down(name)).collect();
    down.iter().find(|name| is_root(name)).or(down.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_that_is_down_is_named() {
        let requires = |name: &Name| -> Vec<Name> {
            let names: &[&str] = match name.as_str() {
                "app" => &["db", "cache"],
                "db" | "cache" => &["disk"],
                "disk" => &["power"],
                "loop-a" => &["loop-b"],
                "loop-b" => &["loop-a"],
                _ => &[],
            };
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        for (name, down, expected) in [
            ("app", &[][..], None),
            ("app", &["app"], None),
            ("app", &["cache"], Some("cache")),
            ("app", &["db", "cache"], Some("db")),
            ("app", &["disk", "cache"], Some("disk")),
            ("app", &["power"], Some("power")),
            ("power", &["power"], None),
            ("loop-a", &["loop-b", "loop-a"], Some("loop-b")),
        ] {
            let is_down = |name: &Name| down.contains(&name.as_str());
            let found = behind(&name.parse().unwrap(), &requires, &is_down);
            assert_eq!(found.as_ref().map(Name::as_str), expected, "{name} {down:?}");
        }
    }
}
