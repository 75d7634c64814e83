//! What the program says when it is asked wrongly.

use std::fmt;

use super::help::Topic;

/// Why the command line cannot be understood.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(super) message: String,
    pub(super) topic: Topic,
}

impl Usage {
    /// Says what is wrong with what was asked about.
    pub(crate) fn about(topic: Topic, message: String) -> Self {
        Self { message, topic }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loopkeeper: {}\nsee: loopkeeper {}", self.message, self.topic.words())
    }
}
