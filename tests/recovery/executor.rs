//! Attempts: their order, their deadlines, their end.

use crate::fixture::*;
