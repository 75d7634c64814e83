//! What a descriptor may hold, for people: from the decoders themselves.

use std::fmt::Write as _;

use loopkeeper::Result;
use loopkeeper::decode::{FieldInfo, Presence};
use loopkeeper::host::deploy::{Registry, TypeInfo};

/// How wide a line may be.
const WIDTH: usize = 100;

/// Tells about all types, or about one.
pub(crate) fn text(registry: &Registry, name: Option<&str>) -> Result<String> {
    let names = match name {
        Some(name) => vec![name],
        None => registry.names().collect(),
    };
    let types: Result<Vec<String>> =
        names.into_iter().map(|name| registry.describe(name).map(describe)).collect();
    Ok(types?.join("\n\n"))
}

fn describe(info: TypeInfo) -> String {
    let TypeInfo { name, summary, fields, .. } = info;
    let mut text = format!("{name}:");
    wrap_from(name.chars().count() + 1, "    ", summary, &mut text);
    text.push_str(&format!(
        "\n\n    {{\"name\": NAME, \"type\": \"{name}\", \"enabled\": true, \"requires\": [], \"config\": {{..}}}}\n\n\
         config:"
    ));
    for field in &fields {
        text.push_str("\n\n");
        text.push_str(&entry(field));
    }
    text
}

/// One setting: its name, what it holds and whether it must be there; below
/// that what it means.
fn entry(field: &FieldInfo) -> String {
    let FieldInfo { path, kind, presence, doc, .. } = field;
    let mut text = format!("  {path}");
    let what = match presence {
        Presence::Required => format!("{kind}; required"),
        Presence::Default(Some(default)) => format!("{kind}; {default} when absent"),
        _ => kind.clone(),
    };
    wrap(&what, &mut text);
    wrap(doc, &mut text);
    text
}

/// Appends a text in lines of its own, indented.
fn wrap(what: &str, text: &mut String) {
    wrap_from(WIDTH, "     ", what, text);
}

/// Appends a text to a line that has `column` characters, and goes on in
/// lines of its own.
fn wrap_from(mut column: usize, indent: &str, what: &str, text: &mut String) {
    for word in what.split_whitespace() {
        let len = word.chars().count();
        if column + 1 + len > WIDTH {
            let _ = write!(text, "\n{indent}");
            column = indent.len();
        }
        let _ = write!(text, " {word}");
        column += 1 + len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopkeeper::shipped;

    #[test]
    fn every_setting_is_told_with_its_default_and_meaning() {
        let text = text(&shipped::registry(), Some("watcher")).unwrap();
        let backoff = "\n\n  backoff.max_delay\n      a duration such as \"30s\"; \"1m0s\" when absent\n      \
                       No delay is longer.\n\n";
        assert!(text.contains(backoff), "{text}");
        let address = "\n\n  probe.tcp.address\n      a string; required\n      The host and the port";
        assert!(text.contains(address), "{text}");
        assert!(text.starts_with("watcher: Watches one service"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let all = super::text(&shipped::registry(), None).unwrap();
        assert!(all.lines().all(|line| line.chars().count() <= WIDTH), "{all}");
        let unknown = super::text(&shipped::registry(), Some("wacher")).unwrap_err();
        assert_eq!(unknown.to_string(), "unknown type \"wacher\", did you mean \"watcher\"?");
    }
}
