//! Loads what the program works with: the configuration and the descriptors.

use loopkeeper::config::{Descriptor, Layers, Settings, Types, load_descriptors, process_environment};
use loopkeeper::tree::Faults;
use loopkeeper::{WatcherConfig, watch};

/// What there is to do, all of it right.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Settings,
    pub(crate) descriptors: Vec<Descriptor<WatcherConfig>>,
}

/// Loads everything, or says everything that is wrong with it.
pub(crate) fn load(layers: Layers) -> Result<Loaded, Faults> {
    let types = Types::new().with("watcher", watch::descriptor::read);
    let merged = layers.environment("LOOPKEEPER", process_environment()).merge();
    let faults = match merged.settings() {
        Ok(config) => {
            let descriptors = load_descriptors(&config.deploy.dir, &types)?;
            return Ok(Loaded { config, descriptors });
        }
        Err(faults) => faults,
    };
    // Where the folder is may be known although something else is wrong.
    let mut all = faults.clone().into_vec();
    if let Some(Err(more)) = merged.deploy_dir().map(|dir| load_descriptors(&dir, &types)) {
        all.extend(more.into_vec());
    }
    Err(Faults::collect(all).unwrap_or(faults))
}
