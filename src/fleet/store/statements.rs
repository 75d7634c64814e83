//! Every statement, as one function each. The texts are in `sql/`, under the
//! same names.

use super::row::{
    AgentRow, Allowed, AuditRow, Boundary, ClaimerRow, CommandRow, Extent, Hashed, Head, Number, RankedRow,
    TakenRow, TenantRow, TokenRow, TouchedRow, WaitingRow, Word,
};
use super::statement::{Bind, Key, Link, Sql};
use crate::error::Result;

/// A job's place in the order in which jobs came into the queue: when, and its
/// number.
pub(super) type Queued = (i64, i64);

/// Computes the places of jobs anew that wait behind one and not behind
/// another; answers how many changed.
pub(super) fn reprioritize(
    link: &mut impl Link,
    now: Now,
    bonus: i64,
    batch: i64,
    after: Queued,
    until: Queued,
) -> Result<u64> {
    static SQL: Sql = Sql::planned_anew("reprioritize", REPRIORITIZE);
    let binds = [
        ("now", now.into()),
        ("bonus", bonus.into()),
        ("batch", batch.into()),
        ("after_at", after.0.into()),
        ("after_id", after.1.into()),
        ("until_at", until.0.into()),
        ("until_id", until.1.into()),
    ];
    link.execute(&SQL, &binds)
}

const REPRIORITIZE: &str = include_str!("sql/reprioritize.sql");

/// `now` is bound by tests alone; without it the database's clock decides.
pub(super) type Now = Option<i64>;

type Text<'a> = Option<&'a str>;

/// Statements that an agent's every turn runs are `often` asked for, and found by
/// a type of their own: each has code of its own for it.
macro_rules! load {
    (often $link:expr, $sql:expr, $binds:expr) => {{
        enum Own {}
        impl Key for Own {
            const IS_ENOUGH: bool = true;
        }
        $link.load_as::<Own, _>($sql, $binds)
    }};
    ($link:expr, $sql:expr, $binds:expr) => {
        $link.load($sql, $binds)
    };
}

macro_rules! statements {
    ($($(#[$mark:ident])? fn $name:ident($($arg:ident: $ty:ty),*) -> $row:ty;)+) => {$(
        #[allow(clippy::too_many_arguments, reason = "a row has as many columns as it has")]
        pub(super) fn $name(link: &mut impl Link, now: Now, $($arg: $ty),*) -> Result<Vec<$row>> {
            static SQL: Sql =
                Sql::new(stringify!($name), include_str!(concat!("sql/", stringify!($name), ".sql")));
            let binds = [("now", Bind::from(now)), $((stringify!($arg), Bind::from($arg)),)*];
            load!($($mark)? link, &SQL, &binds)
        }
    )+

    /// Every statement's text.
    #[cfg(test)]
    pub(super) static ALL: &[(&str, &str)] =
        &[$((stringify!($name), include_str!(concat!("sql/", stringify!($name), ".sql"))),)+];
    };
}

statements! {
    fn database_now() -> Number;

    fn insert_tenant(name: &str, plan: &str) -> Number;
    fn update_plan(tenant: i64, plan: &str) -> Number;
    fn select_tenants() -> TenantRow;
    fn tenant_plan(tenant: i64) -> Word;
    fn count_busy(tenant: i64) -> Number;

    fn insert_token(
        tenant: Option<i64>, name: &str, prefix: &str, hash: &str, kind: Text<'_>, max_uses: Option<i64>,
        expires_at: Option<i64>, created_by: &str
    ) -> Number;
    fn find_token(prefix: &str) -> Hashed;
    fn use_token(token: i64) -> Allowed;
    fn revoke_token(token: i64) -> Number;
    fn token_exists(token: i64) -> Number;
    fn select_tokens(after: i64, most: i64) -> TokenRow;
    fn any_dead(grace: i64) -> Number;
    fn clean_tokens(grace: i64, batch: i64) -> Word;

    fn insert_agent(
        tenant: Option<i64>, name: &str, kind: &str, version: Text<'_>, hostname: Text<'_>, region: Text<'_>,
        max_jobs: i64, prefix: &str, hash: &str
    ) -> Number;
    fn insert_offer(agent: i64, offer: &str) -> Number;
    fn find_agent(prefix: &str) -> Hashed;
    #[often]
    fn heartbeat(agent: i64, error: Text<'_>, cpu: Option<i64>, memory: Option<i64>) -> Word;
    fn update_agent_status(agent: i64, status: &str, reason: &str) -> Word;
    fn select_agent(agent: i64) -> AgentRow;
    fn lock_agent(agent: i64) -> Number;
    fn fence_off(agent: i64) -> Number;
    fn select_agents(after: i64, most: i64) -> AgentRow;
    fn mark_offline(stale: i64, batch: i64) -> Number;

    fn insert_command(
        tenant: i64, platform: bool, kind: &str, priority: i64, payload: &str, needs: i64,
        pinned_to: Option<i64>, max_attempts: Option<i64>, queue_priority: i64, scheduled_at: Option<i64>,
        expires_at: Option<i64>
    ) -> Number;
    fn insert_need(command: i64, need: &str) -> Number;
    #[often]
    fn lock_claimer(agent: i64) -> ClaimerRow;
    #[often]
    fn select_waiting(agent: i64, alone: Option<i64>) -> WaitingRow;
    #[often]
    fn rank_tenants(agent: i64, max_attempts: i64) -> RankedRow;
    #[often]
    fn claim_job(agent: i64, tenant: i64, lease: i64, max_attempts: i64) -> TakenRow;
    #[often]
    fn claim_order(agent: i64, tenant: i64, lease: i64, max_attempts: i64) -> TakenRow;
    #[often]
    fn start_command(command: i64, agent: i64, fence: i64) -> Number;
    fn progress_command(command: i64, agent: i64, fence: i64, percent: i64) -> Number;
    #[often]
    fn complete_command(command: i64, agent: i64, fence: i64, result: &str) -> Number;
    fn fail_command(command: i64, agent: i64, fence: i64, message: &str) -> Number;
    fn release_command(command: i64, agent: i64, fence: i64) -> Number;
    #[often]
    fn renew_command(command: i64, agent: i64, fence: i64, time: i64) -> Number;
    fn cancel_command(command: i64, reason: &str) -> Number;
    fn select_command(command: i64) -> CommandRow;
    fn select_commands(after: i64, most: i64) -> CommandRow;
    fn select_held(agent: i64) -> CommandRow;
    fn select_queue(most: i64) -> CommandRow;
    fn select_policy() -> Number;
    fn update_policy(most: i64) -> Number;

    fn any_stale(stale: i64) -> Number;
    fn any_lost() -> Number;
    fn any_late(max_queue: i64) -> Number;
    fn any_unclaimed(max_queue: i64) -> Number;
    fn any_due() -> Number;
    fn any_retried() -> Number;
    fn any_pinned() -> Number;
    fn any_waiting() -> Number;
    fn boundary_places(after_at: i64, after_id: i64, batch: i64) -> Boundary;
    fn recover(platform: bool, patience: Option<i64>, batch: i64) -> TouchedRow;
    fn expire_queued(max_queue: i64, batch: i64) -> TouchedRow;
    fn expire_unclaimed(max_queue: i64, batch: i64) -> TouchedRow;
    fn expire_due(batch: i64) -> TouchedRow;
    fn fail_exhausted(batch: i64) -> TouchedRow;
    fn unpin(patience: i64, batch: i64) -> TouchedRow;

    fn lock_audit_head() -> Head;
    fn update_audit_head(position: i64, hash: &str) -> Number;
    fn insert_audit(
        position: i64, at: i64, tenant: Option<i64>, actor: &str, action: &str, resource: &str,
        severity: &str, detail: &str, prev_hash: &str, hash: &str
    ) -> Number;
    fn select_audit(first: i64, most: i64) -> AuditRow;
    fn count_daily(age: i64) -> Number;
    fn count_grave(age: i64) -> Number;
    fn boundary_daily(age: i64, batch: i64) -> Boundary;
    fn boundary_grave(age: i64, batch: i64) -> Boundary;
    fn extent_daily(at: i64, position: i64) -> Extent;
    fn extent_grave(at: i64, position: i64) -> Extent;
    fn removals_grave(at: i64, position: i64) -> Word;
    fn delete_daily(at: i64, position: i64) -> Number;
    fn delete_grave(at: i64, position: i64) -> Number;
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, reason = "test code: what is missing is a failed test")]
mod tests {
    use diesel::QueryableByName;
    use diesel::sql_types::Text;

    use super::super::sqlite::{SqliteConfig, SqliteStore};
    use super::super::statement::{Dialect, choose};
    use super::*;

    #[derive(QueryableByName)]
    struct Plan {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        ALL.iter().chain(&[("reprioritize", REPRIORITIZE)])
    }

    fn plan(store: &mut SqliteStore, text: &str) -> Vec<String> {
        let mut text = choose(text, Dialect::Sqlite);
        while let Some(at) = text.find(':') {
            let end = text[at + 1..].find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            let end = end.map_or(text.len(), |end| at + 1 + end);
            text.replace_range(at..end, "?");
        }
        let text: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {text}").into_boxed_str());
        let rows: Vec<Plan> = store.link_mut().load(&Sql::new("plan", text), &[]).unwrap();
        rows.into_iter().map(|row| row.detail).collect()
    }

    #[test]
    fn no_statement_reads_a_whole_table_but_the_one_that_lists_it() {
        let mut store = SqliteStore::open(&SqliteConfig::memory()).unwrap();
        // A new row of a table that others refer to looks for rows that refer
        // to nothing, when such are there.
        for (name, text) in all().filter(|(name, _)| !name.starts_with("insert_")) {
            let plan = plan(&mut store, text);
            let scans: Vec<&String> = plan
                .iter()
                .filter(|line| line.starts_with("SCAN "))
                .filter(|line| !line.contains(" USING "))
                // One row each, and what other parts of the statement made.
                .filter(|line| {
                    let what = line.trim_start_matches("SCAN ");
                    let small = [
                        "clock",
                        "CONSTANT",
                        "fleet_policy",
                        "fleet_clock",
                        "(",
                        "w",
                        "h",
                        "f",
                        "r",
                        "l",
                        "ranked",
                        "few",
                        "always",
                    ];
                    let made = ["lost", "changed", "dead", "next", "parts", "p", "waiting"];
                    !small
                        .iter()
                        .chain(&made)
                        .any(|known| what == *known || what.starts_with(&format!("{known} ")))
                        && !what.starts_with('(')
                })
                .collect();
            assert!(scans.is_empty() || *name == "select_tenants", "{name}: {scans:?} of {plan:#?}");
        }
    }

    #[test]
    fn each_sweep_has_its_index() {
        let mut store = SqliteStore::open(&SqliteConfig::memory()).unwrap();
        for (name, index) in [
            ("mark_offline", "fleet_agents_heard"),
            ("recover", "fleet_commands_leases"),
            ("expire_queued", "fleet_commands_queued"),
            ("expire_unclaimed", "fleet_commands_unclaimed"),
            ("expire_due", "fleet_commands_expires"),
            ("fail_exhausted", "fleet_commands_retried"),
            ("unpin", "fleet_commands_pinned"),
            ("reprioritize", "fleet_commands_busy"),
            ("reprioritize", "fleet_commands_queued (queued_at>? AND queued_at<?)"),
            ("boundary_places", "fleet_commands_queued (queued_at>?)"),
            ("claim_job", "fleet_commands_jobs"),
            ("rank_tenants", "fleet_commands_jobs"),
            ("select_waiting", "fleet_commands_jobs"),
            ("select_waiting", "fleet_commands_held"),
            ("rank_tenants", "fleet_commands_held"),
            ("fence_off", "fleet_commands_held"),
            ("claim_order", "fleet_commands_orders"),
            ("select_held", "fleet_commands_held"),
            ("clean_tokens", "fleet_tokens_expired"),
            ("count_daily", "fleet_audit_daily"),
            ("boundary_daily", "COVERING INDEX fleet_audit_daily"),
            ("extent_grave", "COVERING INDEX fleet_audit_grave"),
            ("delete_grave", "fleet_audit_grave (at<?)"),
        ] {
            let text = all().find(|(known, _)| *known == name).unwrap().1;
            let plan = plan(&mut store, text);
            assert!(plan.iter().any(|line| line.contains(index)), "{name}: {plan:#?}");
        }
    }
}
