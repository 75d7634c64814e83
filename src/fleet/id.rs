//! Numbers of rows, one type for each table.

/// Makes a number that cannot be mistaken for another table's.
macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident,)+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

ids! {
    /// The number of a tenant.
    TenantId,
    /// The number of an agent.
    AgentId,
    /// The number of a command.
    CommandId,
    /// The number of a registration token.
    TokenId,
}
