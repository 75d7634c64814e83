//! Types of components that a program adds to those descriptors may name.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{Answer, Failure, Out, Text, Versioned, guard, init};
use super::call::enter;
use super::component::{component, lk_component_config};
use super::status::{LK_ERR_NULL, lk_status};
use super::text::c_text;
use super::userdata::{Reason, Userdata, lk_drop_fn};
use crate::component::{Component, Context};
use crate::decode;
use crate::error::{BoxError, ErrorKind};
use crate::host::deploy::Registry;

/// Makes a component of a type of the program's.
///
/// userdata: that of the table. name: the component's. config_json: the
/// `config` object of its descriptor; both valid until it returns. out: filled
/// in by lk_component_config_init; set `start` and `stop`, `drop` and
/// `userdata`, or `component`; the other fields are not looked at. buf, len:
/// where to say, as a NUL-terminated text, what is wrong with the settings.
/// Returns 0 when it is made; else what is wrong, as one of LK_ERR_. The handle
/// in `component` is still to be freed, by the program, after it returned; that
/// of the watcher or the like of which it was made may be freed before. Runs on
/// the thread that deploys.
pub type lk_type_fn = Option<
    extern "C" fn(
        userdata: *mut c_void,
        name: *const c_char,
        config_json: *const c_char,
        out: *mut lk_component_config,
        buf: *mut c_char,
        len: usize,
    ) -> i32,
>;

/// A type of component that descriptors may name.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_type {
    /// sizeof(lk_type); lk_type_init sets it.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// The word for it in descriptors.
    pub name: Text,
    /// Makes a component of it; may be called from several threads at once.
    pub make: lk_type_fn,
    /// Called once, after the last call of `make`; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_type {
    const NAME: &'static str = "lk_type";
    const MIN: usize = size_of::<Self>();

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            reserved: 0,
            name: Text::NONE,
            make: None,
            drop: None,
            userdata: std::ptr::null_mut(),
        }
    }
}

/// Fills in an empty type; `name` and `make` are still to be set.
///
/// out: where. size: sizeof(lk_type).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_host_add_type.
#[unsafe(no_mangle)]
pub extern "C" fn lk_type_init(out: Out<lk_type>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Adds a type of the program's to those that descriptors may name.
pub(super) fn add_type(registry: &mut Registry, kind: &lk_type, userdata: Arc<Userdata>) -> Answer {
    let name = kind.name.read("name")?;
    let make =
        kind.make.ok_or_else(|| Failure::new(LK_ERR_NULL, format!("{name}: make: must not be NULL")))?;
    let factory = move |name: &str, o: &mut decode::Object<'_, '_>| {
        let json = o.whole().to_json().to_string();
        let (name, userdata) = (name.to_owned(), userdata.clone());
        Some(move |_: &crate::env::Env| make_one(&name, &json, make, &userdata))
    };
    Ok(registry.register(name, factory)?)
}

type Make = extern "C" fn(
    *mut c_void,
    *const c_char,
    *const c_char,
    *mut lk_component_config,
    *mut c_char,
    usize,
) -> i32;

fn make_one(name: &str, json: &str, make: Make, userdata: &Userdata) -> Result<Boxed, BoxError> {
    let (c_name, c_json) = (c_text(name.to_owned()), c_text(json.to_owned()));
    let mut config = lk_component_config::initial();
    let mut reason = Reason::default();
    let (buf, len) = reason.place();
    let (status, _) =
        enter(None, |_| make(userdata.get(), c_name.as_ptr(), c_json.as_ptr(), &raw mut config, buf, len));
    reason.of(status, ErrorKind::Component)?;
    let userdata = Userdata::new(config.userdata, config.drop);
    match component(name, &config, userdata) {
        Ok(component) => Ok(Boxed(component)),
        Err(failure) => Err(failure.into_error().into()),
    }
}

/// A component whose type is known to its factory only.
struct Boxed(Box<dyn Component>);

impl Component for Boxed {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.0.start(cx)
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.0.stop(cx)
    }
}
