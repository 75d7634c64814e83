//! What may be done, not only looked at, and by whom.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::response::{Response, Status};
use crate::config::Secret;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::Mutex;

/// What a status server lets be done by who has the token; see
/// [`StatusServerConfig::control`](super::StatusServerConfig::control).
///
/// # Threads
///
/// Called on the server's workers, two at once at most. Nothing should be
/// waited for: ask, and let the events tell what came of it.
pub trait Control: Send + Sync {
    /// `POST /trigger/NAME`: has a loop make its next run now.
    ///
    /// # Errors
    ///
    /// Answered as 404 when the kind is `NotFound`, as 409 when it is
    /// `InvalidState`, else as 500.
    fn trigger(&self, name: &str) -> Result<()>;

    /// `POST /heartbeat/NAME`: says that somebody is alive, or with
    /// `?down=REASON` that he is down. Unless implemented, nobody waits for it.
    ///
    /// # Errors
    ///
    /// As [`trigger`](Self::trigger).
    fn heartbeat(&self, name: &str, down: Option<&str>) -> Result<()> {
        let _ = (name, down);
        Err(Error::new(ErrorKind::NotFound).context("nobody waits for heartbeats here"))
    }

    /// `POST /recovery/NAME/cancel`: ends the recovery of a run, which has
    /// this name now or had it first. Unless implemented, none is recovered.
    ///
    /// # Errors
    ///
    /// As [`trigger`](Self::trigger).
    fn cancel_recovery(&self, run: &str) -> Result<()> {
        let _ = run;
        Err(Error::new(ErrorKind::NotFound).context(NO_RECOVERY))
    }

    /// `POST /recovery/NAME/retry`: has a run tried again now. Unless
    /// implemented, none is recovered.
    ///
    /// # Errors
    ///
    /// As [`trigger`](Self::trigger).
    fn retry_recovery(&self, run: &str) -> Result<()> {
        let _ = run;
        Err(Error::new(ErrorKind::NotFound).context(NO_RECOVERY))
    }

    /// `POST /deploy/rescan`: has the folder of descriptors looked at now.
    /// Unless implemented, there is none.
    ///
    /// # Errors
    ///
    /// As [`trigger`](Self::trigger).
    fn rescan(&self) -> Result<()> {
        Err(Error::new(ErrorKind::NotFound).context("there is no folder of descriptors"))
    }
}

const NO_RECOVERY: &str = "no runs are recovered here";

/// Acts on any loop of the environment.
impl Control for Env {
    fn trigger(&self, name: &str) -> Result<()> {
        Self::trigger(self, name)
    }

    fn heartbeat(&self, name: &str, down: Option<&str>) -> Result<()> {
        match down {
            None => Self::heartbeat(self, name),
            Some(reason) => self.heartbeat_down(name, reason),
        }
    }

    fn cancel_recovery(&self, run: &str) -> Result<()> {
        Self::cancel_recovery(self, run)
    }

    fn retry_recovery(&self, run: &str) -> Result<()> {
        Self::retry_recovery(self, run)
    }
}

/// Something that may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Trigger { name: String },
    Heartbeat { name: String, down: Option<String> },
    Rescan,
    CancelRecovery { run: String },
    RetryRecovery { run: String },
}

impl Action {
    /// The action at a path, if there is one.
    pub(super) fn at(path: &str) -> Option<Self> {
        if path == "/deploy/rescan" {
            return Some(Self::Rescan);
        }
        if let Some(rest) = path.strip_prefix("/recovery/") {
            let (run, act) = rest.split_once('/').filter(|(run, _)| !run.is_empty())?;
            let run = unescape(run)?;
            return match act {
                "cancel" => Some(Self::CancelRecovery { run }),
                "retry" => Some(Self::RetryRecovery { run }),
                _ => None,
            };
        }
        let named = |prefix: &str| {
            let name = path.strip_prefix(prefix)?;
            (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
        };
        match named("/heartbeat/") {
            Some(name) => Some(Self::Heartbeat { name, down: None }),
            None => named("/trigger/").map(|name| Self::Trigger { name }),
        }
    }

    /// Takes from the query what is the action's own.
    pub(super) fn with<'q>(
        self,
        mut take: impl FnMut(&str) -> Option<Option<&'q str>>,
    ) -> Result<Self, Response> {
        let Self::Heartbeat { name, .. } = self else { return Ok(self) };
        let down = take("down").map(|reason| {
            let reason = unescape(&reason.unwrap_or_default().replace('+', " "));
            reason.ok_or_else(|| Response::text(Status::BadRequest, "down: expected an escaped text"))
        });
        Ok(Self::Heartbeat { name, down: down.transpose()? })
    }

    /// Does it, and answers what came of it.
    pub(super) fn act(&self, control: &dyn Control) -> Response {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            accepted: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
        }
        let (body, result) = match self {
            Self::Trigger { name } => (Body { accepted: "trigger", name: Some(name) }, control.trigger(name)),
            Self::Heartbeat { name, down } => {
                (Body { accepted: "heartbeat", name: Some(name) }, control.heartbeat(name, down.as_deref()))
            }
            Self::Rescan => (Body { accepted: "rescan", name: None }, control.rescan()),
            Self::CancelRecovery { run } => {
                (Body { accepted: "cancel", name: Some(run) }, control.cancel_recovery(run))
            }
            Self::RetryRecovery { run } => {
                (Body { accepted: "retry", name: Some(run) }, control.retry_recovery(run))
            }
        };
        let Err(error) = result else { return Response::json(&body).with_status(Status::Accepted) };
        let status = match error.kind() {
            ErrorKind::NotFound => Status::NotFound,
            ErrorKind::InvalidState => Status::Conflict,
            _ => Status::InternalError,
        };
        Response::text(status, &error.report().to_string())
    }
}

/// The text that a piece of a path stands for: names of runs may have slashes.
fn unescape(piece: &str) -> Option<String> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut text = Vec::with_capacity(piece.len());
    let mut bytes = piece.bytes();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(text).ok()
}

/// Who may act: nobody without a token.
#[derive(Default)]
pub(super) struct Gate {
    pub(super) control: Option<Arc<dyn Control>>,
    token: Mutex<Option<Secret>>,
}

impl Gate {
    pub(super) fn new(control: Option<Arc<dyn Control>>, token: Option<Secret>) -> Self {
        Self { control, token: Mutex::new(token) }
    }

    pub(super) fn set_token(&self, token: Option<Secret>) {
        *self.token.lock() = token;
    }

    /// Whether there is anybody whom it lets in.
    pub(super) fn is_open(&self) -> bool {
        self.control.is_some() && self.token.lock().is_some()
    }

    /// Lets in who has the token; answers everybody else.
    pub(super) fn admit(&self, given: Option<&Secret>) -> Result<(), Response> {
        let token = self.token.lock().clone();
        let Some(token) = token.filter(|_| self.control.is_some()) else {
            let text = "nothing can be done here, only looked at: no token is configured";
            return Err(Response::text(Status::NotFound, text));
        };
        Self::compare(&token, given)
    }

    /// Tells reasons to who has the token; answers everybody else.
    pub(super) fn admit_reasons(&self, given: Option<&Secret>) -> Result<(), Response> {
        let Some(token) = self.token.lock().clone() else {
            let text = "reasons are told to who has the token, and none is configured";
            return Err(Response::text(Status::Forbidden, text));
        };
        Self::compare(&token, given)
    }

    fn compare(token: &Secret, given: Option<&Secret>) -> Result<(), Response> {
        let is_right = |given: &Secret| {
            let (given, token) = (given.expose().as_bytes(), token.expose().as_bytes());
            // Takes the same time wherever they differ; their lengths may show.
            bool::from(given.ct_eq(token))
        };
        let (text, challenge) = match given {
            Some(given) if is_right(given) => return Ok(()),
            Some(_) => {
                ("the token is not the right one", "Bearer realm=\"loopkeeper\", error=\"invalid_token\"")
            }
            None => ("this takes a token: Authorization: Bearer TOKEN", "Bearer realm=\"loopkeeper\""),
        };
        Err(Response::text(Status::Unauthorized, text).header("WWW-Authenticate", challenge))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("token", &self.token.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Double;

    impl Control for Double {
        fn trigger(&self, name: &str) -> Result<()> {
            match name {
                "there" => Ok(()),
                "gone" => Err(Error::new(ErrorKind::NotFound).context("no loop is called \"gone\"")),
                "off" => Err(Error::new(ErrorKind::InvalidState)),
                _ => Err(Error::new(ErrorKind::Io)),
            }
        }
    }

    fn status(response: &Response) -> u16 {
        response.status().code()
    }

    #[test]
    fn actions_have_paths() {
        let trigger = |name: &str| Some(Action::Trigger { name: name.to_owned() });
        for (path, action) in [
            ("/deploy/rescan", Some(Action::Rescan)),
            ("/trigger/db", trigger("db")),
            ("/trigger/a.b-c_d", trigger("a.b-c_d")),
            ("/heartbeat/ingest", Some(Action::Heartbeat { name: "ingest".to_owned(), down: None })),
            ("/heartbeat/", None),
            ("/heartbeat/a/b", None),
            ("/recovery/r1/cancel", Some(Action::CancelRecovery { run: "r1".to_owned() })),
            ("/recovery/a%2Fb%20%c3%a9/retry", Some(Action::RetryRecovery { run: "a/b \u{e9}".to_owned() })),
            ("/recovery/a/b/retry", None),
            ("/recovery//retry", None),
            ("/recovery/r1", None),
            ("/recovery/r1/forget", None),
            ("/recovery/%f/retry", None),
            ("/recovery/%ff/retry", None),
            ("/recovery", None),
            ("/trigger/", None),
            ("/trigger", None),
            ("/trigger/a/b", None),
            ("/deploy/rescan/", None),
            ("/status", None),
        ] {
            assert_eq!(Action::at(path), action, "{path}");
        }
    }

    #[test]
    fn a_heartbeat_may_say_why_it_is_down() {
        let beat = || Action::at("/heartbeat/a").unwrap();
        for (query, down) in [
            (None, Some(None)),
            (Some(None), Some(Some(""))),
            (Some(Some("disk+is%20full%21")), Some(Some("disk is full!"))),
            (Some(Some("%f")), None),
            (Some(Some("%ff")), None),
        ] {
            let found = beat().with(|key| if key == "down" { query } else { None });
            let expected =
                down.map(|down| Action::Heartbeat { name: "a".into(), down: down.map(str::to_owned) });
            assert_eq!(found.ok(), expected, "{query:?}");
        }
    }

    #[test]
    fn what_came_of_it_is_told() {
        for (name, code) in [("there", 202), ("gone", 404), ("off", 409), ("broken", 500)] {
            assert_eq!(status(&Action::Trigger { name: name.into() }.act(&Double)), code, "{name}");
        }
        let body = Action::Trigger { name: "there".into() }.act(&Double);
        assert_eq!(body.body(), br#"{"accepted":"trigger","name":"there"}"#);
        let response = Action::Rescan.act(&Double);
        assert_eq!((status(&response), response.body()), (404, &b"there is no folder of descriptors\n"[..]));
    }

    #[test]
    fn only_the_right_token_opens() {
        let secret = |text: &str| Secret::new(text);
        let gate = Gate::new(Some(Arc::new(Double)), Some(secret("right")));
        assert!(gate.admit(Some(&secret("right"))).is_ok());
        for wrong in ["", "r", "righ", "rights", "wrong", "RIGHT"] {
            let response = gate.admit(Some(&secret(wrong))).unwrap_err();
            assert_eq!(status(&response), 401, "{wrong}");
        }
        assert_eq!(status(&gate.admit(None).unwrap_err()), 401);
        gate.set_token(Some(secret("next")));
        assert!(gate.admit(Some(&secret("right"))).is_err() && gate.admit(Some(&secret("next"))).is_ok());
        gate.set_token(None);
        for gate in [gate, Gate::new(None, Some(secret("x"))), Gate::default()] {
            assert_eq!(status(&gate.admit(Some(&secret("x"))).unwrap_err()), 404);
            assert_eq!(status(&gate.admit(None).unwrap_err()), 404);
        }
    }

    #[test]
    fn reasons_are_for_the_token_whatever_may_be_done() {
        let secret = |text: &str| Secret::new(text);
        let gate = Gate::new(None, Some(secret("right")));
        assert!(gate.admit_reasons(Some(&secret("right"))).is_ok());
        assert_eq!(status(&gate.admit_reasons(Some(&secret("wrong"))).unwrap_err()), 401);
        assert_eq!(status(&gate.admit_reasons(None).unwrap_err()), 401);
        assert_eq!(status(&Gate::default().admit_reasons(Some(&secret("x"))).unwrap_err()), 403);
    }
}
