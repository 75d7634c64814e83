// The picture of the page in the README: an appliance with one service down.
//
//   node tests/browser/picture.mjs LOOPKEEPER FILE.png [light|dark]
//
// The services are real and the daemon asks them; only the past of the bars
// is written down beforehand, for a day is too long to wait.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chromium } from "./chromium.mjs";

const [program, file, scheme = "light"] = process.argv.slice(2);
const dir = mkdtempSync(join(tmpdir(), "loopkeeper-picture-"));
const home = join(dir, "appliance");
mkdirSync(join(home, "deploy"), { recursive: true });

const listen = (server) => new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
const broker = await listen(net.createServer((socket) => socket.destroy()));
const api = await listen(http.createServer((_, response) => response.end(`{"state": "ok", "queue": {"depth": 3}}`)));
const gone = net.createServer();
const refused = await listen(gone);
await new Promise((done) => gone.close(done));

const backoff = { initial_delay: "1s", max_delay: "5s", poll_interval: "10s" };
const watcher = (name, probe, more = {}, config = {}) => ({ name, type: "watcher", ...more, config: { probe, backoff, ...config } });
const api_url = `http://127.0.0.1:${api}/health`;
for (const descriptor of [
  watcher("broker", { tcp: { address: `127.0.0.1:${broker}` } }),
  watcher("api", { http: { url: api_url, expect_json: [`body./state == "ok"`, "body./queue/depth < 100"] } }, { requires: ["broker"] }),
  watcher("modem", { tcp: { address: `127.0.0.1:${refused}` } }, {}, { critical: false }),
  watcher("disk", { disk: { path: "/", min_free: "1%" } }),
  watcher("backup", { exec: { command: ["true"] } }, {}, { critical: false }),
  { name: "machine", type: "monitor", config: { poll_period: "10s", checkers: [
    { name: "load", load: { max_per_core: 64 } }, { name: "root", disk: { paths: ["/"], min_free: "1%" } } ] } },
]) writeFileSync(join(home, "deploy", `${descriptor.name}.json`), JSON.stringify(descriptor));

const minutes_ago = (minutes) => (Date.now() - minutes * 60_000) * 1000;
const past = (kind, name, ...changes) => ({ kind, name, changes: changes.map(([ago, state]) => [minutes_ago(ago), state]) });
writeFileSync(join(home, "history.json"), JSON.stringify({ format: 1, at: minutes_ago(0), loops: [
  past("watcher", "broker", [1500, "ready"], [830, "down"], [806, "ready"], [34, "down"], [31, "ready"]),
  past("watcher", "api", [1500, "ready"], [830, "unknown"], [803, "ready"], [34, "unknown"], [30, "ready"]),
  past("watcher", "modem", [1500, "ready"], [1010, "down"], [960, "ready"], [410, "down"], [352, "ready"], [21, "down"]),
  past("watcher", "disk", [1500, "ready"]),
  past("watcher", "backup", [1500, "ready"], [600, "down"], [540, "ready"]),
  past("monitor", "machine", [1500, "ready"], [1200, "degraded"], [1130, "ready"]),
] }));
writeFileSync(join(home, "loopkeeper.json"), JSON.stringify({
  http: { listen: "127.0.0.1:0", history_file: "history.json" },
}));

const child = spawn(program, ["run", "--config", join(home, "loopkeeper.json")], { stdio: ["ignore", "ignore", "pipe"] });
process.on("exit", () => {
  child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});
child.stderr.setEncoding("utf8");
const base = await new Promise((done, fail) => {
  let log = "";
  child.stderr.on("data", (text) => {
    log += text;
    const found = /listening on (http:\/\/[^\s"]+)/.exec(log);
    if (found) done(found[1]);
  });
  child.on("exit", () => fail(new Error(log)));
});

const browser = new Chromium();
const tab = await browser.tab();
await tab.screen(1120, 600, scheme);
await tab.send("Emulation.setScrollbarsHidden", { hidden: true });
await tab.open(base);
const starts = (id, word) => `document.getElementById("${id}")?.cells[1].textContent.startsWith("${word}")`;
await tab.until("all is known", `${starts("watcher/modem", "down")} && ${starts("watcher/api", "ready")} && ${starts("monitor/machine", "ready")}`, 30);
writeFileSync(file, await tab.screenshot());
await browser.close();
process.exit(0);
