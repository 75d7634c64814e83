//! The types of components that descriptors may name, and how each is made.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::component::Component;
use crate::decode::{self, FieldInfo, Object};
use crate::duration::Shown;
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::map::Map;
use crate::name::Name;
use crate::tree::Fault;

type Build = dyn FnOnce(&Env) -> std::result::Result<Box<dyn Component>, BoxError> + Send;
type Factory = dyn Fn(&str, &mut Object<'_, '_>) -> Option<Blueprint> + Send + Sync;

/// The types of components that descriptors may name. Cloning shares the
/// factories.
///
/// A factory works in two steps. The first reads the `config` object of a
/// descriptor, strictly and without doing anything; what it asks for is also
/// what [`describe`](Self::describe) tells. The second makes the component,
/// not yet started. A panic in either is an error of that descriptor.
///
/// The component runs under the name of its descriptor, whatever the factory
/// made of it.
///
/// # Examples
///
/// ```
/// use loopkeeper::host::deploy::Registry;
/// use loopkeeper::{BoxError, Component, Context, Env};
///
/// struct Beeper(String);
///
/// impl Component for Beeper {
///     fn start(&mut self, _: &Context) -> Result<(), BoxError> { Ok(()) }
///     fn stop(&mut self, _: &Context) -> Result<(), BoxError> { Ok(()) }
/// }
///
/// let mut registry = Registry::new();
/// registry.register("beeper", |_name, o| {
///     o.doc("Beeps.");
///     let tone = o.string("tone").doc("Which tone.").required();
///     let tone = tone.take(o.done()?)?;
///     Some(move |_: &Env| Ok(Beeper(tone)))
/// })?;
///
/// let beeper = registry.describe("beeper")?;
/// assert_eq!((beeper.summary, beeper.fields[0].path.as_str()), ("Beeps.", "tone"));
/// let unknown = registry.describe("beper").unwrap_err();
/// assert_eq!(unknown.to_string(), "unknown type \"beper\", did you mean \"beeper\"?");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    types: Map<String, Arc<Factory>>,
}

/// A type of component: what it does, and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeInfo {
    /// The word for it in descriptors.
    pub name: String,
    /// What it does.
    pub summary: &'static str,
    /// Its settings: the fields of `config`.
    pub fields: Vec<FieldInfo>,
}

/// A component whose settings were read, and that is not made yet.
pub struct Blueprint(Box<Build>);

impl Blueprint {
    /// Makes the component.
    ///
    /// # Errors
    ///
    /// What the factory returns, as text and with its class; `Panicked` when
    /// it panics.
    pub fn build(self, env: &Env) -> Result<Box<dyn Component>> {
        match catch_unwind(AssertUnwindSafe(|| (self.0)(env).map_err(|error| Error::from_user(&*error)))) {
            Ok(built) => built,
            Err(payload) => Err(panicked(payload)),
        }
    }
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blueprint").finish_non_exhaustive()
    }
}

impl Registry {
    /// Makes a registry that knows no type.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type.
    ///
    /// `factory` is handed the component's name, empty when that is wrong,
    /// and the `config` object; it returns how to make the component.
    ///
    /// # Errors
    ///
    /// `Duplicate` when there is a type of this name, `InvalidArgument` when
    /// it cannot be a name.
    pub fn register<F, B, C>(&mut self, name: &str, factory: F) -> Result<()>
    where
        F: Fn(&str, &mut Object<'_, '_>) -> Option<B> + Send + Sync + 'static,
        B: FnOnce(&Env) -> std::result::Result<C, BoxError> + Send + 'static,
        C: Component + 'static,
    {
        Name::new(name)?;
        if self.types.contains_key(name) {
            let context = format!("type {name}: is registered already");
            return Err(Error::new(ErrorKind::Duplicate).context(context));
        }
        let factory = move |name: &str, o: &mut Object<'_, '_>| {
            let build = factory(name, o)?;
            let build =
                move |env: &Env| build(env).map(|component| Box::new(component) as Box<dyn Component>);
            Some(Blueprint(Box::new(build)))
        };
        self.types.insert(name.to_owned(), Arc::new(factory));
        Ok(())
    }

    /// The names of all types, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// What a type does, and its settings.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the name that may have been meant; `Panicked` when
    /// its factory panics.
    pub fn describe(&self, name: &str) -> Result<TypeInfo> {
        let Some((name, factory)) = self.types.get_key_value(name) else {
            return Err(Error::new(ErrorKind::NotFound).context(self.unknown(name)));
        };
        let described = catch_unwind(AssertUnwindSafe(|| decode::describe(|o| factory("", o))));
        let description = described.map_err(panicked)?;
        Ok(TypeInfo { name: name.clone(), summary: description.doc, fields: description.fields })
    }

    /// Reads the settings of a component.
    pub(super) fn read(&self, kind: &str, name: &str, o: &mut Object<'_, '_>) -> Option<Blueprint> {
        let factory = self.types.get(kind)?;
        match catch_unwind(AssertUnwindSafe(|| factory(name, o))) {
            Ok(blueprint) => blueprint,
            Err(payload) => {
                let (place, key) = (o.place().clone(), o.key().to_owned());
                let message = format!("type {kind}: {}", panicked(payload));
                o.faults(Fault { place, key, message }.into());
                None
            }
        }
    }

    pub(super) fn knows(&self, kind: &str) -> bool {
        self.types.contains_key(kind)
    }

    /// Says that a type is unknown, and which one may have been meant.
    pub(super) fn unknown(&self, kind: &str) -> String {
        let known: Vec<&str> = self.names().collect();
        format!("unknown type {}, {}", Shown(kind), decode::meant(kind, &known))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.types.keys()).finish()
    }
}

/// The error of a panic. Its payload is dropped here, and may panic again.
pub(super) fn panicked(payload: Box<dyn std::any::Any + Send>) -> Error {
    let error = Error::from_panic(&*payload);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Context;
    use crate::host::deploy::Descriptor;

    struct Inert;

    impl Component for Inert {
        fn start(&mut self, _: &Context) -> std::result::Result<(), BoxError> {
            Ok(())
        }

        fn stop(&mut self, _: &Context) -> std::result::Result<(), BoxError> {
            Ok(())
        }
    }

    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry
            .register("good", |_, o| {
                o.done()?;
                Some(|_: &Env| Ok(Inert))
            })
            .unwrap();
        registry
            .register("panics", |_, o| {
                if o.has("late") {
                    let _ = o.bool("late").optional();
                    return Some(|_: &Env| -> std::result::Result<Inert, BoxError> {
                        panic!("while building")
                    });
                }
                panic!("while reading")
            })
            .unwrap();
        registry
    }

    fn parse(kind: &str, config: &str) -> std::result::Result<Descriptor, String> {
        let text = format!(r#"{{"name": "a", "type": "{kind}", "config": {config}}}"#);
        Descriptor::parse("f", text.as_bytes(), &registry()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_type_is_registered_once() {
        let mut registry = registry();
        let again = registry.register("good", |_, _| Some(|_: &Env| Ok(Inert)));
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Duplicate);
        assert_eq!(registry.names().collect::<Vec<_>>(), ["good", "panics"]);
        let error = registry.register("", |_, _| Some(|_: &Env| Ok(Inert)));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn panics_of_a_factory_are_errors_of_its_descriptor() {
        let env = Env::new().unwrap();
        assert!(parse("good", "{}").unwrap().build(&env).is_ok());
        assert_eq!(
            parse("panics", "{}").unwrap_err(),
            "f:1:43: config: type panics: panicked: while reading"
        );
        let error = parse("panics", r#"{"late": true}"#).unwrap().build(&env).err().unwrap();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Panicked, "panicked: while building")
        );
        assert_eq!(registry().describe("panics").unwrap_err().kind(), ErrorKind::Panicked);
    }
}
