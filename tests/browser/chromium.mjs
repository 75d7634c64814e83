// A headless Chromium, told what to do over a pipe (DevTools protocol).

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Chromium {
  #next = 1;
  #waiting = new Map();
  #tabs = new Map();
  #rest = "";

  constructor() {
    this.profile = mkdtempSync(join(tmpdir(), "loopkeeper-chromium-"));
    this.process = spawn("chromium", [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
      "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
      `--user-data-dir=${this.profile}`, "--remote-debugging-pipe", "about:blank",
    ], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    const [, , , write, read] = this.process.stdio;
    this.write = write;
    read.setEncoding("utf8");
    read.on("data", (text) => {
      const parts = (this.#rest + text).split("\0");
      this.#rest = parts.pop();
      parts.forEach((part) => this.#take(JSON.parse(part)));
    });
    this.process.on("error", (error) => { throw error; });
  }

  #take(message) {
    const waiting = this.#waiting.get(message.id);
    if (waiting) {
      this.#waiting.delete(message.id);
      if (message.error) waiting.fail(new Error(`${waiting.method}: ${message.error.message}`));
      else waiting.done(message.result);
    } else {
      this.#tabs.get(message.sessionId)?.hear(message.method, message.params);
    }
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    this.write.write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    return new Promise((done, fail) => this.#waiting.set(id, { done, fail, method }));
  }

  async tab() {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, sessionId, targetId);
    this.#tabs.set(sessionId, tab);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await tab.send(`${domain}.enable`);
    return tab;
  }

  async close() {
    const ended = new Promise((done) => this.process.once("exit", done));
    const late = setTimeout(() => this.process.kill("SIGKILL"), 5000);
    this.send("Browser.close").catch(() => {});
    await ended;
    clearTimeout(late);
    // Its children may be about to end, and write until then.
    for (let i = 0; i < 50; i += 1) {
      try {
        return rmSync(this.profile, { recursive: true, force: true });
      } catch {
        await new Promise((done) => setTimeout(done, 100));
      }
    }
  }
}

class Tab {
  errors = [];
  requests = [];
  answers = [];

  constructor(browser, session, target) {
    Object.assign(this, { browser, session, target });
  }

  close() {
    return this.browser.send("Target.closeTarget", { targetId: this.target });
  }

  send(method, params) {
    return this.browser.send(method, params, this.session);
  }

  hear(method, params) {
    if (method === "Runtime.exceptionThrown") this.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "assert"].includes(params.type)) {
      this.errors.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
    }
    if (method === "Log.entryAdded" && params.entry.level === "error") this.errors.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
    if (method === "Network.responseReceived") this.answers.push([params.response.status, params.response.url]);
    if (method === "Page.loadEventFired") this.loaded?.();
  }

  async open(url) {
    // A page in the background does not keep itself up to date.
    await this.send("Page.bringToFront");
    const loaded = new Promise((done) => { this.loaded = done; });
    await this.send("Page.navigate", { url });
    await loaded;
  }

  // The value of an expression in the page.
  async see(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  // Waits until an expression in the page is true.
  async until(what, expression, seconds = 10) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      if (await this.see(`!!(${expression})`)) return;
      if (Date.now() > end) {
        const shown = await this.see("document.body.innerText.slice(0, 3000)");
        throw new Error(`waited ${seconds} s and not: ${what}\n${shown}`);
      }
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  // A click where a person would click.
  async click(selector) {
    const { x, y } = await this.see(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)});
      element.scrollIntoView({ block: "center" });
      const box = element.getBoundingClientRect();
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    })()`);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
    }
  }

  async key(key, text = undefined) {
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", key, text });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", key });
  }

  async type(selector, text) {
    await this.see(`(() => { const field = document.querySelector(${JSON.stringify(selector)}); field.focus(); field.select?.(); })()`);
    if (text === "") await this.key("Delete");
    else await this.send("Input.insertText", { text });
    if (text === "") await this.see(`(() => { const field = document.querySelector(${JSON.stringify(selector)}); field.value = ""; field.dispatchEvent(new Event("input", { bubbles: true })); })()`);
  }

  async screen(width, height, scheme, scripts = true) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await this.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }],
    });
    await this.send("Emulation.setScriptExecutionDisabled", { value: !scripts });
  }

  async screenshot() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }
}
