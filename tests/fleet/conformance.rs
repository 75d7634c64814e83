//! What every store does.

use std::time::Duration;

use loopkeeper::fleet::*;
use loopkeeper::{CancelToken, ErrorKind, Stamp};

use crate::fixture::{DAY, Fleet, LEASE, TestStore, mins, secs};

use CommandState::{Acknowledged, Canceled, Completed, Expired, Failed, Pending, Running};

/// Writes one test for each function and store.
macro_rules! suite {
    ($($name:ident)+) => {
        mod model {
            use loopkeeper::fleet::ModelStore;
            $(#[test] fn $name() { super::$name(crate::fixture::Fleet::new(ModelStore::default())); })+
        }

        #[cfg(feature = "sqlite")]
        mod sqlite {
            use loopkeeper::fleet::{SqliteConfig, SqliteStore};
            $(#[test] fn $name() {
                let store = SqliteStore::open(&SqliteConfig::memory()).unwrap();
                super::$name(crate::fixture::Fleet::new(store));
            })+
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[test] fn $name() {
                crate::postgres::with_store(|store| super::$name(crate::fixture::Fleet::new(store)));
            })+
        }
    };
}

suite! {
    cct_01_a_stuck_order_goes_back_to_the_queue
    cct_02_a_fresh_claim_is_left_alone
    cct_03_a_stuck_order_without_claims_left_is_not_put_back
    cct_04_a_running_order_inside_its_lease_is_left_alone
    cct_05_a_job_is_not_the_tenants
    cct_06_what_waits_with_its_claims_used_up_fails
    cct_07_what_has_one_claim_left_waits_on
    cct_08_cct_09_what_is_over_stays_as_it_is
    cct_10_three_claims_are_three_and_then_it_fails
    cct_11_nothing_old_means_nothing_is_deleted
    cct_12_old_records_are_deleted_and_counted
    cct_13_a_dry_run_counts_and_deletes_nothing
    cct_16_defaults_are_the_known_ones_and_zero_is_refused
    cct_20_claims_go_by_priority_then_tenant_then_age
    wct_20_the_last_claims_agent_dies_and_the_job_is_not_lost
    wct_21_a_healthy_job_on_its_last_claim_is_not_failed
    wct_22_the_last_claim_can_still_succeed
    wct_23_an_order_on_dying_agents_ends
    wct_24_a_job_put_back_is_not_expired_for_the_time_it_was_held
    wct_25_running_jobs_are_taken_back_too
    wct_26_a_live_holder_keeps_what_it_renews_and_a_dead_pin_is_freed
    wct_27_a_claim_has_one_holder_who_is_known
    wct_28_the_number_of_claims_is_the_configured_one
    wct_29_stamps_agree_with_the_state
    wct_30_nobody_overwrites_what_another_decided
    wct_31_slots_are_free_when_their_jobs_are
    wct_32_agents_never_heard_of_go_offline_and_the_time_is_kept
    wct_33_only_places_that_change_are_written
    wct_34_nobody_starves
    wct_35_spans_below_a_millisecond_are_spans
    wct_36_retention_goes_in_batches_and_the_chain_holds
    wct_37_keeping_nothing_is_refused
    wct_38_what_is_scheduled_is_not_expired_before_it_is_due
    tokens_are_used_as_often_as_they_say
    a_secret_that_is_wrong_is_told_nothing
    tokens_good_for_nothing_are_cleaned_after_their_grace
    a_tenants_standing_counts_its_jobs_and_not_its_orders
    claims_respect_capabilities_and_tools
    claims_are_fair_between_tenants
    who_comes_beside_a_tenant_that_waited_alone_is_seen
    a_new_job_of_a_busy_tenant_does_not_pass_its_older_ones
    a_clock_that_steps_back_breaks_no_chain
    the_oldest_record_goes_first_whatever_its_number
    a_holder_that_asks_twice_is_answered_twice
    an_agent_finds_its_work_again
    cancelling_is_final_and_told_to_the_holder
    who_may_not_claim_is_told_why
    a_renewal_never_shortens_a_lease
    a_lease_is_good_to_its_last_moment
    each_time_limit_is_exact_for_each_row
    a_tenants_command_that_no_agent_takes_ends_too
    what_a_revoked_agent_holds_is_out_of_its_hands
    what_expires_while_it_is_held_expires_when_it_is_lost
    pins_hold_and_need_an_agent_of_the_same_side
    an_agent_that_is_back_keeps_what_waits_for_it
    an_agent_is_waited_for_as_long_as_is_said
    what_ends_at_the_very_moment_has_ended
    a_command_is_to_be_had_from_its_moment_to_its_end
    a_small_batch_takes_the_oldest_first
    no_batch_takes_more_than_it_says
    no_claim_goes_beyond_the_last_that_is_allowed
    a_token_that_was_taken_back_lets_nobody_in
    an_order_needs_what_it_says
    an_agent_takes_orders_of_its_tenant_alone
    what_a_claim_answers_is_what_is_kept
    orders_go_by_priority_then_age
    what_one_side_waits_for_the_other_does_not_take
    of_equals_the_oldest_is_claimed_first
    a_tenant_ranks_by_the_first_job_that_the_agent_can_do
    a_tenant_ranks_by_its_oldest_job_and_what_others_hold_is_theirs
    what_a_tenant_has_at_work_counts_at_once
    what_is_taken_off_for_work_ends_at_twenty_jobs
    more_than_a_hundred_at_work_count_as_a_hundred
    a_place_follows_the_plan
    every_kind_of_command_is_to_be_had
    a_holder_may_give_up_before_it_begins_and_after
    what_ends_with_its_holder_says_who_that_was
    a_holder_changes_nothing_of_what_is_over
    a_call_is_about_one_command_one_agent_and_one_tenant
    each_change_of_a_command_counts_once_in_its_version
    what_was_said_last_is_kept_and_what_is_over_is_left
    a_moment_is_kept_and_the_next_is_too_old
    a_place_and_what_was_taken_off_it_go_together
    a_heartbeat_that_says_less_takes_nothing_back
    a_job_waits_for_its_agent_and_a_revoked_one_starts_nothing
    a_cancelled_pass_says_that_it_did_not_finish
    a_dry_run_of_every_pass_changes_nothing
    a_dry_run_says_what_a_run_would_do
    each_waiting_job_gets_its_place_in_a_bounded_number_of_batches
    every_pass_explains_itself
    grave_records_are_kept_longer
    a_removal_carries_what_went_with_it_and_no_more
    unknown_numbers_are_not_found
    bad_values_are_refused
    listings_page_by_number
    what_cannot_be_claimed_now_is_last_in_the_queue
}

fn kind<T: std::fmt::Debug>(result: loopkeeper::error::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn cct_01_a_stuck_order_goes_back_to_the_queue<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    f.claim(agent);
    f.wait_alive(mins(30), agent);
    assert_eq!(f.recovery().count("requeued"), 1);
    let row = f.get(id);
    assert_eq!((row.state, row.agent, row.attempts), (Pending, None, 1));
}

fn cct_02_a_fresh_claim_is_left_alone<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    f.claim(agent);
    assert_eq!(f.recovery().processed(), 0);
    // Its lease is over and its agent lives: not yet.
    f.wait_alive(mins(10), agent);
    assert_eq!(f.recovery().processed(), 0);
    let row = f.get(id);
    assert_eq!((row.state, row.agent), (Acknowledged, Some(agent)));
}

fn cct_03_a_stuck_order_without_claims_left_is_not_put_back<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order().max_attempts(1);
    let id = f.enqueue(order);
    f.claim(agent);
    f.wait_alive(mins(30), agent);
    let report = f.recovery();
    assert_eq!((report.count("requeued"), report.count("failed")), (0, 1));
    let row = f.get(id);
    assert_eq!((row.state, row.message.as_deref()), (Failed, Some("its last claim was lost")));
}

fn cct_04_a_running_order_inside_its_lease_is_left_alone<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.store.renew(&lease, mins(60)).unwrap();
    f.wait(mins(59));
    assert_eq!(f.health().count("offline"), 1);
    assert_eq!(f.recovery().processed(), 0);
    assert_eq!(f.state(id), Running);
}

fn cct_05_a_job_is_not_the_tenants<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    f.claim(agent);
    f.wait(mins(20));
    let lost = Lost::OrOlderThan(mins(10));
    assert!(f.store.recover(Scope::Tenant, lost, Sweep::default()).unwrap().is_empty());
    assert_eq!(f.state(id), Acknowledged);
    let taken = f.store.recover(Scope::Platform, lost, Sweep::default()).unwrap();
    assert_eq!(taken, [Touched { command: id, state: Pending }]);
}

fn cct_06_what_waits_with_its_claims_used_up_fails<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    for _ in 0..3 {
        let lease = f.claim(agent);
        f.store.release(&lease).unwrap();
    }
    assert!(f.store.claim(agent, LEASE).unwrap().is_none(), "a fourth claim");
    assert_eq!(f.recovery().count("failed"), 1);
    let row = f.get(id);
    assert_eq!((row.state, row.message.as_deref()), (Failed, Some("its claims are used up")));
    assert_eq!(row.completed_at, Some(f.now()));
}

fn cct_07_what_has_one_claim_left_waits_on<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    for _ in 0..2 {
        let lease = f.claim(agent);
        f.store.release(&lease).unwrap();
    }
    assert_eq!(f.recovery().processed(), 0);
    assert_eq!(f.state(id), Pending);
}

fn cct_08_cct_09_what_is_over_stays_as_it_is<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let mut ids = Vec::new();
    for end in [Failed, Completed] {
        let order = f.order();
        let id = f.enqueue(order);
        let lease = f.claim(agent);
        f.store.release(&lease).unwrap();
        let lease = f.claim(agent);
        f.store.start(&lease).unwrap();
        match end {
            Failed => f.store.fail(&lease, "no such host").unwrap(),
            _ => f.store.complete(&lease, "{}").unwrap(),
        }
        ids.push((id, f.get(id)));
    }
    f.wait(DAY);
    let _ = f.health();
    assert_eq!(f.recovery_with(JobRecoveryConfig { max_retries: 1, ..Default::default() }).processed(), 0);
    for (id, before) in ids {
        assert_eq!(f.get(id), before);
    }
}

fn cct_10_three_claims_are_three_and_then_it_fails<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    for round in 1..=3 {
        assert_eq!(f.claim(agent).fence, round);
        f.wait_alive(mins(11), agent);
        let report = f.recovery();
        let expected = if round < 3 { (1, 0) } else { (0, 1) };
        assert_eq!((report.count("requeued"), report.count("failed")), expected, "round {round}");
    }
    assert!(f.store.claim(agent, LEASE).unwrap().is_none());
    let row = f.get(id);
    assert_eq!((row.state, row.attempts), (Failed, 3));
}

fn record(n: u32) -> NewAudit {
    NewAudit::new("alice", "thing.do", format!("thing {n}"))
}

fn cct_11_nothing_old_means_nothing_is_deleted<S: TestStore>(mut f: Fleet<S>) {
    f.store.append(&record(1)).unwrap();
    f.wait(DAY * 365);
    assert_eq!(f.retention(AuditRetentionConfig::default()).processed(), 0);
    assert_eq!(f.audit().len(), 1, "no record is left of nothing");
}

fn cct_12_old_records_are_deleted_and_counted<S: TestStore>(mut f: Fleet<S>) {
    for n in 0..5 {
        f.store.append(&record(n)).unwrap();
        f.wait(DAY);
    }
    // The first three are more than 365 days old by now, the fourth exactly.
    f.wait(DAY * 363);
    let report = f.retention(AuditRetentionConfig::default());
    assert_eq!((report.count("deleted"), report.finished), (3, true));
    let left: Vec<String> = f.audit().into_iter().map(|record| record.resource).collect();
    assert_eq!(left, ["thing 3", "thing 4", "records 1 to 3"]);
    let detail: serde_json::Value = serde_json::from_str(&f.audit()[2].detail).unwrap();
    let cutoff = f.now().as_micros() - 365 * 24 * 3600 * 1_000_000;
    assert_eq!((detail["deleted"].as_u64(), detail["cutoff"].as_u64()), (Some(3), Some(cutoff)));
    assert!(f.chain().is_sound(), "{:?}", f.chain());
}

fn cct_13_a_dry_run_counts_and_deletes_nothing<S: TestStore>(mut f: Fleet<S>) {
    for n in 0..5 {
        f.store.append(&record(n)).unwrap();
    }
    f.wait(DAY * 366);
    let config = AuditRetentionConfig { dry_run: true, ..Default::default() };
    let report = f.retention(config);
    assert_eq!((report.processed(), report.dry_run), (5, true));
    assert_eq!(f.audit().len(), 5);
    assert_eq!(report.to_string(), "5 deleted, nothing was changed");
}

fn cct_16_defaults_are_the_known_ones_and_zero_is_refused<S: TestStore>(_: Fleet<S>) {
    let health = AgentHealthConfig::default();
    assert_eq!((health.interval, health.stale_timeout), (secs(30), secs(90)));
    let recovery = JobRecoveryConfig::default();
    assert_eq!((recovery.interval, recovery.max_retries, recovery.max_queue), (secs(60), 3, mins(60)));
    assert_eq!((recovery.stuck_threshold, recovery.tenant_stuck_threshold), (mins(30), mins(10)));
    assert_eq!(recovery.tenant_max_queue, DAY);
    assert_eq!(QueuePriorityConfig::default().interval, secs(60));
    let cleanup = TokenCleanupConfig::default();
    assert_eq!((cleanup.interval, cleanup.grace), (mins(60), DAY * 7));
    let retention = AuditRetentionConfig::default();
    assert_eq!((retention.interval, retention.retention), (DAY, DAY * 365));
    assert_eq!((retention.batch_size, retention.dry_run), (10_000, false));

    let zero = Duration::ZERO;
    let refused = |result: loopkeeper::error::Result<()>, text: &str| {
        assert_eq!(result.unwrap_err().to_string(), text);
    };
    refused(
        AgentHealth::new(AgentHealthConfig { stale_timeout: zero, ..health }).map(drop),
        "stale_timeout: must be more than zero",
    );
    refused(
        JobRecovery::new(JobRecoveryConfig { max_retries: 0, ..recovery }).map(drop),
        "max_retries: must be at least 1, found 0",
    );
    refused(
        QueuePriority::new(QueuePriorityConfig { bonus_per_minute: 0, interval: secs(1) }).map(drop),
        "bonus_per_minute: must be from 1 to 1000000, found 0",
    );
    refused(
        TokenCleanup::new(TokenCleanupConfig { interval: zero, ..cleanup }).map(drop),
        "interval: must be more than zero",
    );
    refused(
        AuditRetention::new(AuditRetentionConfig { batch_size: 0, ..retention }).map(drop),
        "batch_size: must be from 1 to 1000000, found 0",
    );
}

fn cct_20_claims_go_by_priority_then_tenant_then_age<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(100));
    assert!(f.store.claim(agent, LEASE).unwrap().is_none(), "an empty queue");
    let other = f.store.create_tenant("other", Plan::Free).unwrap();
    let mut enqueue = |tenant: TenantId, priority: Priority| {
        f.wait(secs(1));
        f.enqueue(NewCommand::job(tenant, CommandKind::Scan, "{}").priority(priority))
    };
    let (acme, normal) = (TenantId(1), Priority::Normal);
    let first = enqueue(acme, normal);
    let second = enqueue(acme, normal);
    let third = enqueue(acme, normal);
    let theirs = enqueue(other, normal);
    let high = enqueue(acme, Priority::High);
    let critical = enqueue(other, Priority::Critical);
    let low = enqueue(acme, Priority::Low);
    let waiting = f.store.queue(100).unwrap().rows;
    assert_eq!(
        waiting.iter().map(|row| row.id).collect::<Vec<_>>(),
        [critical, high, first, second, third, theirs, low]
    );
    let mut order = Vec::new();
    while let Some(claim) = f.store.claim(agent, LEASE).unwrap() {
        order.push(claim.command.id);
    }
    // By class; inside one, whoever has less at work, then the older.
    assert_eq!(order, [critical, high, first, theirs, second, third, low]);
}

fn wct_20_the_last_claims_agent_dies_and_the_job_is_not_lost<S: TestStore>(mut f: Fleet<S>) {
    let job = f.job();
    let id = f.enqueue(job);
    for round in 1..=3 {
        let agent = f.agent(&format!("a{round}"));
        assert_eq!(f.claim(agent).fence, round);
        f.wait(mins(2));
        let _ = f.health();
    }
    let row = f.get(id);
    assert_eq!((row.state, row.attempts), (Failed, 3));
    assert_eq!(row.message.as_deref(), Some("its last claim was lost"));
}

fn wct_21_a_healthy_job_on_its_last_claim_is_not_failed<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    for _ in 0..2 {
        let lease = f.claim(agent);
        f.store.release(&lease).unwrap();
    }
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    for _ in 0..120 {
        f.wait_alive(secs(30), agent);
        f.store.renew(&lease, LEASE).unwrap();
        assert_eq!(f.health().processed() + f.recovery().processed(), 0);
    }
    f.store.complete(&lease, "{}").unwrap();
    assert_eq!(f.state(id), Completed);
}

fn wct_22_the_last_claim_can_still_succeed<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order();
    let id = f.enqueue(order);
    for _ in 0..2 {
        f.claim(agent);
        f.wait_alive(mins(11), agent);
        let _ = f.recovery();
        assert_eq!(f.state(id), Pending);
        assert_eq!(f.recovery().processed(), 0, "the next pass does nothing to it");
    }
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.store.complete(&lease, "{}").unwrap();
    assert_eq!(f.get(id).attempts, 3);
}

fn wct_23_an_order_on_dying_agents_ends<S: TestStore>(mut f: Fleet<S>) {
    let order = f.order();
    let id = f.enqueue(order);
    let mut claims = 0;
    for round in 0..10 {
        let agent = f.own_agent(&format!("a{round}"));
        claims += u32::from(f.store.claim(agent, LEASE).unwrap().is_some());
        f.wait(mins(2));
        let _ = f.health();
        let _ = f.recovery();
    }
    assert_eq!((claims, f.state(id)), (3, Failed));
}

fn wct_24_a_job_put_back_is_not_expired_for_the_time_it_was_held<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    f.wait_alive(mins(30), agent);
    f.claim(agent);
    f.wait_alive(mins(31), agent);
    let report = f.recovery();
    assert_eq!((report.count("requeued"), report.count("expired")), (1, 0));
    assert_eq!(f.state(id), Pending);
    assert_eq!(f.recovery().processed(), 0);
    let row = f.get(id);
    assert_eq!(row.queued_at, f.now());
    assert_eq!(
        f.now().as_micros() - row.waiting_since.as_micros(),
        mins(30).as_micros() as u64,
        "its age is kept"
    );
    f.wait(mins(61));
    assert_eq!(f.recovery().count("expired"), 1);
}

fn wct_25_running_jobs_are_taken_back_too<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.wait(mins(31));
    assert_eq!(f.recovery().count("requeued"), 1);
    let row = f.get(id);
    assert_eq!((row.state, row.started_at, row.acknowledged_at), (Pending, None, None));
}

fn wct_26_a_live_holder_keeps_what_it_renews_and_a_dead_pin_is_freed<S: TestStore>(mut f: Fleet<S>) {
    let (live, dead) = (f.own_agent("live"), f.own_agent("dead"));
    let order = f.order();
    let kept = f.enqueue(order);
    let pinned = f.order().pinned_to(dead);
    let pinned = f.enqueue(pinned);
    let mut lease = f.claim(live);
    for _ in 0..22 {
        f.wait_alive(secs(30), live);
        lease = f.store.renew(&lease, LEASE).unwrap();
        let _ = f.health();
        let _ = f.recovery();
    }
    assert_eq!((f.state(kept), f.get(pinned).pinned_to), (Acknowledged, Some(dead)));
    f.wait_alive(mins(2), live);
    f.store.renew(&lease, LEASE).unwrap();
    assert_eq!(f.recovery().count("unpinned"), 1);
    assert_eq!(f.claim(live).command, pinned);
}

fn wct_27_a_claim_has_one_holder_who_is_known<S: TestStore>(mut f: Fleet<S>) {
    let (one, two) = (f.own_agent("one"), f.own_agent("two"));
    let order = f.order();
    let id = f.enqueue(order);
    let lease = f.claim(one);
    assert_eq!(f.get(id).agent, Some(one));
    assert!(f.store.claim(two, LEASE).unwrap().is_none());
    let forged = Lease { agent: two, ..lease };
    assert_eq!(kind(f.store.start(&forged)), ErrorKind::Stale);
    assert_eq!(kind(f.store.start(&Lease { fence: 2, ..lease })), ErrorKind::Stale);
    assert_eq!(f.state(id), Acknowledged);
}

fn wct_28_the_number_of_claims_is_the_configured_one<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    for most in [5, 1] {
        let _ = f.recovery_with(JobRecoveryConfig { max_retries: most, ..Default::default() });
        assert_eq!(f.store.max_attempts().unwrap(), most);
        let order = f.order();
        let id = f.enqueue(order);
        let mut claims = 0;
        while f.store.claim(agent, LEASE).unwrap().is_some() {
            claims += 1;
            f.wait_alive(mins(11), agent);
            let _ = f.recovery_with(JobRecoveryConfig { max_retries: most, ..Default::default() });
        }
        assert_eq!((claims, f.state(id)), (most, Failed));
    }
}

fn wct_29_stamps_agree_with_the_state<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.store.progress(&lease, 40).unwrap();
    f.wait(mins(31));
    let _ = f.recovery();
    let row = f.get(id);
    let gone = (row.acknowledged_at, row.started_at, row.lease_until, row.progress, row.agent);
    assert_eq!(gone, (None, None, None, None, None));
    f.wait(mins(61));
    let _ = f.recovery();
    let row = f.get(id);
    assert_eq!((row.state, row.completed_at), (Expired, Some(f.now())));
    assert_eq!(row.message.as_deref(), Some("no agent took it in time"));
}

fn wct_30_nobody_overwrites_what_another_decided<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    f.store.set_agent_status("root", agent, AgentStatus::Disabled, "maintenance").unwrap();
    assert_eq!(f.store.heartbeat(agent, &Heartbeat::new()).unwrap(), AgentStatus::Disabled);
    let row = f.store.agent(agent).unwrap();
    assert_eq!((row.status, row.status_message.as_deref()), (AgentStatus::Disabled, Some("maintenance")));
    f.store.set_agent_status("root", agent, AgentStatus::Active, "done").unwrap();

    // A late holder finds the job with another.
    let order = f.order();
    let id = f.enqueue(order);
    let late = f.claim(agent);
    f.wait(mins(2));
    let _ = f.health();
    let other = f.own_agent("b");
    let lease = f.claim(other);
    let before = f.get(id);
    assert_eq!(kind(f.store.start(&late)), ErrorKind::Stale);
    assert_eq!(kind(f.store.complete(&late, "{}")), ErrorKind::Stale);
    assert_eq!(kind(f.store.fail(&late, "x")), ErrorKind::Stale);
    assert_eq!(kind(f.store.release(&late)), ErrorKind::Stale);
    assert_eq!(kind(f.store.renew(&late, LEASE)), ErrorKind::Stale);
    assert_eq!(kind(f.store.progress(&late, 5)), ErrorKind::Stale);
    assert_eq!(f.get(id), before);

    // So does one whose agent has claimed it again: the fence tells.
    f.store.start(&lease).unwrap();
    f.store.release(&lease).unwrap();
    let (late, lease) = (lease, f.claim(other));
    assert_eq!((late.command, late.agent, late.fence + 1), (id, lease.agent, lease.fence));
    for held in [Acknowledged, Running] {
        let before = f.get(id);
        assert_eq!(before.state, held);
        assert_eq!(kind(f.store.start(&late)), ErrorKind::Stale);
        assert_eq!(kind(f.store.complete(&late, "{}")), ErrorKind::Stale);
        assert_eq!(kind(f.store.fail(&late, "x")), ErrorKind::Stale);
        assert_eq!(kind(f.store.release(&late)), ErrorKind::Stale);
        assert_eq!(kind(f.store.renew(&late, LEASE)), ErrorKind::Stale);
        assert_eq!(kind(f.store.progress(&late, 5)), ErrorKind::Stale);
        assert_eq!(f.get(id), before);
        if held == Acknowledged {
            f.store.start(&lease).unwrap();
        }
    }

    // What is completed cannot fail.
    f.store.complete(&lease, "1").unwrap();
    assert_eq!(kind(f.store.fail(&lease, "x")), ErrorKind::InvalidState);
    assert_eq!((f.state(id), f.get(id).result.as_deref()), (Completed, Some("1")));

    // Revoked is for good.
    f.store.set_agent_status("root", other, AgentStatus::Revoked, "stolen").unwrap();
    assert_eq!(kind(f.store.heartbeat(other, &Heartbeat::new())), ErrorKind::InvalidState);
    assert_eq!(
        kind(f.store.set_agent_status("root", other, AgentStatus::Active, "x")),
        ErrorKind::InvalidState
    );
    assert_eq!(f.store.agent(other).unwrap().status, AgentStatus::Revoked);
}

fn wct_31_slots_are_free_when_their_jobs_are<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(2));
    for _ in 0..3 {
        let job = f.job();
        f.enqueue(job);
    }
    f.claim(agent);
    f.claim(agent);
    assert!(f.store.claim(agent, LEASE).unwrap().is_none(), "its slots are full");
    assert_eq!(f.store.agent(agent).unwrap().held_jobs, 2);
    f.wait(mins(2));
    let report = f.health();
    assert_eq!((report.count("offline"), report.count("requeued")), (1, 2));
    let row = f.store.agent(agent).unwrap();
    assert_eq!((row.held_jobs, row.health), (0, AgentCondition::Offline));
    f.beat(agent);
    f.claim(agent);
}

fn wct_32_agents_never_heard_of_go_offline_and_the_time_is_kept<S: TestStore>(mut f: Fleet<S>) {
    let (_, token) = f.store.create_token("root", &NewToken::for_platform("t").max_uses(2)).unwrap();
    let silent = |f: &mut Fleet<S>| {
        f.store.register(&token, &NewAgent::new("silent", AgentKind::Platform)).unwrap().agent
    };
    let alone = silent(&mut f);
    f.wait(secs(91));
    assert_eq!(f.health().count("offline"), 1);
    assert_eq!(f.store.agent(alone).unwrap().last_offline_at, Some(f.now()));
    let silent = silent(&mut f);
    let ill = f.agent("ill");
    f.store.heartbeat(ill, &Heartbeat::new().error("disk\0full").cpu_percent(200)).unwrap();
    let row = f.store.agent(ill).unwrap();
    assert_eq!((row.health, row.cpu_percent), (AgentCondition::Error, Some(100)));
    assert_eq!(row.last_error.as_deref(), Some("disk full"));
    f.wait(secs(90));
    assert_eq!(f.health().count("offline"), 0);
    f.wait(Duration::from_micros(1));
    assert_eq!(f.health().count("offline"), 2);
    assert_eq!(f.health().processed(), 0);
    for agent in [silent, ill] {
        let row = f.store.agent(agent).unwrap();
        assert_eq!((row.health, row.last_offline_at), (AgentCondition::Offline, Some(f.now())));
    }
}

fn wct_33_only_places_that_change_are_written<S: TestStore>(mut f: Fleet<S>) {
    for _ in 0..5 {
        let job = f.job();
        f.enqueue(job);
    }
    assert_eq!(f.priorities().count("moved"), 0, "a new job has its place");
    f.wait(secs(59));
    assert_eq!(f.priorities().count("moved"), 0, "whole minutes count");
    f.wait(secs(1));
    assert_eq!(f.priorities().count("moved"), 5);
    let version = f.get(CommandId(1)).version;
    assert_eq!(f.priorities().count("moved"), 0);
    assert_eq!(f.get(CommandId(1)).version, version);
}

fn wct_34_nobody_starves<S: TestStore>(mut f: Fleet<S>) {
    // A tenant with much at work, and its oldest job of the lowest class.
    let busy = f.register(None, NewAgent::new("busy", AgentKind::Platform).max_jobs(100));
    for _ in 0..60 {
        let job = f.job();
        f.enqueue(job);
        let lease = f.claim(busy);
        f.store.renew(&lease, DAY).unwrap();
    }
    let low = f.job().priority(Priority::Low);
    let low = f.enqueue(low);
    let rich = f.store.create_tenant("rich", Plan::Enterprise).unwrap();
    let _ = f.priorities();
    assert_eq!(f.get(low).queue_priority, 250 + 25 - 200);
    // The best that can come now stands at 1100: 1025 minutes and one.
    f.wait(mins(1026));
    f.beat(busy);
    f.enqueue(NewCommand::job(rich, CommandKind::Scan, "{}").priority(Priority::Critical));
    let _ = f.priorities();
    assert_eq!(f.get(low).queue_priority, 75 + 1026);
    assert_eq!(f.claim(busy).command, low);
}

fn wct_35_spans_below_a_millisecond_are_spans<S: TestStore>(mut f: Fleet<S>) {
    let (agent, live) = (f.agent("a"), f.agent("live"));
    let stale =
        |f: &mut Fleet<S>| f.store.mark_offline(Duration::from_micros(250), Sweep::default()).unwrap();
    f.wait(Duration::from_micros(250));
    assert!(stale(&mut f).is_empty());
    f.wait(Duration::from_micros(1));
    f.beat(live);
    assert_eq!(stale(&mut f), [agent]);
    // Below what is kept, and above what a number holds.
    f.beat(agent);
    assert!(f.store.mark_offline(Duration::from_nanos(2), Sweep::default()).unwrap().is_empty());
    assert!(f.store.mark_offline(Duration::MAX, Sweep::default()).unwrap().is_empty());
}

fn wct_36_retention_goes_in_batches_and_the_chain_holds<S: TestStore>(mut f: Fleet<S>) {
    // 25 with one time, which no boundary by time can part; then 20 by the second.
    for n in 0..25 {
        f.store.append(&record(n)).unwrap();
    }
    for n in 25..45 {
        f.wait(secs(1));
        f.store.append(&record(n)).unwrap();
    }
    f.wait(DAY * 366);
    f.store.append(&record(45)).unwrap();
    let mut taken = Vec::new();
    loop {
        match f.store.retain(DAY * 365, false, 10).unwrap() {
            0 => break,
            n => taken.push(n),
        }
        let chain = f.chain();
        assert!(chain.is_sound(), "after {taken:?}: {chain:?}");
    }
    assert_eq!(taken.iter().sum::<u64>(), 45);
    assert!(taken.iter().all(|n| *n <= 10), "{taken:?}");
    let left = f.audit();
    assert_eq!(left.len(), 1 + taken.len());
    assert!(left[1..].iter().all(|record| record.action == RETENTION && record.severity == Severity::High));
    assert_eq!(f.chain().retained_away, 45);
}

fn wct_37_keeping_nothing_is_refused<S: TestStore>(_: Fleet<S>) {
    let check = |retention, grave_retention| {
        let config = AuditRetentionConfig { retention, grave_retention, ..Default::default() };
        AuditRetention::new(config).unwrap_err().to_string()
    };
    assert_eq!(check(Duration::ZERO, DAY), "retention: must be more than zero");
    let text = check(DAY * 2, DAY);
    assert_eq!(text, "grave_retention: must be at least retention (48h0m0s), found 24h0m0s");
}

fn wct_38_what_is_scheduled_is_not_expired_before_it_is_due<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let at = f.after(mins(120));
    let end = f.after(mins(150));
    let job = f.job().scheduled_at(at).expires_at(end);
    let id = f.enqueue(job);
    f.wait_alive(mins(119), agent);
    assert!(f.store.claim(agent, LEASE).unwrap().is_none());
    assert_eq!(f.recovery().processed(), 0);
    f.wait_alive(mins(1), agent);
    assert_eq!(f.recovery().processed(), 0);
    assert_eq!(f.priorities().processed(), 0, "its age begins when it is due");
    f.wait(mins(30));
    assert_eq!(f.recovery().count("expired"), 1);
    let row = f.get(id);
    assert_eq!(row.message.as_deref(), Some("its time was over before an agent took it"));
    assert_eq!(row.completed_at, Some(f.now()));
}

fn tokens_are_used_as_often_as_they_say<S: TestStore>(mut f: Fleet<S>) {
    let worker = NewAgent::new("w", AgentKind::Worker);
    let (_, twice) = f.store.create_token("root", &NewToken::for_platform("t").max_uses(2)).unwrap();
    let one = f.store.register(&twice, &worker).unwrap();
    let two = f.store.register(&twice, &worker).unwrap();
    assert_eq!(kind(f.store.register(&twice, &worker)), ErrorKind::NotFound);
    assert_eq!(f.store.authenticate(&one.key).unwrap(), one.agent);
    assert_eq!(f.store.authenticate(&two.key).unwrap(), two.agent);

    let now = f.now();
    let scanners = NewToken::for_tenant(f.tenant, "s").kind(AgentKind::Scanner).unlimited();
    let until = f.after(mins(5));
    let (id, scanners) = f.store.create_token("root", &scanners.expires_at(until)).unwrap();
    assert_eq!(kind(f.store.register(&scanners, &worker)), ErrorKind::InvalidArgument);
    let listed = f.store.tokens(TokenId(0), 10).unwrap().rows;
    assert_eq!(listed.iter().map(|token| token.uses).collect::<Vec<_>>(), [2, 0], "a refusal uses nothing");
    assert_eq!((listed[0].status(now), listed[1].status(now)), (TokenStatus::Exhausted, TokenStatus::Active));
    let scanner = NewAgent::new("s", AgentKind::Scanner);
    let agent = f.store.register(&scanners, &scanner).unwrap().agent;
    assert_eq!(f.store.agent(agent).unwrap().tenant, Some(f.tenant));
    f.wait(mins(5));
    assert_eq!(kind(f.store.register(&scanners, &scanner)), ErrorKind::NotFound, "expired");
    f.store.revoke_token("root", id).unwrap();
    f.store.revoke_token("root", id).unwrap();
    let actions: Vec<String> = f.audit().into_iter().map(|record| record.action).collect();
    assert_eq!(actions.iter().filter(|action| *action == "token.revoke").count(), 1);
    assert_eq!(actions.iter().filter(|action| *action == "agent.register").count(), 3);
}

fn a_secret_that_is_wrong_is_told_nothing<S: TestStore>(mut f: Fleet<S>) {
    let (id, secret) = f.store.create_token("root", &NewToken::for_platform("t")).unwrap();
    let agent = NewAgent::new("a", AgentKind::Worker);
    let mut near = secret.reveal().to_owned();
    let last = if near.pop() == Some('a') { 'b' } else { 'a' };
    near.push(last);
    let mut told = Vec::new();
    for guess in ["", "x", "lkt_", "\0", "lkt_\0é", &near, &secret.reveal()[..20]] {
        told.push(f.store.register(&Secret::new(guess), &agent).unwrap_err().to_string());
    }
    let key = f.store.register(&secret, &agent).unwrap();
    f.store.set_agent_status("root", key.agent, AgentStatus::Revoked, "stolen").unwrap();
    told.push(f.store.authenticate(&key.key).unwrap_err().to_string());
    told.push(f.store.register(&secret, &agent).unwrap_err().to_string());
    f.store.revoke_token("root", id).unwrap();
    told.dedup();
    assert_eq!(told, ["the secret is not known, or not good any more"]);
    let shown = format!("{:?}{:?}", f.store.tokens(TokenId(0), 10).unwrap(), f.audit());
    assert!(!shown.contains(secret.reveal()) && !shown.contains(key.key.reveal()));
}

fn tokens_good_for_nothing_are_cleaned_after_their_grace<S: TestStore>(mut f: Fleet<S>) {
    // One for each reason and two reasons, good for nothing from now on.
    let spend = |f: &mut Fleet<S>, name: &str| {
        let token = || NewToken::for_platform(name);
        let soon = f.after(secs(1));
        let create = |f: &mut Fleet<S>, token: NewToken| f.store.create_token("root", &token).unwrap();
        let used = [token(), token(), token().expires_at(f.after(secs(2)))].map(|token| create(f, token));
        let revoked = [token(), token().expires_at(soon)].map(|token| create(f, token).0);
        let (expired, _) = create(f, token().expires_at(soon));
        f.wait(secs(1));
        for (_, secret) in &used {
            f.store.register(secret, &NewAgent::new(name, AgentKind::Worker)).unwrap();
        }
        for token in revoked.into_iter().chain([used[0].0]) {
            f.store.revoke_token("root", token).unwrap();
        }
        let mut spent: Vec<TokenId> = used.iter().map(|(id, _)| *id).collect();
        spent.extend(revoked.into_iter().chain([expired]));
        spent
    };
    let (good, _) = f.store.create_token("root", &NewToken::for_platform("good")).unwrap();
    spend(&mut f, "early");
    f.wait(mins(2));
    let late = spend(&mut f, "late");
    let pass = TokenCleanup::new(TokenCleanupConfig::default()).unwrap();
    let run = |f: &mut Fleet<S>| pass.pass(&mut f.store, &PassContext::unbounded()).unwrap().to_string();
    let left = |f: &mut Fleet<S>| {
        let tokens = f.store.tokens(TokenId(0), 99).unwrap().rows;
        tokens.iter().map(|token| token.id).collect::<Vec<_>>()
    };
    f.wait(DAY * 7 - mins(3));
    assert_eq!(run(&mut f), "nothing to do");
    // The late ones are dead for exactly as long as they are kept.
    f.wait(mins(3));
    assert_eq!(run(&mut f), "1 expired, 2 exhausted, 3 revoked");
    assert_eq!(run(&mut f), "nothing to do");
    assert_eq!(left(&mut f), [&[good][..], &late].concat());
    f.wait(Duration::from_micros(1));
    assert_eq!(run(&mut f), "1 expired, 2 exhausted, 3 revoked");
    assert_eq!(left(&mut f), [good]);
}

fn claims_respect_capabilities_and_tools<S: TestStore>(mut f: Fleet<S>) {
    let plain = f.agent("plain");
    let able = f.register(None, NewAgent::new("able", AgentKind::Platform).tool("nmap").capability("ipv6"));
    let job = f.job().tool("nmap").needs_capability("ipv6").priority(Priority::Critical);
    let hard = f.enqueue(job);
    // A tool and a capability of one name are two things.
    let job = f.job().tool("ipv6").priority(Priority::High);
    let other = f.enqueue(job);
    let job = f.job();
    let easy = f.enqueue(job);
    assert_eq!(f.claim(plain).command, easy);
    assert!(f.store.claim(plain, LEASE).unwrap().is_none());
    assert_eq!(f.claim(able).command, hard);
    assert!(f.store.claim(able, LEASE).unwrap().is_none());
    assert_eq!(f.state(other), Pending);
}

fn claims_are_fair_between_tenants<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(1000));
    let late = f.store.create_tenant("late", Plan::Free).unwrap();
    for _ in 0..50 {
        let job = f.job();
        f.enqueue(job);
    }
    f.wait(secs(10));
    for _ in 0..5 {
        f.enqueue(NewCommand::job(late, CommandKind::Scan, "{}"));
    }
    let _ = f.priorities();
    let first: Vec<TenantId> = (0..10)
        .map(|_| {
            let lease = f.claim(agent);
            f.get(lease.command).tenant
        })
        .collect();
    assert_eq!(first.iter().filter(|tenant| **tenant == late).count(), 5, "{first:?}");
    // Fifty at work and ten: both have lost all they can; the one with less is first.
    for _ in 0..30 {
        f.claim(agent);
    }
    f.enqueue(NewCommand::job(late, CommandKind::Scan, "{}"));
    for _ in 0..2 {
        let _ = f.priorities();
    }
    let lease = f.claim(agent);
    assert_eq!(f.get(lease.command).tenant, late);
}

fn who_comes_beside_a_tenant_that_waited_alone_is_seen<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(1000));
    let [before, alone, after] =
        ["before", "alone", "after"].map(|name| f.store.create_tenant(name, Plan::Free).unwrap());
    let job = |tenant, priority| NewCommand::job(tenant, CommandKind::Scan, "{}").priority(priority);
    for comer in [before, after, before, after] {
        let waiting = [0; 3].map(|_| f.enqueue(job(alone, Priority::Low)));
        let first = [f.claim(agent).command, f.claim(agent).command];
        let urgent = f.enqueue(job(comer, Priority::Critical));
        let last = [f.claim(agent).command, f.claim(agent).command];
        assert_eq!((first, last), ([waiting[0], waiting[1]], [urgent, waiting[2]]), "{comer}");
        assert!(f.store.claim(agent, LEASE).unwrap().is_none());
    }
    // What came alone while the other had none left.
    let only = f.enqueue(job(before, Priority::Low));
    assert_eq!(f.claim(agent).command, only);
    assert!(f.store.claim(agent, LEASE).unwrap().is_none());
}

fn a_new_job_of_a_busy_tenant_does_not_pass_its_older_ones<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(100));
    for _ in 0..10 {
        let job = f.job();
        f.enqueue(job);
        f.claim(agent);
    }
    let job = f.job();
    let old = f.enqueue(job);
    f.wait(secs(1));
    assert_eq!(f.priorities().count("moved"), 1, "less 100 for what is at work");
    // What is at work was not taken off this one yet.
    let job = f.job();
    let new = f.enqueue(job);
    assert_eq!((f.claim(agent).command, f.claim(agent).command), (old, new));
}

fn a_clock_that_steps_back_breaks_no_chain<S: TestStore>(mut f: Fleet<S>) {
    f.store.set_now(f.after(DAY * 3));
    f.store.append(&record(0).severity(Severity::High)).unwrap();
    // The clock was ahead: what follows is older than what it follows.
    f.store.set_now(f.now());
    f.store.append(&record(1)).unwrap();
    f.wait(DAY);
    assert_eq!(f.store.retain(secs(1), false, 10).unwrap(), 1);
    assert!(f.chain().is_sound());
    f.wait(DAY * 2 + DAY / 2);
    assert_eq!(f.store.retain(DAY, true, 10).unwrap(), 1, "what tells of the removal goes before the first");
    let chain = f.chain();
    assert!(chain.is_sound() && chain.retained_away == 2, "{chain:?}");
    for _ in 0..5 {
        f.wait(DAY * 2);
        f.store.retain(DAY, true, 1).unwrap();
        let chain = f.chain();
        assert!(chain.is_sound(), "{chain:?}");
    }
}

fn the_oldest_record_goes_first_whatever_its_number<S: TestStore>(mut f: Fleet<S>) {
    for (n, severity) in [(0, Severity::Info), (3, Severity::High)] {
        for (i, days) in [(1, 2), (2, 0), (3, 1)] {
            f.store.set_now(f.after(DAY * days));
            f.store.append(&record(n + i).severity(severity)).unwrap();
        }
    }
    f.wait(DAY * 30);
    for grave in [false, true] {
        let left = [0; 3].map(|_| {
            assert_eq!(f.store.retain(DAY, grave, 1).unwrap(), 1);
            let left = f.audit().into_iter().filter(|record| record.severity.is_grave() == grave);
            left.filter_map(|record| record.resource.strip_prefix("thing ").map(str::to_owned)).collect()
        });
        let wanted: [&[&str]; 3] =
            if grave { [&["4", "6"], &["4"], &[]] } else { [&["1", "3"], &["1"], &[]] };
        assert_eq!(left.map(|left: Vec<String>| left), wanted.map(|left| left.to_vec()));
    }
    assert!(f.chain().is_sound());
}

fn a_holder_that_asks_twice_is_answered_twice<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.store.start(&lease).unwrap();
    f.store.complete(&lease, "1").unwrap();
    let done = f.get(id);
    f.wait(secs(5));
    f.store.complete(&lease, "2").unwrap();
    assert_eq!(f.get(id), done, "the first answer stays");
    assert_eq!(kind(f.store.start(&lease)), ErrorKind::InvalidState);
    let job = f.job();
    f.enqueue(job);
    let lease = f.claim(agent);
    f.store.fail(&lease, "no").unwrap();
    f.store.fail(&lease, "no").unwrap();
    assert_eq!(kind(f.store.complete(&lease, "1")), ErrorKind::Stale);
}

fn an_agent_finds_its_work_again<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let mut leases = Vec::new();
    for _ in 0..2 {
        let job = f.job();
        f.enqueue(job);
        leases.push(f.claim(agent));
    }
    let held: Vec<Lease> = f.store.held(agent).unwrap().rows.into_iter().map(|claim| claim.lease).collect();
    assert_eq!(held, leases);
    f.store.release(&leases[0]).unwrap();
    assert_eq!(kind(f.store.release(&leases[0])), ErrorKind::Stale);
    assert_eq!(f.store.held(agent).unwrap().rows.len(), 1);
}

fn cancelling_is_final_and_told_to_the_holder<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    let lease = f.claim(agent);
    f.store.cancel("alice", id, "not needed").unwrap();
    f.store.cancel("alice", id, "again").unwrap();
    let error = f.store.complete(&lease, "{}").unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Stale, format!("command {id} is canceled: not needed"))
    );
    let row = f.get(id);
    assert_eq!((row.state, row.completed_at, row.lease_until), (Canceled, Some(f.now()), None));
    assert_eq!(f.store.agent(agent).unwrap().held_jobs, 0);
    let records = f.audit();
    let last = records.last().unwrap();
    assert_eq!((&*last.actor, &*last.action, &*last.detail), ("alice", "command.cancel", "not needed"));
    let job = f.job();
    let done = f.enqueue(job);
    let lease = f.claim(agent);
    f.store.fail(&lease, "no").unwrap();
    assert_eq!(kind(f.store.cancel("alice", done, "x")), ErrorKind::InvalidState);
}

fn who_may_not_claim_is_told_why<S: TestStore>(mut f: Fleet<S>) {
    let (_, token) = f.store.create_token("root", &NewToken::for_platform("t")).unwrap();
    let agent = f.store.register(&token, &NewAgent::new("a", AgentKind::Platform)).unwrap().agent;
    let why = |f: &mut Fleet<S>| f.store.claim(agent, LEASE).unwrap_err().to_string();
    assert_eq!(why(&mut f), format!("agent {agent} is unknown: it must send a heartbeat first"));
    f.beat(agent);
    f.wait(mins(2));
    let _ = f.health();
    assert_eq!(why(&mut f), format!("agent {agent} is offline: it must send a heartbeat first"));
    f.store.set_agent_status("root", agent, AgentStatus::Disabled, "maintenance").unwrap();
    assert_eq!(why(&mut f), format!("agent {agent} is disabled: maintenance"));
    assert_eq!(kind(f.store.claim(agent, Duration::ZERO)), ErrorKind::InvalidArgument);
    assert_eq!(kind(f.store.claim(AgentId(99), LEASE)), ErrorKind::NotFound);
}

fn a_renewal_never_shortens_a_lease<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    let lease = f.claim(agent);
    let long = f.store.renew(&lease, mins(10)).unwrap();
    assert_eq!(long.until, f.after(mins(10)));
    assert_eq!(f.store.renew(&lease, secs(1)).unwrap().until, long.until);
    assert_eq!(f.get(id).lease_until, Some(long.until));
    // Late, and nobody has taken it: it is the holder's again.
    f.wait_alive(mins(11), agent);
    assert_eq!(f.store.renew(&lease, LEASE).unwrap().until, f.after(LEASE));
    f.store.set_agent_status("root", agent, AgentStatus::Revoked, "stolen").unwrap();
    assert_eq!(kind(f.store.renew(&lease, LEASE)), ErrorKind::Stale);
}

fn a_lease_is_good_to_its_last_moment<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let moment = Duration::from_micros(1);
    let mut ids = Vec::new();
    for lease in [LEASE, LEASE + moment] {
        let job = f.job();
        ids.push(f.enqueue(job));
        f.store.claim(agent, lease).unwrap().unwrap();
    }
    f.wait(LEASE.saturating_sub(moment));
    assert_eq!(f.store.mark_offline(secs(1), Sweep::default()).unwrap(), [agent]);
    assert_eq!(f.health().processed(), 0);
    // One that is over does not take along one that has a moment left.
    for id in ids {
        f.wait(moment);
        let taken = f.store.recover(Scope::Platform, Lost::HolderDead, Sweep::default()).unwrap();
        assert_eq!(taken, [Touched { command: id, state: Pending }]);
    }
}

fn each_time_limit_is_exact_for_each_row<S: TestStore>(mut f: Fleet<S>) {
    let moment = Duration::from_micros(1);
    let mut agents = Vec::new();
    let mut late = Vec::new();
    let mut unclaimed = Vec::new();
    let mut due = Vec::new();
    for _ in 0..3 {
        agents.push(f.agent("a"));
        let job = f.job();
        late.push(f.enqueue(job));
        let order = f.order();
        unclaimed.push(f.enqueue(order));
        let order = f.order().expires_at(f.after(mins(60)));
        due.push(f.enqueue(order));
        f.wait(moment);
    }
    // Now a limit of an hour is reached by the first alone, then the second.
    f.wait(mins(60).saturating_sub(moment * 3));
    let one = |f: &mut Fleet<S>| {
        let offline = f.store.mark_offline(mins(60), Sweep::default()).unwrap();
        let [late, unclaimed] = [Scope::Platform, Scope::Tenant]
            .map(|scope| ids(&f.store.expire_queued(scope, mins(60), Sweep::default()).unwrap()));
        let due = f.store.expire_due(Sweep::default()).unwrap();
        (offline, late, unclaimed, ids(&due))
    };
    // To be late is to be past the limit, to be due is to have reached it.
    assert_eq!(one(&mut f), (vec![], vec![], vec![], vec![due[0]]));
    for i in 0..2 {
        f.wait(moment);
        assert_eq!(one(&mut f), (vec![agents[i]], vec![late[i]], vec![unclaimed[i]], vec![due[i + 1]]));
    }
}

fn a_tenants_command_that_no_agent_takes_ends_too<S: TestStore>(mut f: Fleet<S>) {
    let recovery = JobRecovery::new(JobRecoveryConfig::default()).unwrap();
    let why = |f: &mut Fleet<S>, id| recovery.explain(&mut f.store, id).unwrap().to_string();
    let order = f.order().needs_capability("warp");
    let waits = f.enqueue(order);
    let order = f.order().needs_capability("warp").expires_at(f.after(DAY * 7));
    let patient = f.enqueue(order);
    let order = f.order().needs_capability("warp").scheduled_at(f.after(mins(60)));
    let later = f.enqueue(order);
    f.wait(DAY);
    assert_eq!(f.recovery().processed(), 0, "a day is allowed");
    let text = why(&mut f, waits);
    assert!(text.contains("queue: leaves it: it waits for 24h0m0s, 24h0m0s is allowed"), "{text}");
    f.wait(secs(1));
    let text = why(&mut f, waits);
    assert!(text.contains("queue: changes it: expired: no agent took it in time"), "{text}");
    let text = why(&mut f, patient);
    assert!(text.contains("queue: leaves it: it says itself when it expires"), "{text}");
    assert_eq!(f.recovery().to_string(), "1 expired");
    assert_eq!((f.state(waits), f.state(patient), f.state(later)), (Expired, Pending, Pending));
    assert_eq!(f.get(waits).message.as_deref(), Some("no agent took it in time"));
    // The time before it was due does not count.
    f.wait(mins(60));
    assert_eq!(f.recovery().processed(), 1);
    assert_eq!((f.state(patient), f.state(later)), (Pending, Expired));
    f.wait(DAY * 6);
    assert_eq!((f.recovery().processed(), f.state(patient)), (1, Expired));
}

fn ids(touched: &[Touched]) -> Vec<CommandId> {
    touched.iter().map(|row| row.command).collect()
}

fn what_a_revoked_agent_holds_is_out_of_its_hands<S: TestStore>(mut f: Fleet<S>) {
    let (agent, other) = (f.agent("a"), f.agent("b"));
    let job = f.job();
    let id = f.enqueue(job);
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.store.set_agent_status("root", agent, AgentStatus::Revoked, "stolen").unwrap();
    assert_eq!(kind(f.store.complete(&lease, "{}")), ErrorKind::Stale);
    assert_eq!(kind(f.store.fail(&lease, "x")), ErrorKind::Stale);
    assert_eq!(kind(f.store.progress(&lease, 1)), ErrorKind::Stale);
    assert_eq!(kind(f.store.release(&lease)), ErrorKind::Stale);
    assert_eq!(kind(f.store.renew(&lease, LEASE)), ErrorKind::Stale);
    assert_eq!(f.store.held(agent).unwrap().rows, [], "nor does it learn the number that would let it");
    let row = f.store.command(id).unwrap();
    assert_eq!((row.fence, row.attempts), (lease.fence + 1, 1), "which is another, for no further claim");
    assert_eq!((f.state(id), f.health().processed()), (Running, 0), "its lease is not over yet");
    f.wait_alive(LEASE, other);
    assert_eq!(f.health().count("requeued"), 1);
    assert_eq!(f.claim(other).command, id);
}

fn what_expires_while_it_is_held_expires_when_it_is_lost<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let end = f.after(mins(1));
    let job = f.job().expires_at(end);
    let id = f.enqueue(job);
    f.claim(agent);
    f.wait(mins(2));
    assert_eq!(f.recovery().processed(), 0, "nobody has found its agent to be dead");
    let report = f.health();
    assert_eq!((report.count("expired"), report.count("requeued")), (1, 0));
    assert_eq!(f.state(id), Expired);
}

fn pins_hold_and_need_an_agent_of_the_same_side<S: TestStore>(mut f: Fleet<S>) {
    let (one, two, platform) = (f.own_agent("one"), f.own_agent("two"), f.agent("p"));
    let order = f.order().pinned_to(two);
    let pinned = f.enqueue(order);
    assert!(f.store.claim(one, LEASE).unwrap().is_none());
    assert_eq!(f.claim(two).command, pinned);
    let order = f.order().pinned_to(platform);
    assert_eq!(kind(f.store.enqueue(&order)), ErrorKind::NotFound);
    let job = f.job().pinned_to(one);
    assert_eq!(kind(f.store.enqueue(&job)), ErrorKind::NotFound);
    let order = f.order().pinned_to(AgentId(99));
    assert_eq!(kind(f.store.enqueue(&order)), ErrorKind::NotFound);
    let order = f.order().pinned_to(two);
    let waiting = f.enqueue(order);
    f.store.set_agent_status("root", two, AgentStatus::Disabled, "out").unwrap();
    assert_eq!(f.recovery().count("unpinned"), 1);
    assert_eq!(f.claim(one).command, waiting);
}

fn an_agent_that_is_back_keeps_what_waits_for_it<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.own_agent("a");
    let order = f.order().pinned_to(agent);
    let id = f.enqueue(order);
    f.wait(mins(3));
    assert_eq!(f.health().count("offline"), 1);
    // Longer ago than anybody is waited for.
    f.wait_alive(mins(60), agent);
    assert_eq!(f.recovery().processed(), 0);
    assert_eq!(f.get(id).pinned_to, Some(agent));
    assert_eq!(f.claim(agent).command, id);
}

fn an_agent_is_waited_for_as_long_as_is_said<S: TestStore>(mut f: Fleet<S>) {
    let (moment, patience) = (Duration::from_micros(1), mins(10));
    let agent = f.own_agent("a");
    let order = f.order().pinned_to(agent);
    let id = f.enqueue(order);
    f.wait(mins(2));
    assert_eq!(f.health().count("offline"), 1);
    f.wait(patience);
    assert_eq!(f.store.unpin(patience, Sweep::default()).unwrap(), []);
    f.wait(moment);
    assert_eq!(ids(&f.store.unpin(patience, Sweep::default()).unwrap()), [id]);
    assert_eq!(f.get(id).pinned_to, None);
}

fn what_ends_at_the_very_moment_has_ended<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let end = f.after(mins(10));
    let ends = [end, Stamp::from_micros(end.as_micros() + 1)];
    let jobs = ends.map(|end| f.job().expires_at(end)).map(|job| f.enqueue(job));
    let _ = jobs.map(|_| f.claim(agent));
    f.wait(mins(10));
    assert_eq!(f.health().count("requeued"), 1);
    assert_eq!(jobs.map(|id| f.state(id)), [Expired, Pending]);
    let text = "its time was over when its holder was lost";
    assert_eq!(jobs.map(|id| f.get(id).message), [Some(text.to_owned()), None]);
}

fn a_command_is_to_be_had_from_its_moment_to_its_end<S: TestStore>(mut f: Fleet<S>) {
    let moment = Duration::from_micros(1);
    let platform = f.register(None, NewAgent::new("p", AgentKind::Platform).tool("nmap").max_jobs(9));
    let own = f.own_agent("own");
    for (new, agent) in [(f.job(), platform), (f.job().tool("nmap"), platform), (f.order(), own)] {
        let new = new.scheduled_at(f.after(mins(1))).expires_at(f.after(mins(2)));
        let ids = [0; 2].map(|_| f.enqueue(new.clone()));
        let try_it = |f: &mut Fleet<S>| {
            f.beat(agent);
            f.store.claim(agent, LEASE).unwrap().map(|claim| claim.lease.command)
        };
        f.wait(mins(1).saturating_sub(moment));
        assert_eq!(try_it(&mut f), None);
        f.wait(moment);
        assert_eq!(try_it(&mut f), Some(ids[0]));
        f.wait(mins(1).saturating_sub(moment));
        let lease = f.claim(agent);
        assert_eq!(lease.command, ids[1]);
        f.store.release(&lease).unwrap();
        f.wait(moment);
        assert_eq!(try_it(&mut f), None);
    }
}

fn a_small_batch_takes_the_oldest_first<S: TestStore>(mut f: Fleet<S>) {
    let one = Sweep { batch: 1, ..Sweep::default() };
    let (agent, lost) = (f.agent("a"), Lost::OrOlderThan(mins(1)));
    let jobs = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
    let leases = jobs.map(|_| f.claim(agent));
    f.store.renew(&leases[0], mins(3)).unwrap();
    f.wait_alive(mins(5), agent);
    // By the end of the lease, and not by number.
    let taken = f.store.recover(Scope::Platform, lost, one).unwrap();
    assert_eq!(ids(&taken), [leases[1].command]);
    f.wait(secs(1));
    let taken = f.store.recover(Scope::Platform, lost, one).unwrap();
    assert_eq!(ids(&taken), [leases[0].command]);
    f.wait(mins(61));
    let late = f.store.expire_queued(Scope::Platform, mins(60), one).unwrap();
    assert_eq!(ids(&late), [leases[1].command], "that came into the queue first");
}

fn no_batch_takes_more_than_it_says<S: TestStore>(mut f: Fleet<S>) {
    let one = Sweep { batch: 1, ..Sweep::default() };
    let [late, early, live] = ["late", "early", "live"].map(|name| f.agent(name));
    f.wait(secs(1));
    f.beat(late);
    f.wait(secs(2));
    f.beat(live);
    let offline = [0; 3].map(|_| f.store.mark_offline(secs(1), one).unwrap());
    assert_eq!(offline, [vec![early], vec![late], vec![]], "by when they were heard of, and not by number");

    let own = f.register(Some(f.tenant), NewAgent::new("own", AgentKind::Worker).max_jobs(9));
    let gone = f.own_agent("gone");
    f.store.set_agent_status("root", gone, AgentStatus::Disabled, "out").unwrap();
    let (soon, then) = (f.after(secs(1)), f.after(secs(2)));
    let due = [then, soon].map(|end| f.order().expires_at(end)).map(|order| f.enqueue(order));
    let unclaimed = [then, soon].map(|start| f.order().scheduled_at(start)).map(|order| f.enqueue(order));
    let used_up = [0; 2].map(|_| f.order().max_attempts(1)).map(|order| f.enqueue(order));
    let leases = due.iter().chain(&used_up).map(|_| f.claim(own)).collect::<Vec<_>>();
    leases.iter().for_each(|lease| f.store.release(lease).unwrap());
    let pinned = [0; 2].map(|_| f.order().pinned_to(gone)).map(|order| f.enqueue(order));
    f.wait(secs(5));
    let swept = |touched: loopkeeper::error::Result<Vec<Touched>>| ids(&touched.unwrap());
    let found = [0; 3].map(|_| swept(f.store.expire_due(one)));
    assert_eq!(found, [vec![due[1]], vec![due[0]], vec![]], "by when they end");
    let found = [0; 3].map(|_| swept(f.store.fail_exhausted(one)));
    assert_eq!(found, [vec![used_up[0]], vec![used_up[1]], vec![]]);
    let found = [0; 3].map(|_| swept(f.store.unpin(DAY, one)));
    assert_eq!(found, [vec![pinned[0]], vec![pinned[1]], vec![]]);
    pinned.iter().for_each(|id| f.store.cancel("root", *id, "done with").unwrap());
    let found = [0; 3].map(|_| swept(f.store.expire_queued(Scope::Tenant, secs(1), one)));
    assert_eq!(found, [vec![unclaimed[1]], vec![unclaimed[0]], vec![]], "by when they came into the queue");

    let jobs = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
    f.wait(mins(1));
    let moved = [0; 3].map(|_| f.store.reprioritize(1, one).unwrap().moved);
    assert_eq!((moved, jobs.map(|id| f.get(id).version)), ([1, 1, 0], [2, 2]));
}

fn no_claim_goes_beyond_the_last_that_is_allowed<S: TestStore>(mut f: Fleet<S>) {
    let platform = f.register(None, NewAgent::new("p", AgentKind::Platform).tool("nmap"));
    let own = f.own_agent("own");
    for (new, agent) in [(f.job(), platform), (f.job().tool("nmap"), platform), (f.order(), own)] {
        for (new, most) in [(new.clone(), 3), (new.max_attempts(2), 2)] {
            let id = f.enqueue(new);
            for _ in 0..most {
                let lease = f.claim(agent);
                assert_eq!(lease.command, id);
                f.store.release(&lease).unwrap();
            }
            // Before any pass has seen it.
            assert_eq!(f.store.claim(agent, LEASE).unwrap(), None);
            assert_eq!((f.get(id).attempts, f.state(id)), (most, Pending));
            f.store.cancel("root", id, "done with").unwrap();
        }
    }
}

fn a_token_that_was_taken_back_lets_nobody_in<S: TestStore>(mut f: Fleet<S>) {
    let (id, token) = f.store.create_token("root", &NewToken::for_platform("t").unlimited()).unwrap();
    let agent = NewAgent::new("a", AgentKind::Platform);
    f.store.register(&token, &agent).unwrap();
    f.store.revoke_token("root", id).unwrap();
    assert_eq!(kind(f.store.register(&token, &agent)), ErrorKind::NotFound);
    assert_eq!(f.store.agents(AgentId(0), 10).unwrap().rows.len(), 1);
}

fn an_order_needs_what_it_says<S: TestStore>(mut f: Fleet<S>) {
    let able = NewAgent::new("able", AgentKind::Worker).tool("nmap").tool("nmap").capability("ipv6");
    let half = NewAgent::new("half", AgentKind::Worker).tool("nmap").tool("ipv6");
    let [able, half] = [able, half].map(|agent| f.register(Some(f.tenant), agent));
    // Said twice is said once.
    let order = f.order().tool("nmap").tool("nmap").needs_capability("ipv6");
    let id = f.enqueue(order);
    let order = f.order().tool("masscan");
    f.enqueue(order);
    assert_eq!(f.store.claim(half, LEASE).unwrap(), None);
    assert_eq!(f.claim(able).command, id);
}

fn an_agent_takes_orders_of_its_tenant_alone<S: TestStore>(mut f: Fleet<S>) {
    let other = f.store.create_tenant("other", Plan::Enterprise).unwrap();
    let theirs = NewCommand::command(other, CommandKind::Scan, "{}").priority(Priority::Critical);
    let theirs = f.enqueue(theirs);
    let [own, foreign] = [f.tenant, other].map(|tenant| {
        let agent = NewAgent::new("a", AgentKind::Worker);
        f.register(Some(tenant), agent)
    });
    assert_eq!(f.store.claim(own, LEASE).unwrap(), None);
    let order = f.order();
    let ours = f.enqueue(order);
    assert_eq!([own, foreign].map(|agent| f.claim(agent).command), [ours, theirs]);
}

fn what_a_claim_answers_is_what_is_kept<S: TestStore>(mut f: Fleet<S>) {
    let (platform, own) = (f.agent("p"), f.own_agent("own"));
    let end = f.after(DAY);
    for (new, agent) in [(f.job(), platform), (f.order(), own)] {
        let new = new.priority(Priority::High).max_attempts(7).pinned_to(agent).expires_at(end);
        f.enqueue(new.scheduled_at(f.now()));
        f.wait(secs(1));
        let claim = f.store.claim(agent, LEASE).unwrap().unwrap();
        let lease = claim.lease;
        assert_eq!((lease.agent, lease.fence, lease.until), (agent, 1, f.after(LEASE)));
        let row = f.get(lease.command);
        assert_eq!((row.lease_until, row.acknowledged_at), (Some(lease.until), Some(f.now())));
        assert_eq!(claim.command, row);
        assert_eq!(f.store.held(agent).unwrap().rows, [claim]);
    }
}

fn orders_go_by_priority_then_age<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(Some(f.tenant), NewAgent::new("own", AgentKind::Worker).max_jobs(9));
    let [low, normal, critical, high, next] =
        [Priority::Low, Priority::Normal, Priority::Critical, Priority::High, Priority::High].map(
            |priority| {
                f.wait(secs(1));
                let order = f.order().priority(priority);
                f.enqueue(order)
            },
        );
    let order = [0; 5].map(|_| f.claim(agent).command);
    assert_eq!(order, [critical, high, next, normal, low]);
}

fn what_one_side_waits_for_the_other_does_not_take<S: TestStore>(mut f: Fleet<S>) {
    let (platform, own) = (f.agent("p"), f.own_agent("own"));
    let (job, order) = (f.job().tool("nmap"), f.order().tool("nmap"));
    for (hard, easy, agent) in [(job, f.order(), platform), (order, f.job(), own)] {
        // Its own side has work, and none that it can do.
        let ids = [hard, easy].map(|new| f.enqueue(new));
        assert_eq!(f.store.claim(agent, LEASE).unwrap(), None);
        for id in ids {
            f.store.cancel("root", id, "done with").unwrap();
        }
    }
}

fn of_equals_the_oldest_is_claimed_first<S: TestStore>(mut f: Fleet<S>) {
    let (platform, own) = (f.agent("p"), f.own_agent("own"));
    let other = f.store.create_tenant("other", Plan::Free).unwrap();
    let theirs = NewCommand::job(other, CommandKind::Scan, "{}");
    for (one, two, agent) in
        [(f.job(), f.job(), platform), (f.order(), f.order(), own), (f.job(), theirs, platform)]
    {
        let later = one.scheduled_at(f.after(secs(2)));
        let ids = [later, two].map(|new| f.enqueue(new));
        f.wait(secs(3));
        let claimed = ids.map(|_| {
            let lease = f.claim(agent);
            f.store.start(&lease).unwrap();
            f.store.complete(&lease, "{}").unwrap();
            lease.command
        });
        assert_eq!(claimed, [ids[1], ids[0]], "by how long they wait, and not by number");
    }
}

fn a_tenant_ranks_by_the_first_job_that_the_agent_can_do<S: TestStore>(mut f: Fleet<S>) {
    let [agent, other] = ["a", "b"]
        .map(|name| f.register(None, NewAgent::new(name, AgentKind::Platform).tool(name).max_jobs(9)));
    let rich = ["one", "two"].map(|name| f.store.create_tenant(name, Plan::Enterprise).unwrap());
    let theirs = rich.map(|tenant| NewCommand::job(tenant, CommandKind::Scan, "{}").priority(Priority::High));
    let moment = Duration::from_micros(1);
    type Change<'a> = &'a dyn Fn(NewCommand) -> NewCommand;
    for round in 0.. {
        let (now, soon) = (f.after(mins(1)), f.after(mins(1) + moment));
        let changes: [(Change<'_>, bool); 9] = [
            (&|job| job.pinned_to(agent), true),
            (&|job| job.tool("a"), true),
            (&|job| job.scheduled_at(now), true),
            (&|job| job.scheduled_at(soon), false),
            (&|job| job.expires_at(soon), true),
            (&|job| job.expires_at(now), false),
            (&|job| job.pinned_to(other), false),
            (&|job| job.tool("b"), false),
            (&|job| job.max_attempts(1), false),
        ];
        let Some((change, can)) = changes.get(round) else { break };
        let first = theirs.clone().map(|job| f.enqueue(change(job)));
        if round == 8 {
            let leases = first.map(|_| f.claim(other));
            leases.iter().for_each(|lease| f.store.release(lease).unwrap());
        }
        let job = f.job();
        let last = f.enqueue(job);
        f.wait(mins(1));
        let claimed = [0; 3].map(|_| f.store.claim(agent, LEASE).unwrap().map(|claim| claim.command.id));
        let wanted =
            if *can { [Some(first[0]), Some(first[1]), Some(last)] } else { [Some(last), None, None] };
        assert_eq!(claimed, wanted, "{round}");
        for id in [first[0], first[1], last] {
            f.store.cancel("root", id, "done with").unwrap();
        }
    }
}

fn a_tenant_ranks_by_its_oldest_job_and_what_others_hold_is_theirs<S: TestStore>(mut f: Fleet<S>) {
    let busy = f.register(None, NewAgent::new("busy", AgentKind::Platform).max_jobs(9));
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).tool("nmap").max_jobs(2));
    let other = f.store.create_tenant("other", Plan::Free).unwrap();
    let theirs = NewCommand::job(other, CommandKind::Scan, "{}");
    for new in [f.job(), theirs.clone(), f.job(), theirs.clone()] {
        f.enqueue(new);
        f.claim(busy);
    }
    let [soon, later] = [1, 2].map(|n| f.after(secs(n)));
    let hard = f.job().tool("masscan");
    let hard = f.enqueue(hard);
    let new = f.job().scheduled_at(later);
    let new = f.enqueue(new);
    let old = f.job().tool("nmap");
    let old = f.enqueue(old);
    let next = f.enqueue(theirs.scheduled_at(soon));
    let waiting = f.store.queue(9).unwrap().rows;
    assert_eq!(waiting.iter().map(|row| row.id).collect::<Vec<_>>(), [hard, old, next, new]);
    f.wait(secs(3));
    assert_eq!([0; 2].map(|_| f.claim(agent).command), [old, next]);
    assert_eq!(f.store.claim(agent, LEASE).unwrap(), None, "its slots are full");
}

fn what_a_tenant_has_at_work_counts_at_once<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(1000));
    let rich = f.store.create_tenant("rich", Plan::Enterprise).unwrap();
    for _ in 0..50 {
        f.enqueue(NewCommand::job(rich, CommandKind::Scan, "{}"));
        let job = f.job();
        f.enqueue(job);
    }
    let mut next = || {
        let lease = f.claim(agent);
        f.get(lease.command).tenant == rich
    };
    // 600 against 525, less ten for each at work: eight ahead, then in turn.
    let mut rich_first = 0;
    while next() {
        rich_first += 1;
    }
    assert_eq!(rich_first, 8);
    let rich_next = (0..20).filter(|_| next()).count();
    assert!((9..=11).contains(&rich_next), "{rich_next}");
}

fn each_change_of_a_command_counts_once_in_its_version<S: TestStore>(mut f: Fleet<S>) {
    type Change<'a, S> = (&'a str, &'a dyn Fn(&mut Fleet<S>, &Lease));
    let (agent, own, gone) = (f.agent("a"), f.own_agent("own"), f.agent("gone"));
    f.store.set_agent_status("root", gone, AgentStatus::Disabled, "out").unwrap();
    let all = Sweep::default();
    let claim = |f: &mut Fleet<S>, lease: &Lease| {
        assert_eq!(f.claim(lease.agent).command, lease.command);
    };
    let start = |f: &mut Fleet<S>, lease: &Lease| f.store.start(lease).unwrap();
    let progress = |f: &mut Fleet<S>, lease: &Lease| f.store.progress(lease, 5).unwrap();
    let renew = |f: &mut Fleet<S>, lease: &Lease| {
        f.store.renew(lease, mins(2)).unwrap();
    };
    let release = |f: &mut Fleet<S>, lease: &Lease| f.store.release(lease).unwrap();
    let complete = |f: &mut Fleet<S>, lease: &Lease| f.store.complete(lease, "{}").unwrap();
    let fail = |f: &mut Fleet<S>, lease: &Lease| f.store.fail(lease, "no").unwrap();
    let cancel = |f: &mut Fleet<S>, lease: &Lease| f.store.cancel("root", lease.command, "no").unwrap();
    let unpin = |f: &mut Fleet<S>, _: &Lease| assert_eq!(f.store.unpin(DAY, all).unwrap().len(), 1);
    let place = |f: &mut Fleet<S>, _: &Lease| {
        f.wait_alive(mins(1), agent);
        assert_eq!(f.store.reprioritize(1, all).unwrap().moved, 1);
    };
    let late = |f: &mut Fleet<S>, _: &Lease| {
        f.wait_alive(mins(1), agent);
        for scope in [Scope::Platform, Scope::Tenant] {
            f.store.expire_queued(scope, secs(1), all).unwrap();
        }
    };
    let due = |f: &mut Fleet<S>, _: &Lease| {
        f.wait_alive(mins(2), agent);
        assert_eq!(f.store.expire_due(all).unwrap().len(), 1);
    };
    let used_up = |f: &mut Fleet<S>, _: &Lease| assert_eq!(f.store.fail_exhausted(all).unwrap().len(), 1);
    let lost = |f: &mut Fleet<S>, _: &Lease| {
        f.wait_alive(mins(2), agent);
        let lost = Lost::OrOlderThan(mins(1));
        assert_eq!(f.store.recover(Scope::Platform, lost, all).unwrap().len(), 1);
    };
    let revoke = |f: &mut Fleet<S>, lease: &Lease| {
        f.store.set_agent_status("root", lease.agent, AgentStatus::Revoked, "stolen").unwrap();
    };
    let soon = f.after(mins(5));
    let lives: [(NewCommand, &[Change<'_, S>]); 9] = [
        (
            f.job(),
            &[
                ("claim", &claim),
                ("start", &start),
                ("progress", &progress),
                ("renew", &renew),
                ("release", &release),
                ("place", &place),
                ("claim", &claim),
                ("start", &start),
                ("complete", &complete),
            ],
        ),
        (f.job(), &[("claim", &claim), ("fail", &fail)]),
        (f.job(), &[("cancel", &cancel)]),
        (f.job().pinned_to(gone), &[("unpin", &unpin), ("late", &late)]),
        (f.order(), &[("claim", &claim), ("release", &release), ("late", &late)]),
        (f.order().expires_at(soon), &[("due", &due)]),
        (f.job().max_attempts(1), &[("claim", &claim), ("release", &release), ("used up", &used_up)]),
        (f.job().max_attempts(2), &[("claim", &claim), ("lost", &lost), ("claim", &claim), ("lost", &lost)]),
        (f.job(), &[("claim", &claim), ("revoke", &revoke)]),
    ];
    for (new, life) in lives {
        let id = f.enqueue(new);
        let mut version = f.get(id).version;
        for (what, change) in life {
            let agent = if f.get(id).platform { agent } else { own };
            let lease = Lease { command: id, agent, fence: f.get(id).fence, until: f.now() };
            change(&mut f, &lease);
            version += 1;
            assert_eq!(f.get(id).version, version, "{what}");
        }
    }
}

fn what_is_taken_off_for_work_ends_at_twenty_jobs<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(99));
    let other = f.store.create_tenant("other", Plan::Business).unwrap();
    let theirs = NewCommand::job(other, CommandKind::Scan, "{}");
    for at_work in 0..=22 {
        let job = f.job().priority(Priority::High);
        let ours = f.enqueue(job);
        f.wait(mins(1));
        let off = 10 * at_work.min(20);
        f.store.reprioritize(1, Sweep::default()).unwrap();
        let row = f.get(ours);
        assert_eq!((row.queue_priority, row.queue_penalty), (750 + 25 + 1 - off, off));
        // 575, which is one less than ours less all that may be taken off.
        let against = f.enqueue(theirs.clone());
        assert_eq!(f.claim(agent).command, ours, "{at_work} at work");
        f.store.cancel("root", against, "done with").unwrap();
    }
    // Nor does what was taken off an older job let a newer one stand for its tenant.
    let job = f.job().priority(Priority::Critical);
    let ours = f.enqueue(job);
    f.wait(mins(1));
    f.store.reprioritize(1, Sweep::default()).unwrap();
    let job = f.job().priority(Priority::High);
    f.enqueue(job);
    f.enqueue(theirs.priority(Priority::High));
    assert_eq!(f.claim(agent).command, ours, "826 against 825");
}

fn more_than_a_hundred_at_work_count_as_a_hundred<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(999));
    let other = f.store.create_tenant("other", Plan::Free).unwrap();
    let theirs = NewCommand::job(other, CommandKind::Scan, "{}");
    for (new, n) in [(f.job(), 101), (theirs.clone(), 99)] {
        for _ in 0..n {
            f.enqueue(new.clone());
            f.claim(agent);
        }
    }
    for one_more in [false, true] {
        let job = f.job();
        let ours = f.enqueue(job);
        f.wait(secs(1));
        let against = f.enqueue(theirs.clone());
        // With 99 the other has less at work; with 100 as much, and ours is older.
        let claimed = [0; 2].map(|_| f.claim(agent).command);
        assert_eq!(claimed, if one_more { [ours, against] } else { [against, ours] });
    }
}

fn a_place_follows_the_plan<S: TestStore>(mut f: Fleet<S>) {
    let all = [Priority::Low, Priority::Critical].map(|priority| f.job().priority(priority));
    let all = all.map(|job| f.enqueue(job));
    f.wait(mins(3));
    assert_eq!(f.store.reprioritize(2, Sweep::default()).unwrap().moved, 2);
    assert_eq!(all.map(|id| f.get(id).queue_priority), [250 + 25 + 6, 1000 + 25 + 6]);
    all.iter().for_each(|id| f.store.cancel("root", *id, "done with").unwrap());
    let job = f.job();
    let id = f.enqueue(job);
    for plan in [Plan::Team, Plan::Business, Plan::Enterprise, Plan::Free] {
        f.store.set_plan(f.tenant, plan).unwrap();
        assert_eq!(f.store.reprioritize(1, Sweep::default()).unwrap().moved, 1);
        let job = f.job();
        let new = f.enqueue(job);
        assert_eq!(f.get(id).queue_priority, f.get(new).queue_priority, "{plan}");
        f.store.cancel("root", new, "done with").unwrap();
    }
}

fn every_kind_of_command_is_to_be_had<S: TestStore>(mut f: Fleet<S>) {
    let many = |kind| NewAgent::new("many", kind).max_jobs(99);
    let platform = f.register(None, many(AgentKind::Platform));
    let own = f.register(Some(f.tenant), many(AgentKind::Worker));
    let rich = f.store.create_tenant("rich", Plan::Enterprise).unwrap();
    for kind in CommandKind::ALL {
        let tenant = f.tenant;
        let [theirs, ours] = [rich, tenant].map(|tenant| f.enqueue(NewCommand::job(tenant, *kind, "{}")));
        let order = f.enqueue(NewCommand::command(tenant, *kind, "{}"));
        assert_eq!(
            [platform, platform, own].map(|agent| f.claim(agent).command),
            [theirs, ours, order],
            "{kind}"
        );
        for id in [theirs, ours, order] {
            f.store.cancel("root", id, "done with").unwrap();
        }
    }
}

fn a_holder_may_give_up_before_it_begins_and_after<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    type Act<S> = fn(&mut Fleet<S>, &Lease);
    let acts: [(Act<S>, CommandState); 4] = [
        (|f, lease| f.store.fail(lease, "no").unwrap(), Failed),
        (|f, lease| f.store.cancel("root", lease.command, "no").unwrap(), Canceled),
        (
            |f, lease| {
                let state = f.state(lease.command);
                assert_eq!(f.store.renew(lease, mins(5)).unwrap().until, f.after(mins(5)));
                assert_eq!(f.state(lease.command), state);
                f.store.release(lease).unwrap();
            },
            Pending,
        ),
        (
            |f, lease| {
                f.wait(LEASE);
                assert_eq!(f.health().count("requeued"), 1);
                f.beat(lease.agent);
            },
            Pending,
        ),
    ];
    for (act, end) in acts {
        for begins in [false, true] {
            let job = f.job();
            let id = f.enqueue(job);
            let lease = f.claim(agent);
            if begins {
                f.store.start(&lease).unwrap();
            }
            f.wait(mins(2) - LEASE);
            act(&mut f, &lease);
            let row = f.get(id);
            assert_eq!((row.state, row.lease_until), (end, None));
            if end == Pending {
                // What it was held is no time in the queue.
                assert_eq!(row.waiting_since, f.now());
                assert_eq!((row.queued_at, row.agent, row.started_at), (f.now(), None, None));
                f.store.cancel("root", id, "done with").unwrap();
            } else {
                assert_eq!((row.completed_at, row.message.as_deref()), (Some(f.now()), Some("no")));
                assert_eq!((row.agent, row.started_at.is_some()), (Some(agent), begins));
            }
        }
    }
}

fn what_ends_with_its_holder_says_who_that_was<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let end = f.after(mins(1));
    let jobs = [f.job().max_attempts(1), f.job().expires_at(end)].map(|job| f.enqueue(job));
    let begun = f.now();
    for _ in jobs {
        let lease = f.claim(agent);
        f.store.start(&lease).unwrap();
        f.store.progress(&lease, 40).unwrap();
    }
    f.wait(mins(2));
    assert_eq!(f.health().processed(), 3);
    let why = ["its last claim was lost", "its time was over when its holder was lost"];
    for ((id, state), why) in jobs.into_iter().zip([Failed, Expired]).zip(why) {
        let row = f.get(id);
        assert_eq!((row.state, row.message.as_deref()), (state, Some(why)));
        assert_eq!((row.agent, row.progress, row.completed_at), (Some(agent), Some(40), Some(f.now())));
        assert_eq!((row.acknowledged_at, row.started_at), (Some(begun), Some(begun)));
        assert_eq!((row.queued_at, row.waiting_since, row.lease_until), (begun, begun, None));
    }
}

fn a_call_is_about_one_command_one_agent_and_one_tenant<S: TestStore>(mut f: Fleet<S>) {
    let (agent, other) = (f.agent("a"), f.agent("b"));
    type Act<S> = fn(&mut S, &Lease) -> loopkeeper::error::Result<()>;
    let acts: [Act<S>; 6] = [
        |store, lease| store.progress(lease, 5),
        |store, lease| store.renew(lease, DAY).map(drop),
        |store, lease| store.release(lease),
        |store, lease| store.complete(lease, "1"),
        |store, lease| store.fail(lease, "no"),
        |store, lease| store.cancel("root", lease.command, "no"),
    ];
    for act in acts {
        // Two with one agent and one number of the claim.
        let ids = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
        let [one, two] = ids.map(|_| f.claim(agent));
        assert_eq!((one.fence, two.fence), (1, 1));
        let claimed = f.get(two.command);
        f.store.start(&one).unwrap();
        assert_eq!(f.get(two.command), claimed);
        f.store.start(&two).unwrap();
        let begun = f.get(two.command);
        act(&mut f.store, &one).unwrap();
        assert_eq!(f.get(two.command), begun);
        let row = f.get(one.command);
        assert!(row.state != Completed || row.progress == Some(100));
        for id in ids {
            let _ = f.store.cancel("root", id, "done with");
        }
    }
    let ids = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
    let [_, theirs] = [agent, other].map(|agent| f.claim(agent));
    let row = f.get(theirs.command);
    f.store.set_agent_status("root", agent, AgentStatus::Revoked, "stolen").unwrap();
    assert_eq!(f.get(theirs.command), row);
    assert_eq!(f.store.agent(other).unwrap().status, AgentStatus::Active);
    assert_eq!(f.store.held(other).unwrap().rows.len(), 1);
    let rich = f.store.create_tenant("rich", Plan::Enterprise).unwrap();
    assert_eq!(f.store.standing(rich).unwrap(), (Plan::Enterprise, 0));
    assert_eq!(f.store.standing(f.tenant).unwrap(), (Plan::Free, ids.len() as u64));
    let tenants = f.store.tenants().unwrap().rows;
    assert_eq!(tenants.iter().map(|row| row.id).collect::<Vec<_>>(), [f.tenant, rich]);
}

fn a_holder_changes_nothing_of_what_is_over<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let (good, wrong, gone) = (Ok(()), Err(ErrorKind::InvalidState), Err(ErrorKind::Stale));
    // Start, progress, complete, fail, release, renew.
    for (end, told) in [
        (Completed, [wrong, wrong, good, wrong, wrong, wrong]),
        (Failed, [gone, gone, gone, good, gone, gone]),
        (Canceled, [gone; 6]),
    ] {
        let job = f.job();
        let id = f.enqueue(job);
        let lease = f.claim(agent);
        f.store.start(&lease).unwrap();
        match end {
            Completed => f.store.complete(&lease, "1").unwrap(),
            Failed => f.store.fail(&lease, "no").unwrap(),
            _ => f.store.cancel("root", id, "no").unwrap(),
        }
        let over = f.get(id);
        f.wait(secs(1));
        let store = &mut f.store;
        let answers = [
            store.start(&lease),
            store.progress(&lease, 5),
            store.complete(&lease, "2"),
            store.fail(&lease, "yes"),
            store.release(&lease),
            store.renew(&lease, LEASE).map(drop),
        ];
        assert_eq!(answers.map(|answer| answer.map_err(|error| error.kind())), told, "{end}");
        assert_eq!((over.state, f.get(id)), (end, over));
    }
}

fn what_was_said_last_is_kept_and_what_is_over_is_left<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let jobs = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.store.progress(&lease, 40).unwrap();
    f.store.release(&lease).unwrap();
    assert_eq!(f.get(lease.command).progress, None);
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    f.store.complete(&lease, "{}").unwrap();
    let over = f.get(lease.command);
    assert!(jobs.contains(&over.id));
    for (status, why) in
        [(AgentStatus::Disabled, "one"), (AgentStatus::Active, "two"), (AgentStatus::Revoked, "three")]
    {
        f.store.set_agent_status("root", agent, status, why).unwrap();
        let told = f.store.agent(agent).unwrap();
        assert_eq!((told.status, told.status_message.as_deref()), (status, Some(why)));
    }
    assert_eq!(f.get(lease.command), over);
}

fn a_moment_is_kept_and_the_next_is_too_old<S: TestStore>(mut f: Fleet<S>) {
    let moment = Duration::from_micros(1);
    let begun = f.now();
    let (_, used) = f.store.create_token("root", &NewToken::for_platform("used")).unwrap();
    let (revoked, _) = f.store.create_token("root", &NewToken::for_platform("revoked")).unwrap();
    f.store.create_token("root", &NewToken::for_platform("expired").expires_at(begun)).unwrap();
    f.store.register(&used, &NewAgent::new("a", AgentKind::Worker)).unwrap();
    f.store.revoke_token("root", revoked).unwrap();
    for n in 0..5 {
        f.store.append(&record(n).severity(Severity::High)).unwrap();
    }
    let daily = f.audit().iter().filter(|record| !record.severity.is_grave()).count() as u64;
    f.wait(DAY);
    let old = |f: &mut Fleet<S>| [false, true].map(|grave| f.store.count_older(DAY, grave).unwrap());
    let clean =
        |f: &mut Fleet<S>, batch| f.store.clean_tokens(DAY, Sweep { batch, dry_run: false }).unwrap().total();
    assert_eq!((old(&mut f), clean(&mut f, 9)), ([0, 0], 0));
    assert_eq!([false, true].map(|grave| f.store.retain(DAY, grave, 2).unwrap()), [0, 0]);
    f.wait(moment);
    assert_eq!(old(&mut f), [daily, 5]);
    assert_eq!([clean(&mut f, 2), clean(&mut f, 2), clean(&mut f, 2)], [2, 1, 0]);
    assert_eq!([0; 4].map(|_| f.store.retain(DAY, true, 2).unwrap()), [2, 2, 1, 0]);
    assert_eq!(f.store.retain(DAY, false, 100).unwrap(), daily);
    let chain = f.chain();
    assert_eq!((chain.retained_away, chain.breaks), (daily + 5, Vec::new()));
}

fn a_place_and_what_was_taken_off_it_go_together<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let jobs = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
    f.claim(agent);
    f.wait(mins(1));
    // Ten for a minute, and ten less for the other.
    assert_eq!(f.store.reprioritize(10, Sweep::default()).unwrap().moved, 1);
    let row = f.get(jobs[1]);
    assert_eq!((row.queue_priority, row.queue_penalty), (525, 10));
}

fn a_heartbeat_that_says_less_takes_nothing_back<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    f.store.heartbeat(agent, &Heartbeat::new().cpu_percent(40).memory_percent(50)).unwrap();
    f.store.heartbeat(agent, &Heartbeat::new().memory_percent(60)).unwrap();
    f.store.heartbeat(agent, &Heartbeat::new()).unwrap();
    let told = f.store.agent(agent).unwrap();
    assert_eq!((told.cpu_percent, told.memory_percent), (Some(40), Some(60)));
}

fn a_job_waits_for_its_agent_and_a_revoked_one_starts_nothing<S: TestStore>(mut f: Fleet<S>) {
    let (one, other) = (f.agent("one"), f.agent("other"));
    let job = f.job().pinned_to(one);
    let id = f.enqueue(job);
    assert!(f.store.claim(other, LEASE).unwrap().is_none());
    let lease = f.claim(one);
    assert_eq!(lease.command, id);
    f.store.set_agent_status("root", one, AgentStatus::Revoked, "stolen").unwrap();
    assert_eq!(kind(f.store.start(&lease)), ErrorKind::Stale);
    assert_eq!(f.state(id), Acknowledged);
}

fn a_cancelled_pass_says_that_it_did_not_finish<S: TestStore>(mut f: Fleet<S>) {
    for n in 0..30 {
        f.store.append(&record(n)).unwrap();
    }
    f.wait(DAY * 366);
    let cancel = CancelToken::new();
    let asked = std::cell::Cell::new(0);
    let check = || {
        asked.set(asked.get() + 1);
        if asked.get() == 3 {
            cancel.cancel();
        }
        if cancel.is_cancelled() { Err(ErrorKind::Cancelled.into()) } else { Ok(()) }
    };
    let config = AuditRetentionConfig { batch_size: 10, ..Default::default() };
    let pass = AuditRetention::new(config).unwrap();
    let report = pass.pass(&mut f.store, &PassContext::with_check(check)).unwrap();
    assert_eq!((report.count("deleted"), report.finished), (20, false));
    assert_eq!(report.to_string(), "20 deleted, stopped early");
    assert!(f.chain().is_sound());
    let fails = PassContext::with_check(|| Err(ErrorKind::Io.into()));
    assert_eq!(kind(pass.pass(&mut f.store, &fails)), ErrorKind::Io);
}

fn a_dry_run_says_what_a_run_would_do<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let soon = f.after(mins(5));
    // Its claims are used up, and its time is over, and it waited too long.
    let job = f.job().max_attempts(1).expires_at(soon);
    f.enqueue(job);
    let lease = f.claim(agent);
    f.store.release(&lease).unwrap();
    // Waits for one who is silent, and one that he holds.
    for job in [f.job(), f.job().pinned_to(agent)] {
        f.enqueue(job);
    }
    f.claim(agent);
    f.wait(mins(90));
    type Look<'a, S> = &'a dyn Fn(&mut S, &PassContext<'_>) -> PassReport;
    let passes: [Look<'_, S>; 3] = [
        &|store, cx| AgentHealth::new(Default::default()).unwrap().pass(store, cx).unwrap(),
        &|store, cx| {
            let config = JobRecoveryConfig { max_retries: 1, ..Default::default() };
            JobRecovery::new(config).unwrap().pass(store, cx).unwrap()
        },
        &|store, cx| QueuePriority::new(Default::default()).unwrap().pass(store, cx).unwrap(),
    ];
    let expected: [&[(&str, u64)]; 3] = [
        &[("offline", 1), ("requeued", 1), ("failed", 0), ("expired", 0)],
        &[("expired", 2), ("failed", 1), ("requeued", 0), ("unpinned", 0)],
        &[("moved", 0)],
    ];
    for (pass, expected) in passes.iter().zip(expected) {
        let before = f.store.commands(CommandId(0), 100).unwrap();
        let dry = pass(&mut f.store, &PassContext::unbounded().dry_run(true));
        assert_eq!(f.store.commands(CommandId(0), 100).unwrap(), before);
        assert_eq!(f.store.max_attempts().unwrap(), 3);
        let done = pass(&mut f.store, &PassContext::unbounded());
        assert_eq!((&*dry.counts, dry.dry_run, done.dry_run), (expected, true, false));
        assert_eq!(done.counts, dry.counts);
        f.store.set_max_attempts(3).unwrap();
    }
}

fn each_waiting_job_gets_its_place_in_a_bounded_number_of_batches<S: TestStore>(mut f: Fleet<S>) {
    let other = f.store.create_tenant("other", Plan::Team).unwrap();
    let mut jobs = Vec::new();
    // Of two tenants in turn, in threes that came at one moment.
    for n in 0..21 {
        let job = if n % 2 == 0 { f.job() } else { NewCommand::job(other, CommandKind::Scan, "{}") };
        jobs.push(f.enqueue(job));
        if n % 3 == 2 {
            f.wait(secs(1));
        }
    }
    let batch = Sweep { batch: 4, dry_run: false };
    for round in 1..=3 {
        // Each time every job has another place than before.
        let batches = [0; 6].map(|_| {
            f.wait(mins(1));
            f.store.reprioritize(1, batch).unwrap()
        });
        let moved: Vec<_> = batches.iter().map(|batch| (batch.moved, batch.finished)).collect();
        assert_eq!(moved, [(4, false), (4, false), (4, false), (4, false), (4, false), (1, true)]);
        for id in &jobs {
            assert_eq!(f.get(*id).version, 1 + round, "{id}");
        }
    }
    // One that is undone looks at all, wherever the others are.
    f.wait(mins(1));
    f.store.reprioritize(1, batch).unwrap();
    f.wait(mins(1));
    let all = f.store.reprioritize(1, Sweep { batch: 1_000, dry_run: true }).unwrap();
    assert_eq!(all, Moved { moved: 21, finished: true });
    let report = QueuePriority::new(Default::default())
        .unwrap()
        .pass(&mut f.store, &PassContext::unbounded().dry_run(true))
        .unwrap();
    assert_eq!(report.count("moved"), 21);
    assert_eq!(f.priorities().count("moved"), 17, "from where the last was stopped");
    assert_eq!(f.priorities().count("moved"), 4);
}

fn a_dry_run_of_every_pass_changes_nothing<S: TestStore>(mut f: Fleet<S>) {
    let (job, order) = (f.job(), f.order());
    let (a, b) = (f.agent("a"), f.own_agent("b"));
    f.enqueue(order.clone());
    f.enqueue(order.pinned_to(b));
    f.enqueue(job.clone());
    f.claim(a);
    f.claim(b);
    f.enqueue(job);
    f.wait(mins(90));
    let before =
        (f.store.agents(AgentId(0), 9).unwrap(), f.store.commands(CommandId(0), 9).unwrap(), f.audit());
    let dry = PassContext::unbounded().dry_run(true);
    let would = [
        AgentHealth::new(Default::default()).unwrap().pass(&mut f.store, &dry).unwrap().processed(),
        JobRecovery::new(Default::default()).unwrap().pass(&mut f.store, &dry).unwrap().processed(),
        QueuePriority::new(Default::default()).unwrap().pass(&mut f.store, &dry).unwrap().processed(),
        TokenCleanup::new(TokenCleanupConfig { grace: mins(1), ..Default::default() })
            .unwrap()
            .pass(&mut f.store, &dry)
            .unwrap()
            .processed(),
    ];
    // What the silent held counts, too.
    assert_eq!(would, [4, 3, 1, 2]);
    let after =
        (f.store.agents(AgentId(0), 9).unwrap(), f.store.commands(CommandId(0), 9).unwrap(), f.audit());
    assert_eq!(before, after);
}

fn every_pass_explains_itself<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    let id = f.enqueue(job);
    f.claim(agent);
    f.wait(mins(2));
    let health = AgentHealth::new(Default::default()).unwrap();
    let why = health.explain(&mut f.store, agent).unwrap();
    assert!(why.is_touched());
    let text = "agent 1, active, online\n  offline: changes it: last heard of 2m0s ago, 1m30s is allowed";
    assert_eq!(why.to_string(), text);
    let recovery = JobRecovery::new(Default::default()).unwrap();
    let why = recovery.explain(&mut f.store, id).unwrap();
    assert!(!why.is_touched(), "{why}");
    assert_eq!(why.reasons[3].why, "its holder lives and its claim is 2m0s old, 30m0s is allowed");
    f.store.mark_offline(secs(90), Sweep::default()).unwrap();
    let why = recovery.explain(&mut f.store, id).unwrap();
    assert_eq!(why.reasons[3].why, "its lease is over and its holder is dead");
    let _ = f.recovery();
    f.wait(mins(3));
    let why = QueuePriority::new(Default::default()).unwrap().explain(&mut f.store, id).unwrap();
    let text = "500 for normal, 25 for plan free, 3 minutes at 1, less 0 for 0 at work: 528";
    assert_eq!((why.is_touched(), &*why.reasons[0].why), (true, text));
    let why = TokenCleanup::new(Default::default()).unwrap().explain(&mut f.store, TokenId(1)).unwrap();
    assert_eq!(why.reasons[0].why, "it is exhausted for 5m0s, 168h0m0s is kept");
    let why = AuditRetention::new(Default::default()).unwrap().explain(&mut f.store, 1).unwrap();
    assert_eq!(why.reasons[0].why, "it is 5m0s old, 8760h0m0s is kept");
    assert_eq!(kind(health.explain(&mut f.store, AgentId(9))), ErrorKind::NotFound);
    assert_eq!(kind(recovery.explain(&mut f.store, CommandId(9))), ErrorKind::NotFound);
    let cleanup = TokenCleanup::new(Default::default()).unwrap();
    assert_eq!(kind(cleanup.explain(&mut f.store, TokenId(9))), ErrorKind::NotFound);
}

fn grave_records_are_kept_longer<S: TestStore>(mut f: Fleet<S>) {
    f.store.append(&record(1)).unwrap();
    f.store.append(&record(2).severity(Severity::Critical)).unwrap();
    f.store.append(&record(3)).unwrap();
    f.wait(DAY * 400);
    let report = f.retention(AuditRetentionConfig::default());
    assert_eq!((report.count("deleted"), report.count("deleted grave")), (2, 0));
    assert_eq!(f.audit()[0].resource, "thing 2");
    assert!(f.chain().is_sound(), "{:?}", f.chain());
    f.store.append(&record(4)).unwrap();
    f.wait(DAY * 1500);
    let report = f.retention(AuditRetentionConfig::default());
    assert_eq!((report.count("deleted"), report.count("deleted grave")), (1, 1));
    assert!(f.chain().is_sound(), "{:?}", f.chain());
}

fn a_removal_carries_what_went_with_it_and_no_more<S: TestStore>(mut f: Fleet<S>) {
    let like = r#"{"deleted":9,"first":1,"last":9,"cutoff":0}"#;
    f.store.append(&record(1)).unwrap();
    f.store.append(&record(2).severity(Severity::High).detail(like)).unwrap();
    f.wait(DAY);
    assert_eq!(f.store.retain(secs(1), false, 9).unwrap(), 1);
    f.store.append(&record(4)).unwrap();
    f.wait(DAY);
    assert_eq!(f.store.retain(secs(1), false, 9).unwrap(), 1);
    // The second record, which is none of a removal, and the first removal's.
    f.wait(secs(1));
    assert_eq!([0; 2].map(|_| f.store.retain(DAY, true, 1).unwrap()), [1, 1]);
    let told = f.audit().into_iter().map(|record| {
        let detail: serde_json::Value = serde_json::from_str(&record.detail).unwrap();
        [&detail, &detail["carried"]].map(|part| ["deleted", "first", "last"].map(|key| part[key].as_i64()))
    });
    let told = told.collect::<Vec<_>>();
    let part = |[deleted, first, last]: [i64; 3]| [Some(deleted), Some(first), Some(last)];
    let last = [part([1, 3, 3]), part([1, 1, 1])];
    assert_eq!(told, [[part([1, 4, 4]), [None; 3]], [part([1, 2, 2]), [None; 3]], last]);
    assert!(f.chain().is_sound());
}

fn a_tenants_standing_counts_its_jobs_and_not_its_orders<S: TestStore>(mut f: Fleet<S>) {
    let (agent, own) = (f.agent("a"), f.own_agent("own"));
    for command in [f.job(), f.job(), f.order()] {
        f.enqueue(command);
    }
    let tenant = f.tenant;
    assert_eq!(f.store.standing(tenant).unwrap().1, 0);
    f.claim(own);
    assert_eq!(f.store.standing(tenant).unwrap().1, 0);
    f.claim(agent);
    assert_eq!(f.store.standing(tenant).unwrap().1, 1);
}

fn unknown_numbers_are_not_found<S: TestStore>(mut f: Fleet<S>) {
    // There is one token, and it is not the one that is asked for.
    f.store.create_token("root", &NewToken::for_platform("t")).unwrap();
    let lease = Lease { command: CommandId(9), agent: AgentId(9), fence: 1, until: f.now() };
    for found in [
        f.store.agent(AgentId(9)).map(drop),
        f.store.command(CommandId(9)).map(drop),
        f.store.heartbeat(AgentId(9), &Heartbeat::new()).map(drop),
        f.store.set_agent_status("root", AgentId(9), AgentStatus::Active, "x"),
        f.store.cancel("root", CommandId(9), "x"),
        f.store.revoke_token("root", TokenId(9)),
        f.store.set_plan(TenantId(9), Plan::Free),
        f.store.standing(TenantId(9)).map(drop),
        f.store.start(&lease),
        f.store.enqueue(&NewCommand::job(TenantId(9), CommandKind::Scan, "{}")).map(drop),
        f.store.create_token("root", &NewToken::for_tenant(TenantId(9), "t")).map(drop),
    ] {
        assert_eq!(kind(found), ErrorKind::NotFound);
    }
    assert!(f.store.held(AgentId(9)).unwrap().rows.is_empty());
    assert_eq!(kind(f.store.command(CommandId(i64::MIN))), ErrorKind::NotFound);
}

fn bad_values_are_refused<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let job = f.job();
    f.enqueue(job);
    let lease = f.claim(agent);
    f.store.start(&lease).unwrap();
    for (result, text) in [
        (f.store.complete(&lease, "{"), "result: not JSON"),
        (f.store.fail(&lease, ""), "message: must not be empty"),
        (f.store.fail(&lease, "\0\n"), "message: must not be empty"),
        (f.store.create_tenant("", Plan::Free).map(drop), "name: must not be empty"),
        (f.store.set_max_attempts(0).map(drop), "max_attempts: must be at least 1"),
        (f.store.append(&NewAudit::new("", "a", "b")).map(drop), "actor: must not be empty"),
        (
            f.store.append(&NewAudit::new("eve", RETENTION, "b")).map(drop),
            "action: audit.retention is for retention alone",
        ),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().starts_with(text), "{error}");
    }
    assert_eq!(kind(f.store.create_tenant("acme", Plan::Free)), ErrorKind::Duplicate);
    f.store.fail(&lease, "line one\nline two; DROP TABLE fleet_agents; -- :now '").unwrap();
    assert_eq!(
        f.get(lease.command).message.unwrap(),
        "line one\nline two; DROP TABLE fleet_agents; -- :now '"
    );
    f.store.set_plan(f.tenant, Plan::Business).unwrap();
    assert_eq!(f.store.tenants().unwrap().rows[0].plan, Plan::Business);
}

fn what_cannot_be_claimed_now_is_last_in_the_queue<S: TestStore>(mut f: Fleet<S>) {
    let agent = f.agent("a");
    let high = f.job().priority(Priority::Critical);
    let (soon, later) = (f.after(mins(1)), f.after(mins(300)));
    let used_up = f.enqueue(high.clone().max_attempts(1));
    let lease = f.claim(agent);
    f.store.release(&lease).unwrap();
    let scheduled = f.enqueue(high.clone().scheduled_at(later));
    let past = f.enqueue(high.expires_at(soon));
    let low = f.job().priority(Priority::Low);
    let low = f.enqueue(low);
    f.wait(mins(1));
    f.beat(agent);
    let queue: Vec<_> = f.store.queue(10).unwrap().rows.iter().map(|row| row.id).collect();
    assert_eq!((queue.len(), queue[0]), (4, low));
    assert!([used_up, scheduled, past].iter().all(|id| queue[1..].contains(id)), "{queue:?}");
    assert_eq!(f.store.queue(1).unwrap().rows[0].id, low);
    assert_eq!(f.claim(agent).command, low);
}

fn listings_page_by_number<S: TestStore>(mut f: Fleet<S>) {
    for _ in 0..5 {
        let job = f.job();
        f.enqueue(job);
    }
    let page = f.store.commands(CommandId(2), 2).unwrap();
    assert_eq!(page.next, Some(4));
    assert_eq!(f.store.commands(CommandId(5), 2).unwrap().next, None);
    assert_eq!(page.rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(f.store.queue(3).unwrap().rows.len(), 3);
    for name in ["a", "b", "c"] {
        f.agent(name);
    }
    let [_, done] = [0; 2].map(|_| f.claim(AgentId(2)));
    f.store.fail(&done, "no").unwrap();
    let agents = f.store.agents(AgentId(0), 9).unwrap().rows;
    assert_eq!(agents.iter().map(|row| row.held_jobs).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(agents, [1, 2, 3].map(|id| f.store.agent(AgentId(id)).unwrap()));
    let page = f.store.agents(AgentId(1), 1).unwrap();
    assert_eq!(page.rows.iter().map(|row| &*row.name).collect::<Vec<_>>(), ["b"]);
    let page = f.store.tokens(TokenId(1), 1).unwrap();
    assert_eq!(page.rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), [2]);
    assert_eq!(f.store.audit(i64::MAX, 2).unwrap().next, None);
    let page = f.store.audit(1, 2).unwrap();
    assert_eq!(page.next, Some(3));
    assert_eq!(page.rows.iter().map(|row| row.position).collect::<Vec<_>>(), [2, 3]);
}
