//! What is to be run, however it is begun.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A program to be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// Its name or path, and its arguments.
    pub(crate) argv: &'a [OsString],
    /// What its environment has beside that of this process, or instead.
    pub(crate) env: &'a [(OsString, OsString)],
    /// The folder it runs in, if not that of this process.
    pub(crate) dir: Option<&'a Path>,
    /// What it reads from; nothing when absent.
    pub(crate) stdin: Option<&'a OwnedFd>,
    pub(crate) stdout: &'a OwnedFd,
    /// Nobody hears it when absent.
    pub(crate) stderr: Option<&'a OwnedFd>,
}
