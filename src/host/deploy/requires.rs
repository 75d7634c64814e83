//! What descriptors ask of each other: names that must be there, and no
//! circle. Pure.

use super::descriptor::Descriptor;
use crate::decode;
use crate::duration::Shown;
use crate::host::graph::{self, Node};
use crate::map::Map;
use crate::name::Name;
use crate::tree::{Fault, Faults, Place, join_idx};

/// A name, and what it requires and where that is said.
pub(super) struct Asks<'a> {
    pub(super) name: &'a Name,
    pub(super) requires: &'a [(Name, Place)],
}

/// Those that require each other in a circle, and what each is told: where it
/// requires the next, and the whole path.
pub(super) fn circles(all: &[Asks<'_>]) -> Map<usize, Fault> {
    let nodes: Vec<Node<'_>> = all
        .iter()
        .map(|Asks { name, requires }| Node {
            name: name.as_str(),
            requires: requires.iter().map(|(name, _)| name.as_str()).collect(),
        })
        .collect();
    let mut faults = Map::new();
    for circle in graph::circles(&nodes) {
        let message = graph::shown(&nodes, &circle);
        for (at, &idx) in circle.iter().enumerate() {
            let next = all[circle[(at + 1) % circle.len()]].name;
            let requires = all[idx].requires.iter().enumerate();
            let Some((which, (_, place))) = requires.into_iter().find(|(_, (name, _))| name == next) else {
                continue;
            };
            let key = join_idx("requires", which);
            let fault = Fault { place: place.clone(), key, message: message.clone() };
            faults.get_or_insert_with(idx, || fault);
        }
    }
    faults
}

/// Looks whether descriptors can run together: all that is required is there
/// and enabled, and nothing requires itself by way of others.
///
/// A [`Deployer`](super::Deployer) does not need this: it starts what can be
/// started and tells the rest. Leave it out, too, where components are
/// required that no file describes. Those that are disabled may lack what they
/// like.
///
/// # Errors
///
/// Every name that is missing, disabled ones included, with the one that may
/// have been meant, and every circle with its path.
///
/// # Examples
///
/// ```no_run
/// use loopkeeper::{host::deploy::{check_requirements, load_folder}, shipped};
///
/// let descriptors = load_folder("deploy".as_ref(), &shipped::registry())?;
/// if let Err(faults) = check_requirements(&descriptors) {
///     eprintln!("{faults}"); // deploy/api.json:3:15: requires[0]: "dbb" …
/// }
/// # Ok::<(), loopkeeper::tree::Faults>(())
/// ```
pub fn check_requirements(descriptors: &[Descriptor]) -> Result<(), Faults> {
    let by_name: Map<&Name, &Descriptor> =
        descriptors.iter().map(|descriptor| (&descriptor.name, descriptor)).collect();
    let enabled: Vec<&Descriptor> = descriptors.iter().filter(|descriptor| descriptor.enabled).collect();
    let asked: Vec<_> = enabled.iter().map(|descriptor| descriptor.asks()).collect();
    let all: Vec<Asks<'_>> = enabled
        .iter()
        .zip(&asked)
        .map(|(descriptor, requires)| Asks { name: &descriptor.name, requires })
        .collect();
    let mut circles = circles(&all);
    let mut faults = Vec::new();
    for (idx, Asks { name, requires }) in all.iter().enumerate() {
        for (which, (required, place)) in requires.iter().enumerate() {
            let message = match by_name.get(required) {
                Some(found) if found.enabled => continue,
                Some(found) => format!("{required} is disabled, in {}", found.place),
                None => {
                    let known: Vec<&str> = by_name
                        .keys()
                        .map(|known| known.as_str())
                        .filter(|known| *known != name.as_str())
                        .collect();
                    let meant = decode::closest(required.as_str(), &known)
                        .map(|meant| format!(", did you mean {}?", Shown(meant)));
                    format!(
                        "no component is called {}{}",
                        Shown(required.as_str()),
                        meant.unwrap_or_default()
                    )
                }
            };
            faults.push(Fault { place: place.clone(), key: join_idx("requires", which), message });
        }
        faults.extend(circles.remove(&idx));
    }
    Faults::collect(faults).map_or(Ok(()), Err)
}
