//! What the program says of itself.

/// What help was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// The program.
    Program,
    /// The command `run`.
    Run,
    /// The command `check`.
    Check,
    /// The command `types`.
    Types,
}

impl Topic {
    /// The text, without the last line's end.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Program => PROGRAM,
            Self::Run => RUN,
            Self::Check => CHECK,
            Self::Types => TYPES,
        }
    }

    /// The words that ask for it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Program => "help",
            Self::Run => "help run",
            Self::Check => "help check",
            Self::Types => "help types",
        }
    }
}

const PROGRAM: &str = "\
loopkeeper watches the services a machine depends on and tells how they are.

    loopkeeper run    [OPTIONS]      watch what the folder of descriptors names
    loopkeeper check  [OPTIONS]      tell everything that is wrong with the files
    loopkeeper types  [TYPE]         tell what a descriptor may hold, and what it means
    loopkeeper help   [COMMAND]      explain run, check or types, and their options
    loopkeeper --version

Begin with one file, deploy/mqtt.json:

    {\"name\": \"mqtt\", \"type\": \"watcher\",
     \"config\": {\"probe\": {\"tcp\": {\"address\": \"127.0.0.1:1883\"}},
                \"backoff\": {\"poll_interval\": \"30s\"}}}

Then:

    $ loopkeeper check
    ok: 1 component
    $ loopkeeper run &
    $ curl http://127.0.0.1:8470/status";

const RUN: &str = "\
loopkeeper run [--config FILE] [--deploy DIR] [--listen ADDR|none] [--set KEY=VALUE]..
               [--log-level LEVEL] [--log-format text|json]

Watches what the descriptors in a folder name, until SIGTERM or SIGINT, and
answers over HTTP how everything is. Edits of the folder take effect within a
scan interval, or at once with SIGHUP; one that is wrong leaves alone what runs.

    --config FILE        the configuration; without it every setting has its default
    --deploy DIR         the folder of descriptors (deploy, beside the configuration)
    --listen ADDR|none   where to answer (127.0.0.1:8470); port 0 takes a free one
    --set KEY=VALUE      one setting; VALUE is JSON, or else a text
    --log-level LEVEL    debug, info, warn or error (info)
    --log-format FORMAT  text or json (text)

Settings also come from the environment: LOOPKEEPER_HTTP__LISTEN is http.listen.
The command line wins over the environment, and that over the file:

    {\"logging\": {\"level\": \"info\", \"format\": \"text\", \"source\": false},
     \"http\": {\"listen\": \"127.0.0.1:8470\", \"allowed_hosts\": []},
     \"deploy\": {\"dir\": \"deploy\", \"scan_interval\": \"5s\"},
     \"shutdown_timeout\": \"30s\"}

Example:

    $ loopkeeper run --deploy /etc/loopkeeper --listen 127.0.0.1:0 --set shutdown_timeout=5s

Ends with 0 when stopped cleanly, 1 when it could not start, 2 for a command
line that makes no sense, 3 when something did not stop in time, 78 for a wrong
configuration, 143 when told a second time to stop.";

const CHECK: &str = "\
loopkeeper check [--config FILE] [--deploy DIR] [--set KEY=VALUE]..

Tells everything that is wrong with the configuration and the descriptors, one
line each, as FILE:LINE:COLUMN: key: message. Starts nothing.

    --config FILE        the configuration; without it every setting has its default
    --deploy DIR         the folder of descriptors (deploy, beside the configuration)
    --set KEY=VALUE      one setting; VALUE is JSON, or else a text

Example:

    $ loopkeeper check --deploy /etc/loopkeeper
    /etc/loopkeeper/mqtt.json:3:20: config.backoff: unknown field \"max_deley\", did you mean \"max_delay\"?

Ends with 0 when nothing is wrong, 1 when something is, 2 for a command line
that makes no sense.";

const TYPES: &str = "\
loopkeeper types [TYPE]

Tells which types of components a descriptor may name, and for each type, or
for one, the settings that its config may have: what they hold, what holds when
they are absent, and what they mean.

Example:

    $ loopkeeper types watcher

Ends with 0, or with 2 when there is no such type.";
