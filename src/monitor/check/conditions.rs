//! Looks whether conditions hold.

use std::time::Duration;

#[cfg(feature = "http-client")]
use super::target::{Asker, HttpTarget};
use crate::component::Context;
use crate::condition::{Condition, Facts, FileFacts, Outcome};
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, Result};
use crate::event::Health;
use crate::monitor::{Checker, Report, Verdict};
use crate::probe::connect::{connect, resolve};
use crate::probe::tcp::check_address;
use crate::probe::text::reason;
use crate::probe::wait::Wait;
#[cfg(feature = "http-client")]
use crate::rest::Request;

/// Looks whether conditions hold; each is an item.
///
/// See [`ConditionsChecker`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::monitor::{Report, check};
/// use loopkeeper::{Checker, Context, Env, Health, Name};
///
/// let mut backup = check::conditions()
///     .condition("exists(/etc)".parse()?)
///     .named("fresh", "age(/nowhere/last) < 26h".parse()?)
///     .or_degraded("size(/nowhere/last) > 1MiB", "size(/nowhere/last) > 1MiB".parse()?);
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("backup")?, Duration::from_secs(5));
/// let report = Report::new();
/// backup.check(&cx, &report).unwrap();
/// let items = report.items();
/// assert_eq!(items["exists(/etc)"].health, Health::Ready);
/// assert_eq!(items["fresh"].health, Health::Down);
/// assert_eq!(items["fresh"].reason.as_deref(), Some("/nowhere/last is missing"));
/// assert_eq!(items["size(/nowhere/last) > 1MiB"].health, Health::Degraded);
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn conditions() -> ConditionsChecker {
    ConditionsChecker { target: Target::None, rules: Vec::new() }
}

/// Looks whether conditions hold; made by [`conditions`](conditions()).
///
/// An HTTP server is asked, or a port connected to, once for all conditions
/// about it. A condition that does not hold is down, or degraded where that
/// was asked for, and its reason is what was found. One that cannot be told
/// (nobody answers, a value is not there or of another type) does not hold
/// either; where this machine could not ask, it is unknown. Conditions about
/// files are reported before anybody is asked.
///
/// Ends at its deadline and at once on cancel, but for the lookup of a name
/// and a file system that hangs.
#[derive(Debug)]
#[must_use = "a checker does nothing until it is called"]
pub struct ConditionsChecker {
    target: Target,
    rules: Vec<Rule>,
}

#[derive(Debug)]
enum Target {
    None,
    Tcp(String),
    #[cfg(feature = "http-client")]
    Http(Box<Server>),
}

#[cfg(feature = "http-client")]
#[derive(Debug)]
struct Server {
    target: HttpTarget,
    asker: Option<Asker>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    condition: Condition,
    /// What the item is when it does not hold.
    otherwise: Health,
}

impl ConditionsChecker {
    /// Asks an HTTP server. Defaults to asking nobody.
    #[cfg(feature = "http-client")]
    pub fn http(self, target: HttpTarget) -> Self {
        Self { target: Target::Http(Box::new(Server { target, asker: None })), ..self }
    }

    /// Connects to a `host:port`, for conditions about `latency`.
    pub fn tcp(self, address: impl Into<String>) -> Self {
        Self { target: Target::Tcp(address.into()), ..self }
    }

    /// Adds a condition; its item is called by its text.
    pub fn condition(self, condition: Condition) -> Self {
        self.named(condition.to_string(), condition)
    }

    /// Adds a condition whose item has a name.
    pub fn named(self, name: impl Into<String>, condition: Condition) -> Self {
        self.rule(name.into(), condition, Health::Down)
    }

    /// Adds a condition whose item is degraded, and not down, when it does not
    /// hold.
    pub fn or_degraded(self, name: impl Into<String>, condition: Condition) -> Self {
        self.rule(name.into(), condition, Health::Degraded)
    }

    pub(super) fn rule(mut self, name: String, condition: Condition, otherwise: Health) -> Self {
        self.rules.push(Rule { name, condition, otherwise });
        self
    }

    /// Says what is wrong with a condition for the target there is.
    fn mismatch(&self, condition: &Condition) -> Option<&'static str> {
        match &self.target {
            Target::None if condition.is_about_an_answer() => Some(NO_TARGET),
            Target::Tcp(_) if condition.is_about_http() => Some(NO_HTTP),
            _ => None,
        }
    }
}

pub(super) const NO_TARGET: &str = "is about an answer, and there is neither http nor tcp to get one from";
pub(super) const NO_HTTP: &str = "is about an HTTP answer, and tcp gives none but its latency";

impl Checker for ConditionsChecker {
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        self.validate()?;
        let mut files = Facts::new();
        let mut seen: Vec<&str> = Vec::new();
        for path in self.rules.iter().flat_map(|rule| rule.condition.files()) {
            if !seen.contains(&path) {
                seen.push(path);
                files = look(cx, files, path);
            }
        }
        let is_local = |rule: &&Rule| !rule.condition.is_about_an_answer();
        for rule in self.rules.iter().filter(is_local) {
            rule.tell(report, &files, rule.otherwise);
        }
        if self.rules.iter().all(|rule| is_local(&rule)) {
            return Ok(Verdict::Items);
        }
        cx.check()?;
        let answer = match &mut self.target {
            Target::None => Err(Error::invalid(NO_TARGET)),
            Target::Tcp(address) => connect_to(cx, address).map(|latency| files.clone().latency(latency)),
            #[cfg(feature = "http-client")]
            Target::Http(server) => {
                let asker = match &mut server.asker {
                    Some(asker) => asker,
                    none => none.insert(server.target.prepare()?),
                };
                ask(cx, asker, &self.rules, files.clone())
            }
        };
        let (facts, is_ours) = match answer {
            Ok(facts) => (facts, false),
            Err(error) if error.class() == ErrorClass::Cancelled => return Err(error.into()),
            // What this machine could not do says nothing about the service.
            Err(error) => (
                files.no_answer(error.report().to_string()),
                matches!(error.kind(), ErrorKind::Io | ErrorKind::Budget),
            ),
        };
        for rule in self.rules.iter().filter(|rule| !is_local(rule)) {
            rule.tell(report, &facts, if is_ours { Health::Unknown } else { rule.otherwise });
        }
        Ok(Verdict::Items)
    }

    fn validate(&self) -> Result<()> {
        if self.rules.is_empty() {
            return Err(Error::invalid("conditions: must have at least one"));
        }
        match &self.target {
            Target::None => {}
            Target::Tcp(address) => {
                check_address(address).map_err(|text| Error::invalid(format!("tcp: {text}")))?;
            }
            #[cfg(feature = "http-client")]
            Target::Http(server) => server.target.check()?,
        }
        for (idx, rule) in self.rules.iter().enumerate() {
            if let Some(flaw) = self.mismatch(&rule.condition) {
                return Err(Error::invalid(format!("conditions[{idx}]: {flaw}")));
            }
            let before = self.rules[..idx].iter().position(|other| other.name == rule.name);
            if let Some(before) = before {
                return Err(Error::invalid(format!(
                    "conditions[{idx}]: has the name of conditions[{before}]"
                )));
            }
        }
        Ok(())
    }
}

impl Rule {
    fn tell(&self, report: &Report, facts: &Facts, undecided: Health) {
        match self.condition.evaluate(facts) {
            Outcome::Holds => report.state(&self.name, Health::Ready, ""),
            Outcome::Fails(reason) => report.state(&self.name, self.otherwise, reason),
            Outcome::Undecided(reason) => report.state(&self.name, undecided, reason),
        }
    }
}

/// Looks at a file.
fn look(cx: &Context, facts: Facts, path: &str) -> Facts {
    let data = std::fs::metadata(path).and_then(|data| Ok((data.modified()?, data.len())));
    match data {
        Ok((changed, size)) => {
            // An error means that it was changed in the future.
            let age = cx.env().clock().wall().duration_since(changed).unwrap_or_default();
            facts.file(path, Some(FileFacts { age, size }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => facts.file(path, None),
        Err(error) => facts.no_file(path, reason(&error)),
    }
}

fn connect_to(cx: &Context, address: &str) -> Result<Duration> {
    let what = format!("tcp {address}");
    let wait = Wait::begin(cx, &what).map_err(|error| Error::from_user(&*error))?;
    let connected = resolve(&wait, address).and_then(|addresses| connect(&wait, &addresses));
    connected.map(|_| wait.took().0).map_err(|failure| failure.into_error(&what, &wait))
}

#[cfg(feature = "http-client")]
fn ask(cx: &Context, asker: &Asker, rules: &[Rule], facts: Facts) -> Result<Facts> {
    let answer = asker.send(cx, &Request::get(&asker.path))?;
    let mut facts = facts.latency(answer.latency()).status(answer.status()).body(answer.body());
    for name in rules.iter().flat_map(|rule| rule.condition.headers()) {
        if let Some(value) = answer.header_lines(name).next() {
            facts = facts.header(name, value);
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_needs_what_it_is_about() {
        let condition = |text: &str| text.parse::<Condition>().unwrap();
        for (checker, flaw) in [
            (conditions(), "conditions: must have at least one"),
            (
                conditions().condition(condition("exists(/x)")).condition(condition("latency < 1s")),
                "conditions[1]: is about an answer, and there is neither http nor tcp to get one from",
            ),
            (
                conditions().tcp("127.0.0.1:1").condition(condition("latency < 1s and status == 200")),
                "conditions[0]: is about an HTTP answer, and tcp gives none but its latency",
            ),
            (
                conditions().tcp("nowhere").condition(condition("latency < 1s")),
                "tcp: expected HOST:PORT such as \"127.0.0.1:1883\" or \"[::1]:1883\", found \"nowhere\"",
            ),
            (
                conditions().named("a", condition("exists(/x)")).named("a", condition("exists(/y)")),
                "conditions[1]: has the name of conditions[0]",
            ),
        ] {
            assert_eq!(checker.validate().unwrap_err().to_string(), flaw);
        }
    }
}
