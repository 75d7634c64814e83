//! Looks at a fleet in its store, without the daemon: what there is, and why
//! a pass would change it.

use loopkeeper::config::Layers;
use loopkeeper::fleet::{Agent, AgentId, Command, CommandId, Explanation, Listing, Store, Token, TokenId};
use loopkeeper::{ErrorKind, Result, Stamp, shipped};
use serde::Serialize;

use super::load::{self, complete};
use super::table::{Table, age, until};
use super::{Exit, complain, escaped, lines, print};

mod passes;

use passes::Passes;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) about: About,
    /// Whether the answer is for a program.
    pub(crate) json: bool,
    /// How many rows at most.
    pub(crate) limit: u32,
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

fn answer(store: &mut dyn Store, ask: &Ask, passes: impl FnOnce() -> Result<Passes>) -> Result<Exit> {
    let Ask { about, limit, after, .. } = *ask;
    let now = store.now()?;
    Ok(match about {
        About::Agents => tell(ask, store.agents(AgentId(after), limit)?, |agents| agents_table(agents, now)),
        About::Jobs => tell(ask, store.commands(CommandId(after), limit)?, |jobs| jobs_table(jobs, now)),
        About::Queue => tell(ask, store.queue(limit)?, |jobs| queue_table(jobs, now)),
        About::Tokens => tell(ask, store.tokens(TokenId(after), limit)?, |tokens| tokens_table(tokens, now)),
        About::Why(subject, id) => why(ask, &passes()?.explain(store, subject, id)?),
    })
}

/// Prints rows: a table, or a JSON object a line.
fn tell<T: Serialize>(ask: &Ask, listing: Listing<T>, table: impl FnOnce(&[T]) -> Table) -> Exit {
    let Listing { rows, unreadable } = listing;
    let mut out = String::new();
    if ask.json {
        rows.iter().for_each(|row| json_line(row, &mut out));
    } else {
        out = table(&rows).to_string();
    }
    let said = print(&out).map_or_else(|exit| exit, |_| Exit::Clean);
    for text in &unreadable {
        complain(format_args!("loopkeeper: left out: {}", escaped(text)));
    }
    if rows.len() + unreadable.len() == ask.limit as usize && !ask.json {
        complain(format_args!("the first {}; more with --limit N", ask.limit));
    }
    said.and(if unreadable.is_empty() { Exit::Clean } else { Exit::Failed })
}

fn why(ask: &Ask, explained: &[(String, Explanation)]) -> Exit {
    #[derive(Serialize)]
    struct Line<'a> {
        pass: &'a str,
        #[serde(flatten)]
        explanation: &'a Explanation,
    }
    let mut out = String::new();
    for (pass, explanation) in explained {
        if ask.json {
            json_line(&Line { pass, explanation }, &mut out);
            continue;
        }
        out.push_str(&escaped(&format!("{}, by {pass}:", explanation.subject)));
        out.push('\n');
        for reason in &explanation.reasons {
            let does = if reason.touched { "changes it" } else { "leaves it" };
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
        let why = agent.status_message.as_ref().or(agent.last_error.as_ref());
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
