//! The status server, as the program's configuration describes it.

use std::sync::Arc;

use loopkeeper::config::HttpConfig;
use loopkeeper::http::{StatusServer, StatusServerConfig};
use loopkeeper::status::StatusSource;
use loopkeeper::{Env, Result};

/// Starts the server, when it should listen at all.
pub(crate) fn start(
    env: &Env,
    config: &HttpConfig,
    source: Arc<dyn StatusSource>,
) -> Result<Option<StatusServer>> {
    let Some(listen) = config.listen else { return Ok(None) };
    let server =
        StatusServerConfig::default().listen(listen.to_string()).allowed_hosts(config.allowed_hosts.clone());
    StatusServer::start(env, server, source).map(Some)
}
