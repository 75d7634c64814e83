//! In which order components start: what each requires comes before it, and
//! otherwise the order in which they were registered. Pure.

use super::config::Spec;
use crate::error::{Error, ErrorClass, ErrorKind, Result};

/// Where one component stands and what it requires.
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) requires: Vec<&'a str>,
}

impl<'a> Node<'a> {
    pub(super) fn of(spec: &'a Spec) -> Self {
        let requires = spec.requires.iter().map(|require| require.name.as_str()).collect();
        Self { name: spec.name.as_str(), requires }
    }
}

/// The start order, as places in `nodes`. A name that nobody has is passed
/// over: who requires it waits.
///
/// # Errors
///
/// `InvalidArgument` when components require each other in a circle; the text
/// shows the path, such as `a -> b -> a`.
pub(super) fn order(nodes: &[Node<'_>]) -> Result<Vec<usize>> {
    let (order, circles) = walk(nodes);
    match circles.first() {
        None => Ok(order),
        // Any of the others may be the one that changes.
        Some(circle) => Err(Error::invalid(shown(nodes, circle)).with_class(ErrorClass::Retryable)),
    }
}

/// Those that require each other in a circle, as places in `nodes`, each
/// before the one it requires and the last before the first. At least one
/// circle for each knot, not every way round it.
pub(super) fn circles(nodes: &[Node<'_>]) -> Vec<Vec<usize>> {
    walk(nodes).1
}

/// What is said about a circle.
pub(super) fn shown(nodes: &[Node<'_>], circle: &[usize]) -> String {
    let names: Vec<&str> = circle.iter().chain(circle.first()).map(|&idx| nodes[idx].name).collect();
    format!("components require each other in a circle: {}", names.join(" -> "))
}

fn walk(nodes: &[Node<'_>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let places: std::collections::HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(idx, node)| (node.name, idx)).collect();
    let mut marks = vec![Mark::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    let mut circles = Vec::new();
    for first in 0..nodes.len() {
        if marks[first] != Mark::New {
            continue;
        }
        // A list instead of recursion: chains may be deep.
        let mut path = vec![(first, 0)];
        marks[first] = Mark::Open;
        while let Some(&mut (idx, ref mut next)) = path.last_mut() {
            let Some(required) = nodes[idx].requires.get(*next) else {
                marks[idx] = Mark::Done;
                order.push(idx);
                path.pop();
                continue;
            };
            *next += 1;
            let Some(&required) = places.get(required) else { continue };
            match marks[required] {
                Mark::New => {
                    marks[required] = Mark::Open;
                    path.push((required, 0));
                }
                Mark::Done => {}
                Mark::Open => {
                    let circle = path.iter().map(|&(idx, _)| idx).skip_while(|&idx| idx != required);
                    circles.push(circle.collect());
                }
            }
        }
    }
    (order, circles)
}

/// Refuses names that nobody has.
///
/// # Errors
///
/// `NotFound`; the text says who requires what.
pub(super) fn check_present(nodes: &[Node<'_>]) -> Result<()> {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.name).collect();
    crate::order::sort(&mut names);
    let missing: Vec<String> = nodes
        .iter()
        .flat_map(|node| node.requires.iter().map(move |required| (node.name, *required)))
        .filter(|(_, required)| names.binary_search(required).is_err())
        .map(|(name, required)| format!("{name} requires {required}, which is not registered"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound).context(missing.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes written as `name: required required`, one a line.
    fn nodes(text: &str) -> Vec<Node<'_>> {
        let lines = text.split(',').map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let (name, requires) = line.split_once(':').unwrap_or((line, ""));
                Node { name, requires: requires.split_whitespace().collect() }
            })
            .collect()
    }

    #[test]
    fn what_is_required_comes_first_and_the_rest_as_registered() {
        for (text, expected) in [
            ("", Ok("")),
            ("a, b, c", Ok("a b c")),
            ("a: c, b, c", Ok("c a b")),
            ("a: b c, b: d, c: d, d", Ok("d b c a")),
            ("c, b: c, a: b", Ok("c b a")),
            ("a: gone, b", Ok("a b")),
            ("a: a", Err("a -> a")),
            ("a: b, b: a", Err("a -> b -> a")),
            ("x: a, a: b, b: c, c: a", Err("a -> b -> c -> a")),
        ] {
            let nodes = nodes(text);
            let found = order(&nodes);
            match expected {
                Ok(names) => {
                    let found: Vec<_> = found.unwrap().iter().map(|&idx| nodes[idx].name).collect();
                    assert_eq!(found.join(" "), names, "{text}");
                }
                Err(path) => {
                    let error = found.unwrap_err().to_string();
                    assert_eq!(error, format!("components require each other in a circle: {path}"));
                }
            }
        }
    }

    #[test]
    fn a_chain_of_100_000_needs_no_stack() {
        let names: Vec<String> = (0..100_000).map(|i| i.to_string()).collect();
        let nodes: Vec<_> = (0..names.len())
            .map(|i| Node { name: &names[i], requires: names.get(i + 1).map(|n| &**n).into_iter().collect() })
            .collect();
        assert_eq!(order(&nodes).unwrap().first(), Some(&99_999));
    }

    #[test]
    fn missing_names_are_named() {
        assert!(check_present(&nodes("a: b, b")).is_ok());
        let error = check_present(&nodes("a: b x, b: y")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a requires x, which is not registered; b requires y, which is not registered"
        );
    }
}
