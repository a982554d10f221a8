// A site on express-session: a login, concurrent requests, a new id, expiry, logout. Arguments: port, client.
import assert from "node:assert";
import express from "express";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { default as RedisStore7 } from "connect-redis-7";
import { createClient } from "redis";
import { Redis } from "ioredis";

const [port, kind] = process.argv.slice(2);
let client, store;
if (kind === "ioredis") {
  client = new Redis(Number(port), { maxRetriesPerRequest: 1, retryStrategy: () => null });
  store = new RedisStore7({ client, prefix: "sess:", ttl: 1800 });
} else {
  client = createClient({ url: `redis://127.0.0.1:${port}`, RESP: 3, socket: { reconnectStrategy: false } });
  await client.connect();
  store = new RedisStore({ client, prefix: "sess:", ttl: 1800 });
}

const site = express();
site.use(session({ store, secret: "s", resave: false, saveUninitialized: false }));
site.get("/login", (request, answer) => { request.session.user = "ada"; answer.send("hello"); });
site.get("/who", (request, answer) => answer.send(request.session.user ?? "nobody"));
site.get("/brief", (request, answer) => {
  request.session.user = "bob";
  request.session.cookie.maxAge = 300;
  answer.send("hello");
});
site.get("/rotate", (request, answer) => {
  const user = request.session.user;
  request.session.regenerate(() => { request.session.user = user; answer.send("rotated"); });
});
site.get("/logout", (request, answer) => request.session.destroy(() => answer.send("bye")));

const server = await new Promise((resolve) => { const one = site.listen(0, "127.0.0.1", () => resolve(one)); });

async function get(path, cookie) {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: cookie ? { cookie } : {} });
  assert.equal(answer.status, 200, path);
  const set = answer.headers.get("set-cookie");
  return [await answer.text(), set ? set.split(";")[0] : cookie];
}

const [, cookie] = await get("/login");
assert.ok(cookie);
const answers = await Promise.all(Array.from({ length: 50 }, () => get("/who", cookie)));
assert.ok(answers.every(([said]) => said === "ada"));
const [, fresh] = await get("/rotate", cookie);
assert.notEqual(fresh, cookie);
assert.equal((await get("/who", fresh))[0], "ada");
assert.equal((await get("/who", cookie))[0], "nobody");
const all = await new Promise((resolve) => store.all((error, found) => { assert.ifError(error); resolve(found); }));
assert.deepEqual(all.map((one) => one.user), ["ada"]);
const [, brief] = await get("/brief");
do { // Every request would give it more time.
  await new Promise((resolve) => setTimeout(resolve, 1600));
} while ((await get("/who", brief))[0] !== "nobody");
await get("/logout", fresh);
assert.equal((await get("/who", fresh))[0], "nobody");
assert.equal(await new Promise((resolve) => store.length((error, count) => resolve(count))), 0);
server.close();
await client.quit();
console.log("all is well");
process.exit(0);
