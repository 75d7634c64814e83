//! Loads what the program works with: the configuration and the descriptors.

use std::ffi::OsString;

use loopkeeper::config::{Config, Layers, Settings, process_environment};
use loopkeeper::host::deploy::{Descriptor, Registry, check_requirements, load_folder};
use loopkeeper::shipped;
use loopkeeper::tree::Faults;

/// The variable with the token by which commands may act.
pub(super) const TOKEN: &str = "LOOPKEEPER_TOKEN";

/// What there is to do, all of it right.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// What the configuration says.
    pub(crate) settings: Settings,
    /// The types that descriptors may name.
    pub(crate) registry: Registry,
    pub(crate) descriptors: Vec<Descriptor>,
}

/// Completes what the command line says by what lies below it.
pub(crate) fn complete(layers: Layers) -> Layers {
    let layers = layers
        .defaults(Settings::default().to_json())
        .environment("LOOPKEEPER", environment())
        .check(|snapshot| snapshot.settings().map(drop));
    Settings::SECRETS.iter().fold(layers, |layers, key| layers.secret(key))
}

/// The environment, without what is no setting.
fn environment() -> Vec<(OsString, OsString)> {
    let all = process_environment().into_iter();
    all.filter(|(name, _)| name != TOKEN).collect()
}

/// Loads everything and, where each file is right, looks whether they can run
/// together. A `run` does not ask for that: what lacks something waits for an
/// edit, and the rest works.
pub(crate) fn check(layers: &Layers) -> Result<Loaded, Faults> {
    let loaded = load(layers)?;
    check_requirements(&loaded.descriptors)?;
    Ok(loaded)
}

/// Loads everything, or says everything that is wrong with it.
///
/// The configuration is read once: an edit from then on is a change like any
/// other, and not missed by those who have settings of before it.
pub(crate) fn load(layers: &Layers) -> Result<Loaded, Faults> {
    let config = loop {
        if let Ok(config) = Config::load(layers.clone()) {
            break config;
        }
        // Or it was put right between the two readings.
        settings_are_right(layers)?;
    };
    let settings = config.snapshot().settings()?;
    let registry = shipped::registry_for(&settings);
    let descriptors = load_folder(&settings.deploy.dir, &registry)?;
    Ok(Loaded { config, settings, registry, descriptors })
}

/// Reads the settings alone.
pub(crate) fn settings(layers: &Layers) -> Result<Settings, Faults> {
    layers.merge().settings()
}

/// Says everything that is wrong with the settings, and with the descriptors
/// then: where their folder is may be known although something else is wrong.
fn settings_are_right(layers: &Layers) -> Result<(), Faults> {
    let merged = layers.merge();
    let Err(faults) = merged.settings() else { return Ok(()) };
    let mut all = faults.clone().into_vec();
    if let Some(Err(more)) = merged.deploy_dir().map(|dir| load_folder(&dir, &shipped::registry())) {
        all.extend(more.into_vec());
    }
    Err(Faults::collect(all).unwrap_or(faults))
}
