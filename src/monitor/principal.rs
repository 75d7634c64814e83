//! As whom checkers ask: a name, and a token that is kept until it expires.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::component::Context;
use crate::document;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::primitive::Mutex;
use crate::probe::{ExecProbe, Probe, exec};
use crate::secret::Secret;
use crate::stamp::Stamp;
use crate::sys::file::open_without_waiting;

/// The longest answer that is read for a token, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The longest time before its end at which a token is replaced.
const MAX_LEAD: Duration = Duration::from_secs(60);
/// For how long a refused token is not replaced again: where the next is
/// refused as well, a third would be no better.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// For how long a token is kept whose end is not known.
const KEEP_FOR: Duration = Duration::from_secs(300);

/// The identity under which checkers ask other services: a name, and a token
/// from a file or from a command. Cloning shares it, with its token.
///
/// A file is read whenever the token is asked for, so that one which is
/// exchanged counts at once. A command is run when there is no token yet, or
/// when the one there is will soon expire; if it fails then, or takes more
/// than half of the time that its call has left, the old token serves until
/// its end, and the command is run again after a quarter of what is left of
/// that. The command writes a bare token to its standard
/// output, or an object with `token` (or `access_token`) and `expires_in` (in
/// seconds) or `expires_at` (RFC 3339, or seconds since 1970).
///
/// No token is in an error, a log or a `Debug` text, and neither is what the
/// command says or is told.
///
/// # Threads
///
/// Two checkers that ask at once, which happens when one of them hung, may
/// both run the command; nobody waits for another's.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::monitor::Principal;
/// use loopkeeper::{Context, Env, Name};
///
/// let principal = Principal::new("monitor").token_command([
///     "echo", r#"{"token": "c2VjcmV0", "expires_in": 3600}"#,
/// ]);
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("servers")?, Duration::from_secs(5));
/// assert_eq!(principal.token(&cx)?.unwrap().expose(), "c2VjcmV0");
/// assert!(!format!("{principal:?}").contains("c2VjcmV0"));
///
/// let broken = Principal::new("monitor").token_file("/nowhere/token");
/// let error = broken.token(&cx).unwrap_err();
/// assert_eq!(error.to_string(), "token of monitor: /nowhere/token: no such file or folder");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a principal is there to be handed to checkers"]
pub struct Principal {
    name: Arc<str>,
    source: Source,
    keep_for: Duration,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// When a service last refused one.
    refused_at: Option<Stamp>,
}

#[derive(Clone)]
enum Source {
    None,
    File(PathBuf),
    Command(ExecProbe),
}

#[derive(Clone)]
struct Token {
    secret: Secret,
    /// When it is replaced by another, if one is to be had.
    refresh_at: Stamp,
    expires_at: Stamp,
}

impl Token {
    fn lifetime(&self, now: Stamp) -> Duration {
        Duration::from_micros(self.expires_at.as_micros().saturating_sub(now.as_micros()))
    }
}

impl Principal {
    /// An identity with a name and no token.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), source: Source::None, keep_for: KEEP_FOR, kept: Arc::default() }
    }

    /// Takes the token from a file, whose content it is, with space around it.
    pub fn token_file(self, path: impl Into<PathBuf>) -> Self {
        Self { source: Source::File(path.into()), kept: Arc::default(), ..self }
    }

    /// Takes the token from what a program answers: its name or path, and its
    /// arguments. No shell is between.
    pub fn token_command<I>(self, argv: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Self { source: Source::Command(exec(argv)), kept: Arc::default(), ..self }
    }

    /// For how long a token is kept with which the command does not say when
    /// it expires. Defaults to 5 min.
    pub fn keep_for(self, duration: Duration) -> Self {
        Self { keep_for: duration, ..self }
    }

    /// Who it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is something to take a token from.
    #[must_use]
    pub fn has_token(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    /// The token, for one request; `None` where there is nothing to take one
    /// from. A command ends with the call that asks for it.
    ///
    /// # Errors
    ///
    /// `Io`, `Timeout` or `Cancelled` when the file or the command cannot be
    /// read, `Probe` when what it holds is no token or has expired.
    pub fn token(&self, cx: &Context) -> Result<Option<Secret>> {
        let found = match &self.source {
            Source::None => return Ok(None),
            Source::File(path) => read_file(path),
            Source::Command(command) => self.ask(command, cx),
        };
        found.map(Some).map_err(|error| {
            let text = format!("token of {}: {}", self.name, error.report());
            Error::new(error.kind()).with_class(error.class()).context(text)
        })
    }

    /// Says that a service refused the token: the next who asks gets another.
    pub fn forget(&self) {
        let before = self.kept.lock().token.take();
        drop(before);
    }

    /// The same, for who may be refused again and again: within half a minute
    /// one token is forgotten.
    #[cfg_attr(not(feature = "http-client"), allow(dead_code, reason = "who asks a server does"))]
    pub(super) fn refused(&self, now: Stamp) {
        let since = |last: Stamp| now.as_micros().abs_diff(last.as_micros());
        let mut kept = self.kept.lock();
        if kept.refused_at.is_none_or(|last| u128::from(since(last)) >= REFUSED_FOR.as_micros()) {
            kept.refused_at = Some(now);
            let before = kept.token.take();
            drop(kept);
            drop(before);
        }
    }

    /// Says whether the settings can be used.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the setting.
    pub fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid("principal: must not be empty"));
        }
        if self.keep_for.is_zero() {
            return Err(Error::invalid("principal.keep_for: must be more than zero"));
        }
        match &self.source {
            Source::File(path) if path.as_os_str().is_empty() => {
                Err(Error::invalid("principal.token_file: must not be empty"))
            }
            Source::Command(command) => {
                command.check().map_err(|error| Error::invalid(format!("principal.token_{error}")))
            }
            Source::None | Source::File(_) => Ok(()),
        }
    }

    fn ask(&self, command: &ExecProbe, cx: &Context) -> Result<Secret> {
        let now = cx.env().stamp();
        let kept = self.kept.lock().token.clone();
        if let Some(token) = kept.as_ref().filter(|token| now < token.refresh_at) {
            return Ok(token.secret.clone());
        }
        // A token that is still good must not be held up by who makes the next.
        let is_early = kept.as_ref().is_some_and(|token| now < token.expires_at);
        let limit = if is_early { cx.remaining() / 2 } else { cx.remaining() };
        let fresh = command
            .output(cx, MAX_ANSWER, limit)
            .map_err(|error: BoxError| Error::from_user(&*error))
            .and_then(|answer| read_answer(&answer, now, self.keep_for));
        match (fresh, kept) {
            (Ok(token), _) => {
                let secret = token.secret.clone();
                let before = self.kept.lock().token.replace(token);
                drop(before);
                Ok(secret)
            }
            // Asked for early, so that one failure is none.
            (Err(_), Some(token)) if cx.env().stamp() < token.expires_at => {
                self.put_off(&token, cx.env().stamp());
                Ok(token.secret)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Has nobody ask for another token than this one for a while: there may
    /// be many requests in it, and each would run the command.
    fn put_off(&self, token: &Token, now: Stamp) {
        let again_at = later(now, token.lifetime(now) / 4);
        let mut kept = self.kept.lock();
        if let Some(kept) = kept.token.as_mut().filter(|kept| kept.expires_at == token.expires_at) {
            kept.refresh_at = kept.refresh_at.max(again_at);
        }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Principal");
        shown.field("name", &self.name);
        match &self.source {
            Source::None => {}
            Source::File(path) => _ = shown.field("token_file", path),
            Source::Command(command) => _ = shown.field("token_command", command),
        }
        shown.finish_non_exhaustive()
    }
}

fn read_file(path: &Path) -> Result<Secret> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let text = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or folder".to_owned(),
            _ => error.to_string(),
        };
        Error::new(ErrorKind::Io).context(format!("{shown}: {text}"))
    };
    let wrong = |text: &str| Error::new(ErrorKind::Probe).context(format!("{shown}: {text}"));
    let file = open_without_waiting(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(wrong("is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_ANSWER as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_ANSWER {
        return Err(wrong("is larger than 64 KiB"));
    }
    bare(&bytes).map_err(|text| wrong(&text))
}

/// A token that stands alone. The error does not show what was found.
fn bare(bytes: &[u8]) -> std::result::Result<Secret, String> {
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() {
        return Err("is empty, expected a token".to_owned());
    }
    check_token(trimmed)?;
    Ok(Secret::new(String::from_utf8_lossy(trimmed)))
}

fn check_token(token: &[u8]) -> std::result::Result<(), String> {
    match token.iter().position(|byte| !byte.is_ascii_graphic()) {
        None if token.is_empty() => Err("is an empty token".to_owned()),
        None => Ok(()),
        Some(at) => Err(format!("byte {} of the token is a space or one that no header may have", at + 1)),
    }
}

fn later(now: Stamp, by: Duration) -> Stamp {
    let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Stamp::from_micros(now.as_micros().saturating_add(micros))
}

/// What a command answered, asked at `now`.
fn read_answer(answer: &[u8], now: Stamp, keep_for: Duration) -> Result<Token> {
    let wrong = |text: String| Error::new(ErrorKind::Probe).context(format!("the command's answer {text}"));
    let later = |lifetime: Duration| later(now, lifetime);
    if answer.trim_ascii().first() != Some(&b'{') {
        let secret = bare(answer).map_err(wrong)?;
        let expires_at = later(keep_for);
        return Ok(Token { secret, refresh_at: expires_at, expires_at });
    }
    let answer = std::str::from_utf8(answer).map_err(|_| wrong("is not UTF-8".to_owned()))?;
    let answer = document::read(answer).map_err(|error| {
        wrong(format!("is not JSON (at line {} column {})", error.line(), error.column()))
    })?;
    let text = match answer.get("token").or_else(|| answer.get("access_token")) {
        Some(Value::String(text)) => text,
        Some(_) => return Err(wrong("has a \"token\" that is not a string".to_owned())),
        None => return Err(wrong("has neither \"token\" nor \"access_token\"".to_owned())),
    };
    check_token(text.as_bytes()).map_err(wrong)?;
    let secret = Secret::new(text);
    let field = |key: &str| answer.get(key).filter(|value| !value.is_null());
    let seconds = |key: &str, value: &Value| {
        let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| wrong(format!("has an \"{key}\" that is not a number of seconds")))
    };
    let expires_at = match (field("expires_in"), field("expires_at")) {
        (Some(value), _) => later(seconds("expires_in", value)?),
        (None, Some(Value::String(text))) if text.parse::<f64>().is_err() => text.parse().map_err(|_| {
            wrong("has an \"expires_at\" that is not a moment such as 2026-11-24T21:42:02Z".to_owned())
        })?,
        (None, Some(value)) => {
            let micros = seconds("expires_at", value)?.as_micros();
            Stamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
        }
        (None, None) => later(keep_for),
    };
    if expires_at <= now {
        return Err(wrong(format!("is a token that expired at {expires_at}")));
    }
    let mut token = Token { secret, refresh_at: expires_at, expires_at };
    let lifetime = token.lifetime(now);
    token.refresh_at = later(lifetime - (lifetime / 10).min(MAX_LEAD));
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::env::Env;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_answer_is_a_bare_token_or_an_object_that_says_how_long_it_is_good() {
        let at = |seconds: u64| Stamp::from_micros(seconds * 1_000_000);
        for (answer, expected) in [
            (" abc\n", Ok(("abc", 400, 400))),
            (r#"{"token": "abc"}"#, Ok(("abc", 370, 400))),
            (r#"{"access_token": "abc", "expires_in": 10, "token_type": "Bearer"}"#, Ok(("abc", 109, 110))),
            (r#"{"token": "abc", "expires_in": "3600"}"#, Ok(("abc", 3640, 3700))),
            (r#"{"token": "abc", "expires_at": 1100}"#, Ok(("abc", 1040, 1100))),
            (r#"{"token": "abc", "expires_at": "1970-01-01T01:00:00+00:30"}"#, Ok(("abc", 1740, 1800))),
            (r#"{"token": "abc", "expires_in": null, "expires_at": null}"#, Ok(("abc", 370, 400))),
            ("", Err("is empty, expected a token")),
            ("hun ter2", Err("byte 4 of the token is a space or one that no header may have")),
            ("hunter2\u{e9}", Err("byte 8 of the token is a space or one that no header may have")),
            (r#"{"token": "hunter2", "#, Err("is not JSON (at line 1 column 21)")),
            (r#"{"password": "hunter2"}"#, Err("has neither \"token\" nor \"access_token\"")),
            (r#"{"token": ["hunter2"]}"#, Err("has a \"token\" that is not a string")),
            (r#"{"token": ""}"#, Err("is an empty token")),
            (
                r#"{"token": "hunter2", "expires_in": -1}"#,
                Err("has an \"expires_in\" that is not a number of seconds"),
            ),
            (
                r#"{"token": "hunter2", "expires_in": 0}"#,
                Err("is a token that expired at 1970-01-01T00:01:40.000Z"),
            ),
            (
                r#"{"token": "hunter2", "expires_at": "soon"}"#,
                Err("has an \"expires_at\" that is not a moment such as 2026-11-24T21:42:02Z"),
            ),
            (
                r#"{"token": "hunter2", "expires_at": 99}"#,
                Err("is a token that expired at 1970-01-01T00:01:39.000Z"),
            ),
        ] {
            let found = read_answer(answer.as_bytes(), at(100), secs(300));
            match (found, expected) {
                (Ok(token), Ok((text, refresh, expires))) => {
                    assert_eq!(token.secret.expose(), text);
                    assert_eq!((token.refresh_at, token.expires_at), (at(refresh), at(expires)), "{answer}");
                }
                (Err(error), Err(text)) => {
                    assert_eq!(error.to_string(), format!("the command's answer {text}"), "{answer}");
                }
                (found, _) => panic!("{answer}: {:?}", found.map(|_| ())),
            }
        }
    }

    /// A folder with a program that counts its calls and answers what a file
    /// says; with 1 where there is none.
    struct Issuer(PathBuf);

    impl Issuer {
        fn new(what: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("loopkeeper-{what}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn answers(&self, text: &str) {
            std::fs::write(self.path("answer"), text).unwrap();
        }

        fn calls(&self) -> usize {
            std::fs::read_to_string(self.path("calls")).unwrap_or_default().len()
        }

        fn principal(&self) -> Principal {
            let script = "printf x >> \"$0/calls\"; echo hunter2-err >&2; cat \"$0/answer\"";
            let folder = self.0.as_os_str().to_owned();
            Principal::new("monitor").token_command(["sh".into(), "-c".into(), script.into(), folder])
        }
    }

    impl Drop for Issuer {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn context(env: &Env) -> Context {
        Context::detached(env, "c".parse().unwrap(), secs(20))
    }

    #[test]
    fn wum_10_a_token_is_issued_once_until_it_is_about_to_expire() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let issuer = Issuer::new("issuer");
        let principal = issuer.principal();
        principal.check().unwrap();
        let token = |principal: &Principal| {
            principal.token(&context(&env)).map(|token| token.unwrap().expose().to_owned())
        };
        issuer.answers(r#"{"token": "first", "expires_in": 100}"#);
        for _ in 0..3 {
            assert_eq!(token(&principal).unwrap(), "first");
        }
        clock.jump(secs(89));
        // A clone shares the token.
        assert_eq!((token(&principal.clone()).unwrap(), issuer.calls()), ("first".into(), 1));
        // From here on another is asked for, and until its end the old one serves.
        clock.jump(secs(1));
        std::fs::remove_file(issuer.path("answer")).unwrap();
        assert_eq!((token(&principal).unwrap(), issuer.calls()), ("first".into(), 2));
        clock.jump(secs(10));
        let error = token(&principal).unwrap_err();
        assert!(error.to_string().starts_with("token of monitor: exec sh: exit code 1 after "), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        issuer.answers("second");
        assert_eq!((token(&principal).unwrap(), issuer.calls()), ("second".into(), 4));
        // Refused by a service: another one.
        issuer.answers("third");
        principal.forget();
        assert_eq!((token(&principal).unwrap(), issuer.calls()), ("third".into(), 5));
        let shown = format!("{principal:?}");
        assert!(!shown.contains("third") && !shown.contains("calls"), "{shown}");
    }

    #[test]
    fn wum_10_a_command_that_fails_or_hangs_early_is_not_run_for_each_request() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let issuer = Issuer::new("early");
        let principal = issuer.principal();
        let token = |cx: &Context| principal.token(cx).map(|token| token.unwrap().expose().to_owned());
        issuer.answers(r#"{"token": "first", "expires_in": 100}"#);
        assert_eq!(token(&context(&env)).unwrap(), "first");
        clock.jump(secs(92));
        std::fs::remove_file(issuer.path("answer")).unwrap();
        for _ in 0..5 {
            assert_eq!((token(&context(&env)).unwrap(), issuer.calls()), ("first".into(), 2));
        }
        // After a quarter of what is left it is asked for again.
        clock.jump(secs(2));
        assert_eq!((token(&context(&env)).unwrap(), issuer.calls()), ("first".into(), 3));
        // Now it hangs: the request has its time all the same.
        let made = std::process::Command::new("mkfifo").arg(issuer.path("answer")).status().unwrap();
        assert!(made.success());
        clock.jump(secs(2));
        let real = Clock::system();
        let cx = Context::detached(&env, "c".parse().unwrap(), secs(4));
        let begun = real.now();
        assert_eq!((token(&cx).unwrap(), issuer.calls()), ("first".into(), 4));
        let took = real.now().since(begun);
        assert!(took >= secs(2) && took < secs(4), "{took:?}");
        assert_eq!((token(&cx).unwrap(), issuer.calls()), ("first".into(), 4));
        // Without a good token there is nothing else to do than to wait.
        clock.jump(secs(4));
        let cx = Context::detached(&env, "c".parse().unwrap(), Duration::from_millis(200));
        assert_eq!(token(&cx).unwrap_err().kind(), ErrorKind::Timeout);
    }

    #[test]
    fn a_command_that_says_too_much_is_refused_and_what_it_said_is_told_nowhere() {
        let env = Env::new().unwrap();
        for (script, kind, expected) in [
            (
                "head -c 100000000 /dev/zero | tr '\\0' x",
                ErrorKind::Probe,
                "answered with more than 65536 bytes",
            ),
            ("yes hunter2", ErrorKind::Timeout, "still ran after "),
            ("printf hunter2; kill -9 $$", ErrorKind::Probe, "killed by signal 9 (SIGKILL)"),
        ] {
            let principal = Principal::new("monitor").token_command(["sh", "-c", script]);
            let limit = if kind == ErrorKind::Timeout { Duration::from_millis(300) } else { secs(20) };
            let cx = Context::detached(&env, "c".parse().unwrap(), limit);
            let error = principal.token(&cx).unwrap_err();
            let text = error.report().to_string();
            assert!(error.kind() == kind && text.contains(expected), "{script}: {text}");
            assert!(!text.contains("hunter2") && !text.contains("xxx"), "{text}");
        }
    }

    #[test]
    fn wum_10_a_file_that_is_exchanged_counts_at_once() {
        let env = Env::new().unwrap();
        let folder = Issuer::new("token-file");
        let path = folder.path("token");
        let principal = Principal::new("monitor").token_file(&path);
        let token = || principal.token(&context(&env)).map(|token| token.unwrap().expose().to_owned());
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(token().unwrap(), "one");
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(token().unwrap(), "two");
        for (content, expected) in [
            ("".to_owned(), "is empty, expected a token"),
            ("a\nb".to_owned(), "byte 2 of the token is a space or one that no header may have"),
            ("a".repeat(MAX_ANSWER + 1), "is larger than 64 KiB"),
        ] {
            std::fs::write(&path, content).unwrap();
            let expected = format!("token of monitor: {}: {expected}", path.display());
            assert_eq!(token().unwrap_err().to_string(), expected);
        }
        let folder = Principal::new("monitor").token_file(&folder.0);
        assert!(folder.token(&context(&env)).unwrap_err().to_string().ends_with("is not a regular file"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let named = || Principal::new("m");
        for (principal, expected) in [
            (Principal::new(""), "principal: must not be empty"),
            (named().keep_for(Duration::ZERO), "principal.keep_for: must be more than zero"),
            (named().token_file(""), "principal.token_file: must not be empty"),
            (named().token_command([""; 0]), "principal.token_command: must name a program"),
            (named().token_command(["a", "b\0"]), "principal.token_command[1]: must not have a NUL byte"),
        ] {
            assert_eq!(principal.check().unwrap_err().to_string(), expected);
        }
        assert!(named().check().is_ok() && !named().has_token());
    }
}
