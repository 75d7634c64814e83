//! Changing a running program by editing files: a folder of descriptors, a
//! host that runs what they describe, and a change that is refused without
//! harm.
//!
//!     cargo run --example hot_deploy
//!
//! The component type here is the example's own; `shipped::registry` has
//! those that come with the library.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loopkeeper::decode::Object;
use loopkeeper::host::deploy::{Deployer, DeployerConfig, Registry};
use loopkeeper::host::{Host, HostConfig};
use loopkeeper::{BoxError, Component, Context, Env, EventKind, LoopKind, Subscription};

/// A component that greets. A real one would start a thread in `start` and
/// end it in `stop`.
struct Greeter {
    greeting: String,
}

impl Component for Greeter {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        println!("  {} says {:?}", cx.name(), self.greeting);
        Ok(())
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        println!("  {} stops", cx.name());
        Ok(())
    }
}

/// The types that descriptors may name: each reads its settings strictly, and
/// builds only when all were right.
fn types() -> Result<Registry, loopkeeper::Error> {
    let mut registry = Registry::new();
    registry.register("greeter", |_name: &str, o: &mut Object<'_, '_>| {
        let greeting = o.string("greeting").doc("What it says.").required();
        let greeting = greeting.take(o.done()?)?;
        Some(move |_: &Env| Ok(Greeter { greeting }))
    })?;
    Ok(registry)
}

fn main() -> Result<(), BoxError> {
    let folder = std::env::temp_dir().join(format!("loopkeeper-hot-deploy-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = run(&folder);
    fs::remove_dir_all(&folder)?;
    result
}

fn run(folder: &Path) -> Result<(), BoxError> {
    let env = Env::new()?;
    let host = Host::new(HostConfig::default().env(&env))?;
    let deployer = Deployer::new(&env, DeployerConfig::new(folder), types()?, Arc::new(host.handle()))?;
    let events = deployer.subscribe();
    host.start()?;
    deployer.start()?;

    let file = folder.join("greeter.json");
    let steps = [
        ("a file appears", r#"{"name": "anna", "type": "greeter", "config": {"greeting": "hello"}}"#),
        ("it is edited", r#"{"name": "anna", "type": "greeter", "config": {"greeting": "good day"}}"#),
        ("it is edited wrongly", r#"{"name": "anna", "type": "greeter", "config": {"greting": "oops"}}"#),
    ];
    for (what, text) in steps {
        println!("{what}");
        fs::write(&file, text)?;
        deployer.rescan();
        println!("  {}", next(&events)?);
    }
    println!("still running: {:?}", host.components());

    println!("it is removed");
    fs::remove_file(&file)?;
    deployer.rescan();
    println!("  {}", next(&events)?);

    let report = deployer.stop(Duration::from_secs(5));
    println!("deployer stopped: {report}; host stopped: {}", host.stop(Duration::from_secs(5)));
    Ok(())
}

/// The next thing that the deployer did or refused.
fn next(events: &Subscription) -> Result<String, BoxError> {
    let told = std::iter::from_fn(|| events.recv_timeout(Duration::from_secs(10))).find(|delivery| {
        let event = &delivery.event;
        let about_itself = matches!(
            event.what,
            EventKind::Started | EventKind::Ready { .. } | EventKind::Down { .. } | EventKind::Stopped
        );
        event.kind == LoopKind::Deployer && !about_itself
    });
    Ok(told.ok_or("nothing happened")?.event.to_string())
}
