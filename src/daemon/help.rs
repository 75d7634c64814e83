//! What the program says of itself.

/// What help was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// The program.
    Program,
    Run,
    Status,
    Why,
    Events,
    Trigger,
    Rescan,
    Probe,
    Check,
    Types,
    Explain,
    Init,
    Fleet,
    Recovery,
}

impl Topic {
    /// Every command, in the order in which people meet them.
    pub(crate) const COMMANDS: &[Self] = &[
        Self::Run,
        Self::Status,
        Self::Why,
        Self::Events,
        Self::Trigger,
        Self::Rescan,
        Self::Probe,
        Self::Check,
        Self::Types,
        Self::Explain,
        Self::Init,
        Self::Fleet,
        Self::Recovery,
    ];

    /// The word for the command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Program => "help",
            Self::Run => "run",
            Self::Status => "status",
            Self::Why => "why",
            Self::Events => "events",
            Self::Trigger => "trigger",
            Self::Rescan => "rescan",
            Self::Probe => "probe",
            Self::Check => "check",
            Self::Types => "types",
            Self::Explain => "explain",
            Self::Init => "init",
            Self::Fleet => "fleet",
            Self::Recovery => "recovery",
        }
    }

    /// Finds a command by its word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::COMMANDS.iter().copied().find(|topic| topic.name() == word)
    }

    /// The words for all commands, for a sentence.
    pub(crate) fn names() -> String {
        let names: Vec<&str> = Self::COMMANDS.iter().map(|topic| topic.name()).collect();
        names.join(", ")
    }

    /// The text, without the last line's end.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Program => PROGRAM,
            Self::Run => RUN,
            Self::Status => STATUS,
            Self::Why => WHY,
            Self::Events => EVENTS,
            Self::Trigger => TRIGGER,
            Self::Rescan => RESCAN,
            Self::Probe => PROBE,
            Self::Check => CHECK,
            Self::Types => TYPES,
            Self::Explain => EXPLAIN,
            Self::Init => INIT,
            Self::Fleet => FLEET,
            Self::Recovery => RECOVERY,
        }
    }

    /// The words that ask for it.
    pub(crate) fn words(self) -> String {
        if self == Self::Program { "help".to_owned() } else { format!("help {}", self.name()) }
    }
}

const PROGRAM: &str = "\
loopkeeper watches the services a machine depends on and tells how they are.

    loopkeeper run     [OPTIONS]     watch what the folder of descriptors names
    loopkeeper status  [OPTIONS]     tell how the loops of the running daemon are
    loopkeeper why     NAME          tell why a loop is as it is, and what happens next
    loopkeeper events  [NAME]        tell what happened, or with --follow what happens
    loopkeeper trigger NAME          have a loop make its next run now
    loopkeeper rescan                have the folder of descriptors looked at now
    loopkeeper probe   FILE          ask once what a descriptor asks, step by step
    loopkeeper check   [OPTIONS]     tell everything that is wrong with the files
    loopkeeper types   [TYPE]        tell what a descriptor may hold, and what it means
    loopkeeper explain [KEY]         tell which settings hold, and where each comes from
    loopkeeper init    DIR           write a folder to begin with, explained
    loopkeeper fleet   QUESTION      look at the agents, jobs and tokens of a fleet, and why they are so
    loopkeeper recovery QUESTION     look at what becomes of corrupted runs, cancel or retry one
    loopkeeper help    [COMMAND]     explain a command and its options; --man: all as a man page
    loopkeeper --version

Begin with loopkeeper init, or with one file, deploy/mqtt.json:

    {\"name\": \"mqtt\", \"type\": \"watcher\",
     \"config\": {\"probe\": {\"tcp\": {\"address\": \"127.0.0.1:1883\"}},
                \"backoff\": {\"poll_interval\": \"30s\"}}}

Then:

    $ loopkeeper check
    ok: 1 component
    $ loopkeeper probe deploy/mqtt.json
    $ loopkeeper run &
    $ loopkeeper status";

const RUN: &str = "\
loopkeeper run [--config FILE] [--deploy DIR] [--listen ADDR|none] [--set KEY=VALUE]..
               [--log-level LEVEL] [--log-format text|logfmt|json] [--notify-fd N]

Watches what the descriptors in a folder name, until SIGTERM or SIGINT, and
answers over HTTP how everything is. Edits of the folder and of the
configuration take effect while it runs, at once with SIGHUP; one that is wrong
is told and leaves alone what runs. What of http is not the token, deploy.dir and
store.url are read at the start only, which a change of them says.

    --config FILE        the configuration; without it every setting has its default
    --deploy DIR         the folder of descriptors (deploy, beside the configuration)
    --listen ADDR|none   where to answer (127.0.0.1:8470); port 0 takes a free one
    --set KEY=VALUE      one setting; VALUE is JSON, or else a text
    --log-level LEVEL    debug, info, warn or error (info)
    --log-format FORMAT  text, logfmt or json (text)
    --notify-fd N        where a line is written when it is ready, as s6 wants it

Settings also come from the environment: LOOPKEEPER_HTTP__LISTEN is http.listen.
The command line wins over the environment, and that over the file:

    {\"logging\": {\"level\": \"info\", \"format\": \"text\", \"source\": false},
     \"http\": {\"listen\": \"127.0.0.1:8470\", \"allowed_hosts\": [], \"max_connections\": 64,
              \"token_file\": null, \"liveness\": [], \"readiness\": null, \"startup\": null,
              \"history_file\": null},
     \"deploy\": {\"dir\": \"deploy\", \"scan_interval\": \"5s\"},
     \"config\": {\"watch_interval\": \"2s\"},
     \"store\": {\"url\": \"sqlite:loopkeeper.db\"},
     \"monitor\": {\"poll_period\": \"60s\", \"principal\": \"loopkeeper\", \"token_file\": null,
                 \"token_command\": null, \"client_cert\": null, \"client_key\": null,
                 \"root_certs\": null},
     \"alerts\": {\"state_file\": null},
     \"shutdown_timeout\": \"30s\"}

http.liveness, readiness and startup name the loops that /livez, /readyz and
/startupz depend on; null is all of them. http.max_connections is how many
connections are served at once, 1 to 65536, each with a descriptor; of those
beyond it 16 more may ask about health. http.history_file keeps the bars of the
page over a restart, and alerts.state_file what was told; no other daemon may keep
the same.

What stands under monitor holds for monitors whose descriptors do not say it:
how often they look, and as whom and by what they ask other services.

The store is opened only when something that looks after a fleet is deployed:
agent-health, job-recovery, queue-priority, token-cleanup, audit-retention. A
URL with a password belongs in the file that store.url_file names.

Who sends the token in the file that http.token_file names may act:

    $ curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8470/deploy/rescan
    $ curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8470/trigger/mqtt
    $ curl -X POST -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8470/heartbeat/ingest

SIGUSR1 writes into the log how every loop is. Under systemd (Type=notify or
notify-reload) it says when the first round is decided, how many are ready, that
it reloads, stops and is alive; it takes the socket of a socket unit in place of
http.listen, and gives the journal the level of each line.

Example:

    $ loopkeeper run --deploy /etc/loopkeeper --listen 127.0.0.1:0 --set shutdown_timeout=5s

Ends with 0 when stopped cleanly, 1 when it could not start, 2 for a command
line that makes no sense, 3 when something did not stop in time, 78 for a wrong
configuration, 143 when told a second time to stop.";

const CHECK: &str = "\
loopkeeper check [--config FILE] [--deploy DIR] [--set KEY=VALUE]..

Tells everything that is wrong with the configuration and the descriptors, one
line each, as FILE:LINE:COLUMN: key: message. Starts nothing. On a terminal each
is followed by the line of the file, with a mark under the column.

    --config FILE        the configuration; without it every setting has its default
    --deploy DIR         the folder of descriptors (deploy, beside the configuration)
    --set KEY=VALUE      one setting; VALUE is JSON, or else a text

Example:

    $ loopkeeper check --deploy /etc/loopkeeper
    /etc/loopkeeper/mqtt.json:3:20: config.backoff: unknown field \"max_deley\", did you mean \"max_delay\"?

Ends with 0 when nothing is wrong, 1 when something is, 2 for a command line
that makes no sense.";

const EXPLAIN: &str = "\
loopkeeper explain [KEY] [--config FILE] [--deploy DIR] [--set KEY=VALUE].. [--json]
loopkeeper explain [KEY] --running|--url URL [--token-file FILE] [--json]

Tells the value of a setting, or of every one, and where it comes from: a
default, a line of the file, a variable or an option. Secrets are not shown. With
--running or --url it tells what the daemon has in force, which an edit that was
rejected, or that counts from the next start on, is not.

    --config FILE        the configuration; without it every setting has its default
    --deploy DIR         the folder of descriptors (deploy, beside the configuration)
    --set KEY=VALUE      one setting; VALUE is JSON, or else a text
    --running            asks the daemon, where its settings say that it is
    --url URL            asks the daemon that answers there
    --token-file FILE    a token to send along; who only looks needs none, and neither that
                         of the settings nor LOOPKEEPER_TOKEN is sent
    --json               one JSON object a line: key, value, layer and place

Example:

    $ loopkeeper explain http.listen --config /etc/loopkeeper.json
    http.listen = \"0.0.0.0:8470\" (/etc/loopkeeper.json:2:21)

Ends with 0, with 2 when there is no such setting, 69 when the daemon cannot be
reached, or with 78 for a wrong configuration.";

const STATUS: &str = "\
loopkeeper status [--watch] [--interval D] [--url URL] [--token-file FILE] [--json]

Asks the daemon how its loops are: one line each, with its state, for how long
it is in that, how long ago it was last looked at, and what is wrong or going
on. Of a call that is stuck it says in which step, for how long, on which
thread, and on Linux whether that burns CPU or is blocked.

    --watch              tells again and again until it is interrupted: redraws a
                         terminal, with what is not ready first where not all of it
                         fits, or else writes one table below the other
    --interval D         how often, with --watch (2s)
    --url URL            where the daemon answers (http://, and http.listen of the settings)
    --token-file FILE    a token to send along; who only looks needs none, and neither that
                         of the settings nor LOOPKEEPER_TOKEN is sent
    --config FILE        the configuration of the daemon
    --set KEY=VALUE      one setting, such as http.listen=127.0.0.1:8471
    --json               what the daemon answers, in one line

On a terminal it fits its width and has colours, unless NO_COLOR is set.

Example:

    $ loopkeeper status
    down: 2 of 3 loops ready

    NAME    STATE  FOR  LAST  WHAT
    backup  down   12s  12s   stuck: running rsync (pid 4711) for 1m, blocked (thread w/backup, tid 4700)
    disk    ready  3h   4s
    mqtt    ready  3h   11s

Ends with 0, with 1 when something critical is not ready, 2 for a command line
that makes no sense, 69 when the daemon cannot be reached, 78 for a wrong
configuration.";

const WHY: &str = "\
loopkeeper why NAME [--url URL] [--token-file FILE] [--json]

Tells why a loop or component is as it is: one sentence; the chain of causes, of
which each is followed by its own; what happens next; and when it gives up. A
cause is the last error, a stuck call and its step, what is required and down, a
checker, a run that is recovered, a pause, or a descriptor that cannot be used.

    --url URL            where the daemon answers (http://, and http.listen of the settings)
    --token-file FILE    a token to send along; who only looks needs none, and neither that
                         of the settings nor LOOPKEEPER_TOKEN is sent
    --config FILE        the configuration of the daemon
    --set KEY=VALUE      one setting, such as http.listen=127.0.0.1:8471
    --json               what the daemon answers at /why/NAME, in one line

Example:

    $ loopkeeper why shop
    shop has been waiting for 1m5s: it waits for db, which is down: tcp 127.0.0.1:5432: connection refused

      shop: waits for db, which is down (for 65s)
        db: tcp 127.0.0.1:5432: connection refused (3s ago)

    next: it starts when db can take work

Ends with 0 when it is ready, 1 when it is not or there is none of this name, 2
for a command line that makes no sense, 69 when the daemon cannot be reached, 78
for a wrong configuration.";

const EVENTS: &str = "\
loopkeeper events [NAME] [--follow] [--last N] [--url URL] [--token-file FILE] [--json]

Tells what happened, one line each: when, to whom, and what. The daemon keeps
the last 4,096 events; NAME shows those of one loop or component only.

    --follow             goes on with what happens, until it is interrupted; begins
                         with the last 10
    --last N             how many of those that happened already (all)
    --url URL            where the daemon answers (http://, and http.listen of the settings)
    --token-file FILE    a token to send along; who only looks needs none, and neither that
                         of the settings nor LOOPKEEPER_TOKEN is sent
    --config FILE        the configuration of the daemon
    --set KEY=VALUE      one setting, such as http.listen=127.0.0.1:8471
    --json               one JSON object a line, as /events has it

While it follows it says when events were lost and when the daemon was started
again ({\"lost\": N} and {\"boot\": ID} with --json), and waits for a daemon that
cannot be reached.

Example:

    $ loopkeeper events mqtt --last 2
    2026-01-01T11:58:03.120Z  mqtt  down (failures 1, from ready): tcp 127.0.0.1:1883: connection refused
    2026-01-01T11:58:33.410Z  mqtt  ready (attempt 2, from down, latency 1.2ms)
    $ loopkeeper events --follow --json | jq 'select(.event == \"down\")'

Ends with 0, also when it is interrupted or nobody reads any more, with 2 for a
command line that makes no sense, 69 when the daemon cannot be reached, 78 for a
wrong configuration.";

const TRIGGER: &str = "\
loopkeeper trigger NAME [--url URL] [--token-file FILE] [--json]

Has a loop make its next run now, whatever it waits for; during a run, one more
after it. It does not wait for what comes of that: see events and status.

    --url URL            where the daemon answers (http://, and http.listen of the settings)
    --token-file FILE    the token that lets act (LOOPKEEPER_TOKEN, or else the file that
                         http.token_file names)
    --config FILE        the configuration of the daemon
    --set KEY=VALUE      one setting, such as http.listen=127.0.0.1:8471
    --json               what the daemon answers, in one line

Example:

    $ loopkeeper trigger mqtt --token-file /run/secrets/loopkeeper
    mqtt: runs now; see: loopkeeper events mqtt --last 5

Ends with 0, with 1 when the daemon refuses, 2 for a command line that makes no
sense, 69 when the daemon cannot be reached, 78 for a wrong configuration.";

const RESCAN: &str = "\
loopkeeper rescan [--url URL] [--token-file FILE] [--json]

Has the daemon look at its folder of descriptors now, not at the next
deploy.scan_interval. It does not wait for what comes of that: see events and
status. A descriptor that was rejected stays so until its file changes.

    --url URL            where the daemon answers (http://, and http.listen of the settings)
    --token-file FILE    the token that lets act (LOOPKEEPER_TOKEN, or else the file that
                         http.token_file names)
    --config FILE        the configuration of the daemon
    --set KEY=VALUE      one setting, such as http.listen=127.0.0.1:8471
    --json               what the daemon answers, in one line

Example:

    $ cp mqtt.json /etc/loopkeeper/ && loopkeeper rescan

Ends with 0, with 1 when the daemon refuses, 2 for a command line that makes no
sense, 69 when the daemon cannot be reached, 78 for a wrong configuration.";

const PROBE: &str = "\
loopkeeper probe FILE [--config FILE] [--set KEY=VALUE].. [--json]

Asks once what the watcher or monitor in a descriptor asks again and again, and
tells step by step what happened, and when: what a name was looked up as, who
was connected to, what was answered, which condition does not hold. The daemon
need not run, and hears nothing of it.

    --config FILE        the configuration, for as whom monitors ask
    --set KEY=VALUE      one setting, such as monitor.principal=ops
    --json               one JSON object a line for each probe or checker

Example:

    $ loopkeeper probe deploy/queue.json
    queue: asks once, within 10s
         0.1ms  asking GET http://queue.internal:8080/health
         0.2ms  looking up queue.internal
         1.4ms  queue.internal is 10.0.0.17
         1.5ms  connecting to 10.0.0.17:8080
         1.9ms  connected to 10.0.0.17:8080
         2.0ms  sending the request to 10.0.0.17:8080
         2.1ms  waiting for the answer of 10.0.0.17:8080
         5.2ms  status 200, reading the body
         5.3ms  body of 26 bytes; body: \"{\"queue\": {\"depth\": 512}}\"
         5.4ms  queue is down: GET http://queue.internal:8080/health: body./queue/depth < 100 does
                not hold: body./queue/depth is the number 512, after 5.4ms

Ends with 0 when all is ready or degraded, 1 when something is not, 2 for a
command line that makes no sense, 78 for a wrong descriptor or configuration.";

const INIT: &str = "\
loopkeeper init DIR

Writes a folder to begin with: a configuration, a few descriptors of which those
that need a change are disabled, and a README.md that explains each of them. DIR
must be empty or not there yet; nothing is ever written over.

Example:

    $ loopkeeper init watch
    watch: written; read watch/README.md, then: loopkeeper run --config watch/loopkeeper.json
    $ loopkeeper check --config watch/loopkeeper.json
    ok: 4 components, 3 of them disabled

Ends with 0, with 1 when it could not be written, or 2 for a command line that
makes no sense.";

const FLEET: &str = "\
loopkeeper fleet agents|jobs|queue|tokens [--limit N] [--after ID] [--json]
loopkeeper fleet why agent|job|token|record ID [--json]

Looks at the fleet in the store, whether the daemon runs or not. Nothing is made
or changed. agents, jobs and tokens come by their numbers, the queue by its
places. why tells for each rule of the passes that are deployed whether it would
change that one now, and why or why not.

    --config FILE        the configuration, whose store.url says where the store is
    --deploy DIR         the folder of descriptors, for why
    --set KEY=VALUE      one setting, such as store.url=sqlite:/var/lib/loopkeeper.db
    --limit N            how many at most (100; with --json all, of the queue 100)
    --after ID           only those with higher numbers
    --json               one JSON object a line, with everything that is known

Example:

    $ loopkeeper fleet jobs --json | jq 'select(.state == \"running\") | .id'
    $ loopkeeper fleet why job 17

Ends with 0, with 1 when there is no store, it or a row of it cannot be read or
there is no such number, 2 for a command line that makes no sense, 78 for a
wrong configuration.";

const RECOVERY: &str = "\
loopkeeper recovery list [--url URL] [--json]
loopkeeper recovery cancel|retry RUN [--url URL] [--token-file FILE] [--json]

Asks the daemon which runs are being recovered; ends the recovery of one, or has
one tried again now, also one that was given up. RUN is the name of a run: the
one it has now, or the one it was watched under first.

    --url URL            where the daemon answers (http://, and http.listen of the settings)
    --token-file FILE    the token that lets act (LOOPKEEPER_TOKEN, or else the file that
                         http.token_file names); a list is asked for without one
    --config FILE        the configuration of the daemon
    --set KEY=VALUE      one setting, such as http.listen=127.0.0.1:8471
    --json               what the daemon answers, in one line

Example:

    $ loopkeeper recovery list
    $ loopkeeper recovery retry run-7 --token-file /run/secrets/loopkeeper

Ends with 0, with 1 when the daemon refuses, 2 for a command line that makes no
sense, 69 when the daemon cannot be reached, 78 for a wrong configuration.";

const TYPES: &str = "\
loopkeeper types [TYPE] [--json-schema]

Tells which types of components a descriptor may name, and for each type, or
for one, the settings that its config may have: what they hold, what holds when
they are absent, and what they mean.

    --json-schema        the same as a JSON Schema (2020-12) of a descriptor, for editors

Example:

    $ loopkeeper types watcher
    $ loopkeeper types --json-schema > descriptor.schema.json

An editor takes the schema for deploy/*.json by its settings; in VS Code that is
json.schemas, with fileMatch and url. A descriptor itself has no $schema.

Ends with 0, or with 2 when there is no such type.";
