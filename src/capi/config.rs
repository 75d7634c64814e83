//! Configuration: layers that are merged, and replaced as a whole while the
//! program runs.

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::boundary::{Answer, Buffer, Failure, In, Out, Text, Versioned, guard, init};
use super::call::enter;
use super::env::lk_env;
use super::handle::{New, Own, Ref, lend, object};
use super::snapshot::lk_snapshot;
use super::status::{LK_ERR_NULL, LK_ERR_STATE, lk_status};
use super::userdata::{Reason, Userdata, lk_drop_fn};
use crate::config::{Config, Layers, Snapshot, process_environment};
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind};
use crate::primitive::Mutex;
use crate::tree;

/// What a program reads its settings from: layers in which every value knows
/// its place. Later ones win: defaults, a file, the environment, what is set.
#[derive(Debug)]
pub struct lk_config {
    _private: [u8; 0],
}

object!(lk_config => Configuration, |_| (), Configuration::is_own_call);

/// What is behind an [`lk_config`]: its layers, until it is loaded.
#[derive(Debug)]
pub struct Configuration {
    env: Env,
    layers: Mutex<Option<Layers>>,
    loaded: OnceLock<Config>,
}

impl Configuration {
    /// The configuration, once it is loaded.
    pub(super) fn get(&self) -> Answer<&Config> {
        self.loaded.get().ok_or_else(|| Failure::new(LK_ERR_STATE, "config: was not loaded yet"))
    }

    /// Whether the caller is in a check of it, or it is just being loaded.
    fn is_own_call(&self) -> bool {
        self.loaded.get().map_or_else(|| self.layers.lock().is_none(), Config::is_own_check)
    }

    /// Adds a layer, while there is none in force.
    fn add(&self, add: impl FnOnce(Layers) -> Layers) -> Answer {
        let mut layers = self.layers.lock();
        match layers.take() {
            Some(before) => {
                *layers = Some(add(before));
                Ok(())
            }
            None => Err(Failure::new(LK_ERR_STATE, "config: was loaded already")),
        }
    }
}

/// Makes a configuration without layers.
///
/// env: not consumed; moments are those of its clock. out: a new handle, the
/// caller's to free with lk_config_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_config_add_file, lk_config_load.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_new(env: Ref<lk_env>, out: New<lk_config>) -> lk_status {
    guard(move || {
        let (env, place) = (env.get("env")?, out.check("out")?);
        let layers = Mutex::new(Some(Layers::default()));
        place.set(Configuration { env: (*env).clone(), layers, loaded: OnceLock::new() })
    })
}

/// Adds values that hold where nobody says otherwise.
///
/// config: not consumed. json: an object; copied.
/// Returns: LK_OK; LK_ERR_CONFIG when it is none; LK_ERR_STATE once it is
/// loaded; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_add_defaults(config: Ref<lk_config>, json: Text) -> lk_status {
    guard(move || {
        let (config, json) = (config.get("config")?, json.read("json")?);
        let node = tree::parse("defaults", json).map_err(Error::from)?;
        config.add(|layers| layers.defaults(node.to_json()))
    })
}

/// Reads values from a file, which is read again with each reload.
///
/// config: not consumed. path: copied.
/// Returns: LK_OK; LK_ERR_STATE once it is loaded; LK_ERR_NULL; LK_ERR_UTF8;
/// LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_add_file(config: Ref<lk_config>, path: Text) -> lk_status {
    guard(move || {
        let (config, path) = (config.get("config")?, path.read("path")?);
        config.add(|layers| layers.file(Path::new(path)))
    })
}

/// Takes values from a text, instead of a file.
///
/// config: not consumed. name: what places in it are named after; copied.
/// json: an object; copied.
/// Returns: as lk_config_add_file. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_add_text(config: Ref<lk_config>, name: Text, json: Text) -> lk_status {
    guard(move || {
        let (config, name, json) = (config.get("config")?, name.read("name")?, json.read("json")?);
        config.add(|layers| layers.text(name, json))
    })
}

/// Takes values from the variables of the environment whose names begin with a
/// prefix: APP_HTTP__PORT is http.port for the prefix "APP". They are read
/// once, now.
///
/// config: not consumed. prefix: copied.
/// Returns: as lk_config_add_file. Thread: any, while no other changes the
/// environment. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_add_environment(config: Ref<lk_config>, prefix: Text) -> lk_status {
    guard(move || {
        let (config, prefix) = (config.get("config")?, prefix.read("prefix")?);
        config.add(|layers| layers.environment(prefix, process_environment()))
    })
}

/// Sets one value over all others, as a command line does.
///
/// config: not consumed. key: its path, such as "http.port"; copied. value:
/// JSON, or a text that is none; copied.
/// Returns: as lk_config_add_file. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_set(config: Ref<lk_config>, key: Text, value: Text) -> lk_status {
    guard(move || {
        let (config, key, value) = (config.get("config")?, key.read("key")?, value.read("value")?);
        config.add(|layers| layers.set(key, value))
    })
}

/// Marks a value as one that nobody is shown.
///
/// config: not consumed. key: its path; copied.
/// Returns: as lk_config_add_file. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_secret(config: Ref<lk_config>, key: Text) -> lk_status {
    guard(move || {
        let (config, key) = (config.get("config")?, key.read("key")?);
        config.add(|layers| layers.secret(key))
    })
}

/// Looks at a configuration that is to be in force.
///
/// userdata: that of the table. snapshot: all its values; valid until this
/// returns, and not to be freed. buf, len: where to say, as a NUL-terminated
/// text, what is wrong with it. Returns 0 when it may be in force; any other
/// number refuses it, as LK_ERR_CONFIG. Runs on the thread that loads, reloads
/// or validates: the caller's, or that of a config watcher; calls may overlap.
/// To do one of these to the same configuration from inside is LK_ERR_STATE.
pub type lk_config_check_fn = Option<
    extern "C" fn(userdata: *mut c_void, snapshot: Ref<lk_snapshot>, buf: *mut c_char, len: usize) -> i32,
>;

/// What no single key can say of a configuration: whether it makes sense as a
/// whole.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_config_check {
    /// sizeof(lk_config_check); lk_config_check_init sets it.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// Called at the load, at each reload that finds something else than what is
    /// in force, and by lk_config_validate_json, once every layer is right.
    pub check: lk_config_check_fn,
    /// Called once, after the last call of `check`; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
}

// SAFETY: numbers, a pointer that is not followed, and functions that may be
// absent.
unsafe impl Versioned for lk_config_check {
    const NAME: &'static str = "lk_config_check";
    const MIN: usize = size_of::<Self>();

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            reserved: 0,
            check: None,
            drop: None,
            userdata: std::ptr::null_mut(),
        }
    }
}

/// Fills in an empty check; `check` is still to be set.
///
/// out: where. size: sizeof(lk_config_check).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_config_add_check.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_check_init(out: Out<lk_config_check>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Has the program look at each configuration before it is in force. What it
/// refuses never is: a load fails, and after a reload what was in force still
/// is.
///
/// config: not consumed. table: copied; its `drop` is called once whatever this
/// returns, unless the table itself is NULL or of a wrong size: at the latest
/// when the configuration and what watches it are freed.
/// Returns: LK_OK; LK_ERR_STATE once it is loaded; LK_ERR_NULL; LK_ERR_SIZE;
/// LK_ERR_STALE. Thread: any. Does not block. Next: lk_config_load.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_add_check(config: Ref<lk_config>, table: In<lk_config_check>) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let table = table.read("table")?;
        let userdata = Arc::new(Userdata::new(table.userdata, table.drop));
        let config = config.get("config")?;
        let check = table.check.ok_or_else(|| Failure::new(LK_ERR_NULL, "check: must not be NULL"))?;
        // Kept here as well: what is refused calls its `drop` without the lock.
        let theirs = userdata.clone();
        config.add(|layers| layers.check(move |snapshot| ask(check, &theirs, snapshot)))
    })
}

type Check = extern "C" fn(*mut c_void, Ref<lk_snapshot>, *mut c_char, usize) -> i32;

fn ask(check: Check, userdata: &Userdata, snapshot: &Snapshot) -> Result<(), BoxError> {
    let mut reason = Reason::default();
    let asked = lend(Arc::new(snapshot.copy()), |snapshot| {
        let (buf, len) = reason.place();
        enter(None, |_| check(userdata.get(), snapshot, buf, len)).0
    });
    match asked {
        Ok(status) => Ok(reason.of(status, ErrorKind::Config)?),
        Err(failure) => Err(failure.into_error().into()),
    }
}

/// Loads the configuration. No layer can be added afterwards.
///
/// config: not consumed; when it cannot be loaded the layers stay, for another
/// try.
/// Returns: LK_OK; LK_ERR_CONFIG with everything that is wrong with any layer
/// and where, or with what a check says; LK_ERR_STATE when it is loaded
/// already; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Blocks while it reads files
/// and while checks run. Next: lk_config_snapshot.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_load(config: Ref<lk_config>) -> lk_status {
    guard(move || {
        let config = config.get("config")?;
        let Some(layers) = config.layers.lock().take() else {
            return Err(Failure::new(LK_ERR_STATE, "config: was loaded already"));
        };
        match Config::load_in(&config.env, layers.clone()) {
            Ok(loaded) => {
                // Nobody else has the layers, so nobody else has set it.
                let _ = config.loaded.set(loaded);
                Ok(())
            }
            Err(error) => {
                *config.layers.lock() = Some(layers);
                Err(error.into())
            }
        }
    })
}

/// Reads all layers again and puts them in force, as a whole or not at all.
///
/// config: not consumed. changed: how many values are others now; may be NULL.
/// Returns: LK_OK; LK_ERR_CONFIG with everything that is wrong, and then what
/// was in force still is; LK_ERR_STATE before it was loaded, and from a check of
/// it; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Blocks while it reads files and
/// while checks run.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_reload(config: Ref<lk_config>, changed: Out<usize>) -> lk_status {
    guard(move || {
        let config = config.get("config")?;
        let reload = config.get()?.reload()?;
        if let Some(place) = changed.optional() {
            place.set(reload.changed.len());
        }
        Ok(())
    })
}

/// Reads all layers and says what a reload would change, without putting it in
/// force: a JSON list of paths.
///
/// config: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_CONFIG when it would be refused; LK_ERR_STATE before
/// it was loaded, and from a check of it; LK_ERR_BUFFER; LK_ERR_NULL;
/// LK_ERR_STALE. Thread: any. Blocks while it reads files and while checks run.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_validate_json(
    config: Ref<lk_config>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (config, place) = (config.get("config")?, buf.check(len, &needed)?);
        place.set_json(&config.get()?.validate()?)
    })
}

/// The configuration in force: take one for each unit of work, so that all of
/// it goes by the same values.
///
/// config: not consumed. out: a new handle, the caller's to free with
/// lk_snapshot_free; it does not change any more.
/// Returns: LK_OK; LK_ERR_STATE before it was loaded; LK_ERR_NULL;
/// LK_ERR_STALE. Thread: any. Does not block. Next: lk_snapshot_int.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_snapshot(config: Ref<lk_config>, out: New<lk_snapshot>) -> lk_status {
    guard(move || {
        let (config, place) = (config.get("config")?, out.check("out")?);
        let snapshot: Arc<_> = config.get()?.snapshot();
        place.set(snapshot)
    })
}

/// Lets go of the configuration. Its snapshots stay.
///
/// config: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a check of it, and while it is loaded. Thread: owner. Blocks for a moment
/// where it was the last of a freed environment, whose threads end.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_free(config: Own<lk_config>) -> lk_status {
    guard(move || config.free("config"))
}
