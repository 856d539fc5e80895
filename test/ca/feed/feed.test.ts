import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { openFeed, type Feed, type FeedDeps } from "../../../ca/feed/feed.ts";
import { openStore } from "../../../ca/store/open.ts";
import { StoreError } from "../../../ca/store/errors.ts";
import type { FeedPosition } from "../../../ca/store/rows/feed.ts";
import { eventReader, type EventReader } from "../../support/event-reader.ts";
import { newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";

const proven = { proven: true, name: "spiffe://east/reader" };
let host: TestCa;
let feeds: Feed[];
let ended: string[];
let looks: number;
let listsRead: number;

beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());
beforeEach(() => {
  [feeds, ended, looks, listsRead] = [[], [], 0, 0];
});
afterEach(() => {
  for (const feed of feeds) feed.close();
});

/** A feed over the CA's store that hears of commits by its poll alone, as on another replica. */
function newFeed({ store = host.store, ...deps }: Partial<FeedDeps> = {}): Feed {
  const feed = openFeed({
    now: () => new Date(host.clock.nowMs), maxWatchers: 3, bundle: async () => host.ca.bundle(), policyChanged: async () => true, federation: async () => undefined,
    metrics: { watching: () => undefined, watchEnded: (why) => void ended.push(why) },
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    limits: { pollIntervalMs: 5 },
    ...deps,
    store: {
      ...store,
      feedPosition: () => ((looks += 1), store.feedPosition()),
      revocations: (query) => ((listsRead += 1), store.revocations(query)),
    },
  });
  feeds.push(feed);
  return feed;
}

async function watch(feed: Feed, lastEventId?: string): Promise<EventReader> {
  return eventReader(await feed.watch(lastEventId, proven));
}

/** A stream that has told all there was. */
async function live(feed: Feed): Promise<EventReader> {
  const events = await watch(feed);
  while ((await events.until("revocation")).data["more"] === true);
  return events;
}

async function revoked(count = 1): Promise<readonly string[]> {
  const issued = await Promise.all(Array.from({ length: count }, () =>
    host.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/a" } }, { caller: host.admin })));
  await Promise.all(issued.map(({ serialNumber }) => host.ca.revoke(serialNumber, "superseded", host.admin)));
  return issued.map(({ serialNumber }) => serialNumber);
}

function serialsOf({ data }: { readonly data: Record<string, unknown> }): readonly string[] {
  return (data["revocations"] as { readonly serialNumber: string }[]).map(({ serialNumber }) => serialNumber);
}

describe("a stream of the feed", () => {
  test("tells that another trust domain's bundle changed to those whom it concerns, and does not send every proxy for its policy", async () => {
    const west = await startTestCa();
    onTestFinished(() => west.close());
    await west.ca.policies.apply({ policies: [{ name: "before", workloads: ["spiffe://east/a"], rules: [{ action: "allow", from: ["spiffe://east/b"] }] }] }, west.admin);
    const events = eventReader(await west.ca.watch(undefined, proven));
    await events.until("policy");
    await west.ca.federation.add({ trustDomain: "north", profile: "https_web", endpointUrl: "https://localhost:1/" }, west.admin);
    await west.ca.policies.apply({ policies: [{ name: "after", workloads: ["spiffe://east/a"], rules: [{ action: "allow", from: ["spiffe://east/b"] }] }] }, west.admin);
    const told: string[] = [];
    while (told.at(-1) !== "policy") told.push((await events.next()).event);
    expect(told).toEqual(["federation", "policy"]);
  });

  test("begins with the epoch, the bundle and the whole list", async () => {
    const serials = await revoked(2);
    const events = await watch(newFeed());
    expect(await events.next()).toEqual({ event: "epoch", id: undefined, data: { feedEpoch: host.ca.feedEpoch } });
    expect(await events.next()).toMatchObject({ event: "bundle", data: JSON.parse(host.ca.bundle().jwks) as object });
    const list = await events.next();
    expect([list.event, serialsOf(list).toSorted(), list.data["more"]]).toEqual(["revocation", [...serials].sort(), false]);
  });

  test("tells what another replica revoked, read once for all who are connected", async () => {
    const feed = newFeed();
    const readers = [await live(feed), await live(feed), await live(feed)];
    const before = listsRead;
    const [serial] = await revoked();
    for (const events of readers) expect(serialsOf(await events.until("revocation"))).toEqual([serial]);
    expect(listsRead - before).toBe(1);
  });

  test("goes on behind the last event that was taken in, and leaves the bundle out that is held already", async () => {
    const feed = newFeed();
    const first = await watch(feed);
    const { id } = await first.until("revocation");
    await first.cancel();
    const [serial] = await revoked();
    const second = await watch(feed, id);
    await second.next();
    const list = await second.next();
    expect([list.event, ...serialsOf(list)]).toEqual(["revocation", serial]);
  });

  test("begins anew for whoever comes from another epoch", async () => {
    const [serial] = await revoked();
    const feed = newFeed();
    const { id } = await (await watch(feed)).until("revocation");
    const events = await watch(feed, id!.replace(/^[^.]*/, "another"));
    expect((await events.next()).event).toBe("epoch");
    expect((await events.next()).event).toBe("bundle");
    expect(serialsOf(await events.next())).toContain(serial);
  });

  test("tells of a list longer than one event in order, and which page is the last", async () => {
    const serials = await revoked(1100);
    const events = await watch(newFeed());
    const pages = [await events.until("revocation"), await events.until("revocation"), await events.until("revocation")];
    expect(pages.map(({ data }) => data["more"])).toEqual([true, true, false]);
    expect(pages.flatMap(serialsOf)).toEqual(expect.arrayContaining([...serials]));
  });

  test("whoever is live gets a change that is longer than one event too", async () => {
    const events = await live(newFeed());
    const serials = await revoked(700);
    const seen = new Set<string>();
    while (seen.size < serials.length) for (const serial of serialsOf(await events.until("revocation"))) seen.add(serial);
    expect(seen).toEqual(new Set(serials));
  });

  test("tells to renew where an authority was tainted, also to whoever comes later, until that expires", async () => {
    const feed = newFeed();
    const connected = await live(feed);
    const notice = { authorityId: "ab".repeat(20), windowSeconds: 60 };
    const announce = { body: JSON.stringify(notice), expiresAtMs: host.clock.nowMs + 60_000 };
    await host.store.commit({ kind: "record", entries: ["{}"], announce });
    expect((await connected.until("renew")).data).toEqual(notice);
    expect((await (await watch(feed)).until("renew")).data).toEqual(notice);
    host.clock.nowMs += 60_000;
    const late = await live(feed);
    const [serial] = await revoked();
    expect(serialsOf(await late.next())).toEqual([serial]);
  });

  test("shows that it lives", async () => {
    const events = await live(newFeed({ limits: { pollIntervalMs: 5, heartbeatIntervalMs: 5 } }));
    const next = events.next();
    while (events.comments() < 3) await new Promise((resolve) => setImmediate(resolve));
    await revoked();
    expect((await next).event).toBe("revocation");
  });
});

describe("what the feed guards against", () => {
  test("more readers than it takes are told to come again", async () => {
    const feed = newFeed({ maxWatchers: 2 });
    const first = await watch(feed);
    await watch(feed);
    await expect(feed.watch(undefined, proven)).rejects.toMatchObject({ code: "watchers_full", retryAfterSeconds: 10 });
    await first.cancel();
    await watch(feed);
  });

  test("strangers give up their places as soon as an identity needs one, and get none meanwhile", async () => {
    const feed = newFeed({ maxWatchers: 4 });
    const stranger = eventReader(await feed.watch(undefined, { proven: false, name: "10.0.0.1" }));
    await expect(feed.watch(undefined, { proven: false, name: "10.0.0.1" })).rejects.toMatchObject({ code: "watchers_full" });
    for (let index = 0; index < 4; index++) await watch(feed);
    expect(ended).toEqual(["displaced"]);
    await stranger.ended();
    await expect(feed.watch(undefined, { proven: false, name: "10.0.0.2" })).rejects.toMatchObject({ code: "watchers_full", message: expect.stringContaining("random part") });
  });

  test("a place is given back when the database does not answer", async () => {
    let broken = true;
    const position = (): Promise<FeedPosition> => broken ? Promise.reject(new StoreError("store_unavailable", "gone")) : host.store.feedPosition();
    const feed = newFeed({ store: { ...host.store, feedPosition: position }, maxWatchers: 1 });
    await expect(feed.watch(undefined, proven)).rejects.toMatchObject({ code: "store_unavailable" });
    broken = false;
    await watch(feed);
  });

  test("a reader that takes nothing is cut, with a bounded amount waiting for it, and the others are told", async () => {
    const feed = newFeed({ limits: { pollIntervalMs: 5, heartbeatIntervalMs: 200 } });
    const other = await live(feed);
    const stuck = await feed.watch(undefined, proven);
    const seen = new Set<string>();
    // Until its stream ends.
    const reading = (async () => {
      for (;;) for (const serial of serialsOf(await other.until("revocation"))) seen.add(serial);
    })().catch(() => undefined);
    const serials = await revoked(600);
    while (!ended.includes("slow")) await revoked();
    // What comes after the cut still reaches the reader that goes on.
    const last = await revoked();
    await expect.poll(() => [...serials, ...last].filter((serial) => !seen.has(serial)), { timeout: 30_000 }).toEqual([]);
    expect(ended).toEqual(["slow"]);
    await expect(stuck.getReader().read()).rejects.toThrow("took nothing for too long");
    await other.cancel();
    await reading;
  });

  test("it stops looking when nobody is left", async () => {
    const feed = newFeed();
    await (await live(feed)).cancel();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = looks;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(looks).toBe(before);
  });

  test("a replica that cannot read the database ends its streams: heartbeats would say that nothing is revoked", async () => {
    let broken = false;
    const position = (): Promise<FeedPosition> => broken ? Promise.reject(new StoreError("store_unavailable", "gone")) : host.store.feedPosition();
    const feed = newFeed({ store: { ...host.store, feedPosition: position }, limits: { pollIntervalMs: 5, maxBlindMs: 20 } });
    const events = await live(feed);
    broken = true;
    await events.ended();
    expect(ended).toEqual(["blind"]);
    await expect(feed.watch(undefined, proven)).rejects.toMatchObject({ code: "store_unavailable" });
  });

  test("a store that was restored under it sends its readers back to the beginning", async () => {
    let feedEpoch: string | undefined;
    const position = async (): Promise<FeedPosition> => ({ ...(await host.store.feedPosition()), ...(feedEpoch !== undefined && { feedEpoch }) });
    const events = await live(newFeed({ store: { ...host.store, feedPosition: position } }));
    feedEpoch = "another";
    await events.ended();
    expect(ended).toEqual(["restored"]);
  });

  test("closing it ends every stream and takes no more", async () => {
    const feed = newFeed();
    const events = await watch(feed);
    feed.close();
    await events.ended();
    await expect(feed.watch(undefined, proven)).rejects.toMatchObject({ code: "watchers_full" });
  });
});

test("a revocation is told by the CA that made it as soon as it has landed, without waiting for a poll", async () => {
  const events = eventReader(await host.ca.watch(undefined, proven));
  while ((await events.until("revocation")).data["more"] === true);
  const [serial] = await revoked();
  const told = events.until("revocation");
  // The CA's own feed looks four times a second; a nudge is told within the turns of the event loop that its read takes.
  expect(serialsOf(await told)).toEqual([serial]);
  await events.cancel();
});

test("two replicas on one store tell each other's revocations", async () => {
  const other = await openStore({ url: `sqlite:${host.dataDir}/countersign.db`, readOnly: true });
  const events = await live(newFeed({ store: other }));
  const [serial] = await revoked();
  expect(serialsOf(await events.until("revocation"))).toEqual([serial]);
  await other.close();
});
