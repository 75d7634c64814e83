//! Loads what the program works with: the configuration and the descriptors.

use loopkeeper::config::{Layers, Settings, process_environment};
use loopkeeper::host::deploy::{Descriptor, Registry, check_requirements, load_folder};
use loopkeeper::tree::Faults;

/// What there is to do, all of it right.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Settings,
    pub(crate) descriptors: Vec<Descriptor>,
}

/// Completes what the command line says by what lies below it.
pub(crate) fn complete(layers: Layers) -> Layers {
    let layers = layers
        .defaults(Settings::default().to_json())
        .environment("LOOPKEEPER", process_environment())
        .check(|snapshot| snapshot.settings().map(drop));
    Settings::SECRETS.iter().fold(layers, |layers, key| layers.secret(key))
}

/// Loads everything and, where each file is right, looks whether they can run
/// together. A `run` does not ask for that: what lacks something waits for an
/// edit, and the rest works.
pub(crate) fn check(layers: &Layers, registry: &Registry) -> Result<Loaded, Faults> {
    let loaded = load(layers, registry)?;
    check_requirements(&loaded.descriptors)?;
    Ok(loaded)
}

/// Loads everything, or says everything that is wrong with it.
pub(crate) fn load(layers: &Layers, registry: &Registry) -> Result<Loaded, Faults> {
    let merged = layers.merge();
    let faults = match merged.settings() {
        Ok(config) => {
            let descriptors = load_folder(&config.deploy.dir, registry)?;
            return Ok(Loaded { config, descriptors });
        }
        Err(faults) => faults,
    };
    // Where the folder is may be known although something else is wrong.
    let mut all = faults.clone().into_vec();
    if let Some(Err(more)) = merged.deploy_dir().map(|dir| load_folder(&dir, registry)) {
        all.extend(more.into_vec());
    }
    Err(Faults::collect(all).unwrap_or(faults))
}
