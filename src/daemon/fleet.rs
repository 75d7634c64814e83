//! Looks at a fleet in its store, without the daemon: what there is, and why
//! a pass would change it.

use loopkeeper::config::Layers;
use loopkeeper::fleet::{
    Agent, AgentCondition, AgentId, AgentStatus, Command, CommandId, Explanation, Listing, Store, Token,
    TokenId,
};
use loopkeeper::{ErrorKind, Result, Stamp, shipped};
use serde::Serialize;

use super::load::{self, complete};
use super::table::{Table, age, until};
use super::{Exit, complain, escaped, lines, print};

mod passes;

use passes::{By, Passes};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) about: About,
    /// Whether the answer is for a program.
    pub(crate) json: bool,
    /// How many rows at most; of what is for a program, all.
    pub(crate) limit: Option<u32>,
    /// The number after which they begin.
    pub(crate) after: i64,
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// Who does the work.
    Agents,
    /// The work, by number.
    Jobs,
    /// What waits, the next first.
    Queue,
    /// With what agents register.
    Tokens,
    /// Why one thing is as it is.
    Why(Subject, i64),
}

/// One thing of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Agent,
    Job,
    Token,
    Record,
}

impl Subject {
    /// Finds it by its word.
    pub(crate) fn named(text: &str) -> Option<Self> {
        match text {
            "agent" => Some(Self::Agent),
            "job" => Some(Self::Job),
            "token" => Some(Self::Token),
            "record" => Some(Self::Record),
            _ => None,
        }
    }
}

/// The command `fleet`.
pub(crate) fn run(layers: Layers, ask: &Ask) -> Exit {
    let layers = complete(layers);
    let settings = match load::settings(&layers) {
        Ok(settings) => settings,
        Err(faults) => {
            complain(lines(&faults));
            return Exit::BadConfig;
        }
    };
    let store = shipped::store(&settings.store.url).and_then(|store| store.open_to_read());
    let passes = || Passes::deployed(&settings.deploy.dir);
    let store_is_missing = store.as_ref().is_err();
    match store.and_then(|mut store| answer(&mut *store, ask, passes)) {
        Ok(exit) => exit,
        Err(error) => {
            let next = match error.kind() {
                ErrorKind::NotFound if store_is_missing => {
                    "; the daemon makes it when a type of the fleet is deployed, and --config says where else to look"
                }
                _ => "",
            };
            complain(format_args!("loopkeeper: {}{next}", escaped(&error.report().to_string())));
            Exit::Failed
        }
    }
}

/// How many rows a table has.
const TABLE: u32 = 100;
/// How many rows are read at once of what is printed whole.
const PAGE: u32 = 1_000;

fn answer(store: &mut dyn Store, ask: &Ask, passes: impl FnOnce() -> Result<Passes>) -> Result<Exit> {
    let now = store.now()?;
    match ask.about {
        About::Agents => {
            tell(ask, |after, limit| store.agents(AgentId(after), limit), |agents| agents_table(agents, now))
        }
        About::Jobs => {
            tell(ask, |after, limit| store.commands(CommandId(after), limit), |jobs| jobs_table(jobs, now))
        }
        About::Queue => {
            let limit = ask.limit.unwrap_or(TABLE);
            let listing = store.queue(limit)?;
            let (is_cut, is_whole) = (is_full(&listing, limit), listing.unreadable.is_empty());
            if let Err(exit) = show(ask, listing, |jobs| queue_table(jobs, now)) {
                return Ok(exit);
            }
            if is_cut {
                complain(format_args!("the first {limit}; more with --limit N"));
            }
            Ok(if is_whole { Exit::Clean } else { Exit::Failed })
        }
        About::Tokens => {
            tell(ask, |after, limit| store.tokens(TokenId(after), limit), |tokens| tokens_table(tokens, now))
        }
        About::Why(subject, id) => Ok(why(ask, &passes()?.explain(store, subject, id)?)),
    }
}

/// Prints rows by their numbers: a page of them, or all there are when a
/// program asks and does not say how many.
fn tell<T: Serialize>(
    ask: &Ask,
    mut rows: impl FnMut(i64, u32) -> Result<Listing<T>>,
    table: impl Fn(&[T]) -> Table,
) -> Result<Exit> {
    let pages = ask.json && ask.limit.is_none();
    let limit = ask.limit.unwrap_or(if pages { PAGE } else { TABLE });
    let (mut after, mut exit) = (ask.after, Exit::Clean);
    loop {
        let listing = rows(after, limit)?;
        let (is_cut, last) = (is_full(&listing, limit), listing.next);
        if !listing.unreadable.is_empty() {
            exit = Exit::Failed;
        }
        let is_wanted = match show(ask, listing, &table) {
            Ok(is_wanted) => is_wanted,
            Err(exit) => return Ok(exit),
        };
        match last {
            Some(last) if is_cut && is_wanted && pages => after = last,
            Some(last) if is_cut && is_wanted => {
                complain(format_args!("the first {limit}; more with --limit N or --after {last}"));
                return Ok(exit);
            }
            _ => return Ok(exit),
        }
    }
}

fn is_full<T>(listing: &Listing<T>, limit: u32) -> bool {
    listing.rows.len() + listing.unreadable.len() == limit as usize
}

/// Prints rows: a table, or a JSON object a line. Says whether somebody still
/// reads.
fn show<T: Serialize>(
    ask: &Ask,
    listing: Listing<T>,
    table: impl FnOnce(&[T]) -> Table,
) -> Result<bool, Exit> {
    let Listing { rows, unreadable, .. } = listing;
    let mut out = String::new();
    if ask.json {
        rows.iter().for_each(|row| json_line(row, &mut out));
    } else {
        out = table(&rows).to_string();
    }
    let is_wanted = print(&out)?;
    for text in &unreadable {
        complain(format_args!("loopkeeper: left out: {}", escaped(text)));
    }
    Ok(is_wanted)
}

fn why(ask: &Ask, explained: &[(By, Explanation)]) -> Exit {
    #[derive(Serialize)]
    struct Line<'a> {
        pass: &'a str,
        dry_run: bool,
        paused: bool,
        #[serde(flatten)]
        explanation: &'a Explanation,
    }
    let mut out = String::new();
    for (By { name, dry_run, paused }, explanation) in explained {
        let (dry_run, paused) = (*dry_run, *paused);
        if ask.json {
            json_line(&Line { pass: name, dry_run, paused, explanation }, &mut out);
            continue;
        }
        let but = match (dry_run, paused) {
            (true, _) => " (a dry run: nothing is changed)",
            (false, true) => " (starts paused: runs when it is triggered)",
            (false, false) => "",
        };
        out.push_str(&escaped(&format!("{}, by {name}{but}:", explanation.subject)));
        out.push('\n');
        for reason in &explanation.reasons {
            let does = match reason.touched {
                true if dry_run || paused => "would change it",
                true => "changes it",
                false => "leaves it",
            };
            out.push_str(&escaped(&format!("  {}: {does}: {}", reason.step, reason.why)));
            out.push('\n');
        }
    }
    print(&out).map_or_else(|exit| exit, |_| Exit::Clean)
}

fn json_line(row: &impl Serialize, out: &mut String) {
    out.push_str(&super::logging::json_on_one_line(row));
    out.push('\n');
}

fn text(of: Option<impl ToString>) -> String {
    of.map_or_else(|| "-".to_owned(), |of| of.to_string())
}

fn agents_table(agents: &[Agent], now: Stamp) -> Table {
    let mut table = Table::new(&["ID", "NAME", "KIND", "TENANT", "STATUS", "HEALTH", "HOLDS", "SEEN", "WHY"]);
    for agent in agents {
        let seen = agent.last_seen_at.map_or_else(|| "never".to_owned(), |at| age(now, at));
        // A decision leaves its words behind when all is well again.
        let ails = agent.status == AgentStatus::Active && agent.health == AgentCondition::Error;
        let error = agent.last_error.as_ref();
        let why = error.filter(|_| ails).or(agent.status_message.as_ref()).or(error);
        table.row([
            agent.id.to_string(),
            agent.name.clone(),
            agent.kind.to_string(),
            text(agent.tenant),
            agent.status.to_string(),
            agent.health.to_string(),
            format!("{}/{}", agent.held_jobs, agent.max_jobs),
            seen,
            why.cloned().unwrap_or_default(),
        ]);
    }
    table
}

/// How many claims a command has used, of how many.
fn claims(command: &Command) -> String {
    let most = command.max_attempts.map(|most| format!("/{most}")).unwrap_or_default();
    format!("{}{most}", command.attempts)
}

fn jobs_table(jobs: &[Command], now: Stamp) -> Table {
    let mut table = Table::new(&[
        "ID", "KIND", "TENANT", "FOR", "PRIORITY", "STATE", "AGE", "HOLDER", "LEASE", "CLAIMS", "DONE", "WHY",
    ]);
    for job in jobs {
        let holder = match (job.agent, job.pinned_to) {
            (Some(agent), _) => agent.to_string(),
            (None, Some(agent)) => format!("only {agent}"),
            (None, None) => "-".to_owned(),
        };
        table.row([
            job.id.to_string(),
            job.kind.to_string(),
            job.tenant.to_string(),
            if job.platform { "platform" } else { "tenant" }.to_owned(),
            job.priority.to_string(),
            job.state.to_string(),
            age(now, job.created_at),
            holder,
            job.lease_until.map_or_else(|| "-".to_owned(), |at| until(now, at)),
            claims(job),
            job.progress.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%")),
            job.message.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn queue_table(jobs: &[Command], now: Stamp) -> Table {
    let mut table =
        Table::new(&["NEXT", "ID", "KIND", "TENANT", "PRIORITY", "PLACE", "WAITS", "CLAIMS", "ONLY", "WHY"]);
    for (n, job) in jobs.iter().enumerate() {
        let why = match (job.scheduled_at, job.queue_penalty) {
            (Some(at), _) if at > now => format!("not before {}", until(now, at)),
            (_, 0) => String::new(),
            (_, penalty) => format!("{penalty} less: its tenant has others at work"),
        };
        table.row([
            (n + 1).to_string(),
            job.id.to_string(),
            job.kind.to_string(),
            job.tenant.to_string(),
            job.priority.to_string(),
            job.queue_priority.to_string(),
            age(now, job.waiting_since),
            claims(job),
            text(job.pinned_to),
            why,
        ]);
    }
    table
}

fn tokens_table(tokens: &[Token], now: Stamp) -> Table {
    let mut table = Table::new(&["ID", "NAME", "TENANT", "KIND", "STATUS", "USES", "EXPIRES", "AGE", "WHY"]);
    for token in tokens {
        let most = token.max_uses.map(|most| format!("/{most}")).unwrap_or_default();
        let dead = token.dead_since().filter(|at| *at <= now);
        table.row([
            token.id.to_string(),
            token.name.clone(),
            text(token.tenant),
            token.kind.map_or_else(|| "any".to_owned(), |kind| kind.to_string()),
            token.status(now).to_string(),
            format!("{}{most}", token.uses),
            token.expires_at.map_or_else(|| "never".to_owned(), |at| until(now, at)),
            age(now, token.created_at),
            dead.map_or_else(String::new, |at| format!("good for nothing for {}", age(now, at))),
        ]);
    }
    table
}
