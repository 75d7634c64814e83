//! Has the running daemon do something now.

use loopkeeper::Name;
use loopkeeper::config::Layers;
use loopkeeper::rest::Request;

use super::ask::{Ask, Daemon, fail, refused};
use super::logging::json_on_one_line;
use super::{Exit, say};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// The next run of a loop.
    Trigger(Name),
    /// A look at the folder of descriptors.
    Rescan,
}

/// The commands `trigger` and `rescan`.
pub(crate) fn run(layers: Layers, ask: &Ask<About>) -> Exit {
    let path = match &ask.about {
        About::Trigger(name) => format!("/trigger/{name}"),
        About::Rescan => "/deploy/rescan".to_owned(),
    };
    // Once: a second run is more than was asked for.
    let request = Request::act(path).once();
    let answer = match Daemon::find(layers, &ask.place, true).and_then(|daemon| daemon.send("act", &request))
    {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if answer.status() >= 300 {
        return match &ask.about {
            About::Trigger(name) => {
                let why = format!("it does not run: loopkeeper why {name} says why");
                refused(&answer, "loopkeeper status lists the loops that there are", &why)
            }
            About::Rescan => refused(
                &answer,
                "is that a loopkeeper run, with a folder of descriptors?",
                "the daemon is starting or stopping: try again in a moment",
            ),
        };
    }
    match (answer.json(), &ask.about) {
        (Ok(body), _) if ask.json => say(json_on_one_line(&body)),
        (Ok(_), About::Trigger(name)) => {
            say(format_args!("{name}: runs now; see: loopkeeper events {name} --last 5"))
        }
        (Ok(_), About::Rescan) => {
            say("the folder is looked at now; see: loopkeeper events deployer --last 5")
        }
        (Err(error), _) => fail(Exit::Unreachable, &error.to_string()),
    }
}
