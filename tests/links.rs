//! Every link in README.md, in the pages of src/docs and in the examples'
//! READMEs leads somewhere.
//!
//! Files and headings are looked up here; items of the crate by rustdoc, which
//! knows them, from the pages that lib.rs includes. What is on the network is
//! only looked at: a test must pass without it.

#![allow(clippy::unwrap_used, reason = "test code: a file that cannot be read is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

const DOCS: &str = "src/docs/";
/// Folders that a document may name in code; what begins so must be there.
const FOLDERS: [&str; 4] = ["src/", "tests/", "examples/", "benches/"];
const NOT_PACKAGED: &str = "tests/fuzz";

#[test]
fn every_link_resolves() {
    let pages = pages();
    assert!(pages.len() >= 8, "{pages:?}");
    let mut n_links = 0;
    let mut faults = Vec::new();
    for path in &pages {
        let page = Page::new(path, &read(path));
        n_links += page.links.len();
        faults.extend(page.faults());
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(n_links > 50, "{n_links} links were found: they are not read right");
}

#[test]
fn every_page_is_in_rustdoc() {
    let lib = read("src/lib.rs");
    for path in pages().iter().filter(|path| path.starts_with(DOCS)) {
        let include = format!("include_str!(\"docs/{}\")", &path[DOCS.len()..]);
        assert!(lib.contains(&include), "src/lib.rs has no {include}");
    }
}

#[test]
fn what_leads_nowhere_is_told() {
    for (path, text, expected) in [
        ("README.md", "# A\n\nSee [b](src/nowhere.rs).", "README.md:3: no file src/nowhere.rs"),
        ("README.md", "[b](#c)", "README.md:1: no heading #c in README.md"),
        ("README.md", "[b](src/docs/c.md#no-such)", "README.md:1: no heading #no-such in src/docs/c.md"),
        ("README.md", "[b\nb](src/nowhere.rs \"title\")", "README.md:2: no file src/nowhere.rs"),
        ("README.md", "![b](src/docs/no.png)", "README.md:1: no file src/docs/no.png"),
        ("README.md", "<img src=\"src/docs/no.png\">", "README.md:1: no file src/docs/no.png"),
        ("README.md", "[b]: src/nowhere.rs", "README.md:1: no file src/nowhere.rs"),
        ("README.md", "[b](../outside.md)", "README.md:1: ../outside.md is outside of the repository"),
        (
            "README.md",
            "[b](crate::Env)",
            "README.md:1: crate::Env is a link of rustdoc, and this is none of its pages",
        ),
        ("README.md", "[b](http:/example.org)", "README.md:1: http:/example.org is no address"),
        ("README.md", "[b](https://example)", "README.md:1: https://example is no address"),
        ("README.md", "[b](https://)", "README.md:1: https:// is no address"),
        ("README.md", "[b](gopher://example.org)", "README.md:1: gopher://example.org is no address"),
        ("README.md", "[b]()", "README.md:1: a link to nothing"),
        ("README.md", "Look at `src/nowhere.rs`.", "README.md:1: no file src/nowhere.rs"),
        ("src/docs/c.md", "[b](../lib.rs)", "src/docs/c.md:1: ../lib.rs is a file, which rustdoc has not"),
        (
            "src/docs/c.md",
            "[b](crate::_documentation::d)",
            "src/docs/c.md:1: where the file is read crate::_documentation::d is dead: [..][d] and [d]: d.md",
        ),
        // Said in lib.rs for this page, but not by its name; and for others only.
        (
            "src/docs/limitations.md",
            "[b](decisions.md)",
            "src/docs/limitations.md:1: decisions.md is a file, which rustdoc has not",
        ),
        (
            "src/docs/c.md",
            "[b]\n\n[decisions]: decisions.md",
            "src/docs/c.md:3: decisions.md is a file, which rustdoc has not",
        ),
    ] {
        assert_eq!(Page::new(path, text).faults(), [expected], "{text}");
    }
}

#[test]
fn what_leads_somewhere_is_let_pass() {
    for (path, text) in [
        ("README.md", "# A `b` -- C, d!\n\n[x](#a-b----c-d)"),
        ("README.md", "# A\n# A\n[x](#a-1)"),
        ("README.md", "[x](src/lib.rs) [y](src/docs) [z](LICENSE-MIT)"),
        ("README.md", "[x](src/docs/c.md#build)"),
        ("README.md", "[x](https://example.org/a_(b)?c=d#e) <https://example.org>"),
        ("README.md", "```sh\n[x](nowhere)\n# no heading\n```\n`[x](nowhere)` and ``a ` [x](no)``"),
        ("README.md", "    ```\n[x](src/lib.rs)"),
        ("README.md", "`a[i](j)` and [this] are none"),
        ("README.md", "`src/docs/*.md` `src/KIND.rs` `src/lib.rs` `tests/fuzz/`"),
        ("src/docs/c.md", "[x](crate::probe::http()) [y](crate::Env)"),
        ("src/docs/limitations.md", "[x][decisions]\n\n[decisions]: decisions.md"),
    ] {
        assert_eq!(Page::new(path, text).faults(), [""; 0], "{text}");
    }
}

/// The documents, from the repository's root.
fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    let in_docs = fs::read_dir(root().join(DOCS)).unwrap().map(|entry| entry.unwrap().file_name());
    let in_docs = in_docs.map(|name| format!("{DOCS}{}", name.to_str().unwrap()));
    found.extend(in_docs.filter(|path| path.ends_with(".md")));
    let examples = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().file_name());
    let examples = examples.map(|name| format!("examples/{}/README.md", name.to_str().unwrap()));
    found.extend(examples.filter(|path| root().join(path).is_file()));
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[derive(Debug)]
struct Page {
    path: String,
    /// The text without code; offsets are those of the file.
    prose: String,
    /// What stands in code within a line, and where.
    code: Vec<(usize, String)>,
    /// Where each link leads, and where it stands.
    links: Vec<(usize, String)>,
    anchors: Vec<String>,
}

impl Page {
    fn new(path: &str, text: &str) -> Self {
        let (unfenced, anchors) = without_blocks(text);
        let (prose, code) = without_spans(&unfenced);
        let links = links(&prose);
        Self { path: path.to_owned(), prose, code, links, anchors }
    }

    fn faults(&self) -> Vec<String> {
        let of_links = self.links.iter().filter_map(|(at, target)| Some((at, self.fault(target)?)));
        // What changed once may be gone by now.
        let is_history = self.path.ends_with("changelog.md");
        let of_code = self.code.iter().filter(|_| !is_history).filter_map(|(at, code)| {
            let is_place = FOLDERS.iter().any(|folder| code.starts_with(folder))
                && !code.starts_with(NOT_PACKAGED)
                && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c));
            let named = code.trim_end_matches('/');
            (is_place && !root().join(named).exists()).then(|| (at, format!("no file {named}")))
        });
        let mut faults: Vec<_> = of_links.chain(of_code).collect();
        faults.sort();
        let line = |at: &usize| self.prose[..*at].matches('\n').count() + 1;
        faults.iter().map(|(at, fault)| format!("{}:{}: {fault}", self.path, line(at))).collect()
    }

    /// What is wrong with a link.
    fn fault(&self, target: &str) -> Option<String> {
        let is_of_rustdoc = self.path.starts_with(DOCS);
        if target.is_empty() {
            return Some("a link to nothing".to_owned());
        }
        if target.starts_with("crate::") {
            if !is_of_rustdoc {
                return Some(format!("{target} is a link of rustdoc, and this is none of its pages"));
            }
            let page = target.strip_prefix("crate::_documentation::")?;
            return Some(format!(
                "where the file is read {target} is dead: [..][{page}] and [{page}]: {page}.md"
            ));
        }
        if target.contains(':') {
            return (!is_address(target)).then(|| format!("{target} is no address"));
        }
        let (file, anchor) =
            target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
        if file.is_empty() {
            return self.fault_of_file(&self.path, anchor);
        }
        if is_of_rustdoc && !self.is_known_to_rustdoc(file) {
            return Some(format!("{file} is a file, which rustdoc has not"));
        }
        match inside(Path::new(&self.path).parent().unwrap_or(Path::new("")), file) {
            Some(path) => self.fault_of_file(&path, anchor),
            None => Some(format!("{file} is outside of the repository")),
        }
    }

    /// Whether it is a page, defined by its name, and lib.rs says in front of
    /// this one what that is in rustdoc: the first of two definitions holds.
    fn is_known_to_rustdoc(&self, file: &str) -> bool {
        let lib = read("src/lib.rs");
        let Some(name) = file.strip_suffix(".md") else { return false };
        let include = format!("include_str!(\"docs/{}\")", self.path.trim_start_matches(DOCS));
        let before = lib.lines().take_while(|line| !line.contains(&include)).collect::<Vec<_>>();
        let definition = format!("#[doc = \"[{name}]: crate::_documentation::{name}\"]");
        let is_defined = before
            .iter()
            .rev()
            .take_while(|line| line.contains("#[doc"))
            .any(|line| line.contains(&definition));
        let is_by_name = self.prose.lines().any(|line| line == format!("[{name}]: {file}"));
        is_defined && is_by_name && !self.prose.contains(&format!("]({file})"))
    }

    fn fault_of_file(&self, path: &str, anchor: Option<&str>) -> Option<String> {
        if path != self.path && !root().join(path).exists() {
            return Some(format!("no file {path}"));
        }
        let anchor = anchor?;
        let is_there = if path == self.path {
            self.anchors.iter().any(|known| known == anchor)
        } else {
            path.ends_with(".md") && Self::new(path, &read(path)).anchors.iter().any(|known| known == anchor)
        };
        (!is_there).then(|| format!("no heading #{anchor} in {path}"))
    }
}

/// A path from the root, if it does not lead out of it.
fn inside(folder: &Path, file: &str) -> Option<String> {
    let mut path = PathBuf::new();
    for component in folder.join(file).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    Some(path.to_str()?.to_owned())
}

/// Whether it has the form of a web address.
fn is_address(target: &str) -> bool {
    let rest = target.strip_prefix("https://").or_else(|| target.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    host.contains('.')
        && host.split('.').all(is_label)
        && rest.chars().all(|c| c.is_ascii_graphic() && !"<>\"\\^`{|}".contains(c))
}

/// Blanks out code blocks, and finds the headings between them.
fn without_blocks(text: &str) -> (String, Vec<String>) {
    let mut out = String::with_capacity(text.len());
    let mut anchors: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut fence: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let inner = line.trim_start_matches(' ');
        let is_indented = line.len() - inner.len() > 3;
        let mark = ["```", "~~~"].into_iter().find(|mark| !is_indented && inner.starts_with(mark));
        let is_code = fence.is_some() || mark.is_some() || is_indented && inner.starts_with("```");
        match (fence, mark) {
            (None, mark) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        if is_code {
            out.extend(
                line.chars().map(|c| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) }),
            );
            continue;
        }
        let level = inner.chars().take_while(|c| *c == '#').count();
        if (1..=6).contains(&level) && inner[level..].starts_with(' ') {
            let slug = slug(inner[level..].trim());
            let n = seen.entry(slug.clone()).or_default();
            anchors.push(if *n == 0 { slug } else { format!("{slug}-{n}") });
            *n += 1;
        }
        out.push_str(line);
    }
    (out, anchors)
}

/// The name that a heading is reached by, on GitHub and in rustdoc alike.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Blanks out code within lines, and gives it.
fn without_spans(text: &str) -> (String, Vec<(usize, String)>) {
    let mut out = text.as_bytes().to_vec();
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('`') {
        let start = at + found;
        let ticks = text[start..].bytes().take_while(|byte| *byte == b'`').count();
        let inside = start + ticks;
        let mut from = inside;
        let end = loop {
            let Some(next) = text[from..].find('`') else { break None };
            let next = from + next;
            let n = text[next..].bytes().take_while(|byte| *byte == b'`').count();
            if n == ticks {
                break Some(next);
            }
            from = next + n;
        };
        let Some(end) = end else {
            at = inside;
            continue;
        };
        spans.push((start, text[inside..end].trim().to_owned()));
        for byte in &mut out[start..end + ticks] {
            if *byte != b'\n' {
                *byte = b'x';
            }
        }
        at = end + ticks;
    }
    (String::from_utf8(out).unwrap(), spans)
}

/// Where links and pictures lead.
fn links(prose: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let rest = &prose[at + 2..];
        let mut depth = 1_usize;
        let end = rest.find(|c| {
            depth = match c {
                '(' => depth + 1,
                ')' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        let target = &rest[..end.unwrap_or(rest.len())];
        found.push((at, target.split_whitespace().next().unwrap_or_default().to_owned()));
    }
    for attribute in ["src=\"", "srcset=\"", "href=\""] {
        for (at, _) in prose.match_indices(attribute) {
            let rest = &prose[at + attribute.len()..];
            found.push((at, rest.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    for scheme in ["<http://", "<https://"] {
        for (at, _) in prose.match_indices(scheme) {
            found.push((at, prose[at + 1..].split('>').next().unwrap_or_default().to_owned()));
        }
    }
    // Definitions: `[name]: target`.
    let mut at = 0;
    for line in prose.split_inclusive('\n') {
        if let Some((name, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "))
            && !name.contains(']')
        {
            found.push((at, target.split_whitespace().next().unwrap_or_default().to_owned()));
        }
        at += line.len();
    }
    found
}
