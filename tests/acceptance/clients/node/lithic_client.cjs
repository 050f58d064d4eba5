"use strict";
// npm's lithic, in all that it can do with events and event subscriptions.
// Arguments: the server's URL, and a key of an empty project.

const assert = require("node:assert/strict");
const { setTimeout: pause } = require("node:timers/promises");
const Lithic = require("lithic");
const { listen, PATIENCE_MS } = require("./receiver.cjs");

const CARD = "card.created";
const DISPUTE = "dispute.updated";
const NOWHERE = "http://127.0.0.1:9/closed";
const UNKNOWN = "ep_01920000-0000-7000-8000-000000000000";
const UNKNOWN_EVENT = "evt_01920000-0000-7000-8000-000000000000";

const [url, key] = process.argv.slice(2);
const client = new Lithic({ apiKey: key, baseURL: url, maxRetries: 0 });
const { events } = client;
const { subscriptions } = events;

// The vendor's own events come by themselves; here they are posted.
const post = async (eventType = CARD, payload = { n: 1 }) =>
  (await client.post("/v1/events", { body: { event_type: eventType, payload } })).token;

const tokens = (items) => items.map((one) => one.token);

async function all(page) {
  const found = [];
  for await (const one of page) found.push(one);
  return found;
}

async function eventually(probe, wanted = Boolean) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await probe();
    if (wanted(found)) return found;
    assert(Date.now() < until, JSON.stringify(found));
    await pause(5);
  }
}

const settled = (event, ...statuses) =>
  eventually(
    async () => (await all(events.listAttempts(event))).map((one) => one.status),
    (found) => JSON.stringify(found.sort()) === JSON.stringify(statuses.sort()),
  );

async function eventsAreRead() {
  const posted = [];
  for (let n = 0; n < 7; n += 1) posted.push(await post(n % 2 ? CARD : DISPUTE, { n }));
  posted.reverse();
  const first = await events.list({ page_size: 3, with_content: true });
  assert.deepEqual([tokens(first.data), first.has_more], [posted.slice(0, 3), true]);
  assert.deepEqual(first.data[0].payload, { n: 6 });
  const second = await first.getNextPage();
  assert.deepEqual(tokens(second.data), posted.slice(3, 6));
  assert.deepEqual(tokens(await all(events.list({ page_size: 2 }))), posted);
  const before = await events.list({ page_size: 2, ending_before: posted[5] });
  assert.deepEqual([tokens(before.data), before.has_more], [posted.slice(3, 5), true]);
  const cards = await all(events.list({ event_types: [CARD] }));
  assert.deepEqual(tokens(cards), posted.filter((_, n) => n % 2));
  const [end, begin] = [second.data[0].created, second.data[2].created];
  assert.deepEqual(tokens(await all(events.list({ begin, end }))), posted.slice(4, 6));
  const one = await events.retrieve(posted[2]);
  assert.deepEqual([one.token, one.event_type, one.payload], [posted[2], DISPUTE, { n: 4 }]);
}

async function subscriptionsAreKept() {
  const bare = await subscriptions.create({ url: NOWHERE });
  assert.deepEqual([bare.description, bare.disabled, bare.event_types], ["", false, null]);
  const made = await subscriptions.create({
    url: "https://example.com/hooks",
    description: "d",
    disabled: true,
    event_types: [CARD, DISPUTE],
  });
  assert.deepEqual(await subscriptions.retrieve(made.token), made);
  assert.deepEqual(tokens(await all(subscriptions.list({ page_size: 1 }))), [
    made.token,
    bare.token,
  ]);
  const changed = await subscriptions.update(made.token, { url: NOWHERE, event_types: [CARD] });
  assert.deepEqual([changed.url, changed.description, changed.event_types], [NOWHERE, "d", [CARD]]);
  await subscriptions.delete(made.token);
  await subscriptions.delete(bare.token);
  assert.deepEqual((await subscriptions.list()).data, []);
}

async function deliveriesAreVerified(received) {
  const { token } = await subscriptions.create({ url: received.url });
  const old = (await subscriptions.retrieveSecret(token)).secret;
  const event = await post(CARD, { text: "größer", n: 1.0 });
  const [{ headers, body }] = await received.waitFor(1);
  assert.equal(headers["webhook-id"], event);
  assert.deepEqual(client.webhooks.unwrap(body, headers, old), JSON.parse(body));
  const tampered = () => client.webhooks.unwrap(`${body} `, headers, old);
  assert.throws(tampered, /signature/);
  await settled(event, "SUCCESS");

  await subscriptions.rotateSecret(token);
  const present = (await subscriptions.retrieveSecret(token)).secret;
  assert.notEqual(present, old);
  await post(CARD);
  const during = (await received.waitFor(2))[1];
  for (const secret of [old, present]) {
    client.webhooks.verifySignature(during.body, during.headers, secret);
  }
  assert.throws(() => client.webhooks.verifySignature(body, headers, present), /signature/);
  await subscriptions.delete(token);
}

async function eventsAreSentAgain(received) {
  const start = received.requests.length;
  const came = async (count) => (await received.waitFor(start + count)).slice(start);
  const { token } = await subscriptions.create({ url: received.url, event_types: [CARD] });
  const event = await post();
  await came(1);
  await settled(event, "SUCCESS");
  await events.eventSubscriptions.resend(token, { event_token: event });
  await came(2);
  await settled(event, "SUCCESS", "SUCCESS");
  const [attempt, earlier] = await all(subscriptions.listAttempts(token, { page_size: 1 }));
  assert.equal(attempt.event_token, event);
  assert.equal(earlier.event_subscription_token, token);
  assert.equal(attempt.response_status_code, 204);
  await subscriptions.sendSimulatedExample(token, { event_type: DISPUTE });
  const example = (await came(3))[2];
  assert.equal(JSON.parse(example.body).event_type, DISPUTE);
  // What came before the subscription was made, in `eventsAreRead`.
  await subscriptions.replayMissing(token, { end: (await events.retrieve(event)).created });
  const missed = (await came(8)).slice(3).map((one) => one.headers["webhook-id"]);
  const cards = tokens(await all(events.list({ event_types: [CARD] })));
  assert.deepEqual(missed.sort(), cards.filter((one) => one !== event).sort());
  await subscriptions.delete(token);
}

async function failuresAreRecovered(received) {
  received.status = 500;
  const { token } = await subscriptions.create({ url: received.url, retry_schedule: [] });
  const start = received.requests.length;
  const event = await post(DISPUTE);
  await settled(event, "FAILED");
  const [failed] = (await events.listAttempts(event, { status: "FAILED" })).data;
  assert.deepEqual([failed.response_status_code, failed.url], [500, received.url]);
  assert.deepEqual((await subscriptions.listAttempts(token, { status: "SUCCESS" })).data, []);
  received.status = 204;
  await subscriptions.recover(token);
  const requests = (await received.waitFor(start + 2)).slice(start);
  assert.deepEqual(requests.map((one) => one.headers["webhook-id"]), [event, event]);
  await settled(event, "FAILED", "SUCCESS");
  await subscriptions.delete(token);
}

async function refusalsAreTyped() {
  const stranger = new Lithic({ apiKey: "no-such-key", baseURL: url, maxRetries: 0 });
  const refused = (call, kind, message) =>
    assert.rejects(call, (error) => {
      assert(error instanceof kind, String(error));
      assert.match(error.message, message);
      assert.deepEqual(Object.keys(error.error).slice(0, 2), ["message", "debugging_request_id"]);
      return true;
    });
  await refused(stranger.events.list(), Lithic.AuthenticationError, /Could not find API key/);
  await refused(subscriptions.create({ url: "ftp://a" }), Lithic.BadRequestError, /url/);
  await refused(events.list({ starting_after: "x" }), Lithic.BadRequestError, /starting_after/);
  await refused(events.retrieve(UNKNOWN_EVENT), Lithic.NotFoundError, /event/);
  for (const call of ["retrieve", "listAttempts", "recover", "replayMissing", "delete"]) {
    await refused(subscriptions[call](UNKNOWN), Lithic.NotFoundError, /subscription/);
  }
  const { token } = await subscriptions.create({ url: NOWHERE, disabled: true });
  await refused(subscriptions.recover(token), Lithic.UnprocessableEntityError, /disabled/);
}

async function main() {
  const received = await listen();
  try {
    await eventsAreRead();
    await subscriptionsAreKept();
    await deliveriesAreVerified(received);
    await eventsAreSentAgain(received);
    await failuresAreRecovered(received);
    await refusalsAreTyped();
  } finally {
    received.close();
  }
  console.log(`all fifteen operations, Node ${process.version}`);
}

main();
