// Makes calls with KurrentDB's client for Node, and prints what came of each as a line of JSON.
import {
  KurrentDBClient, START, jsonEvent, persistentSubscriptionToStreamSettingsFromDefaults, streamNameFilter,
} from "@kurrent/kurrentdb-client";

const client = KurrentDBClient.connectionString(process.argv[2]);
const event = (n) => jsonEvent({ type: "t", data: { n } });

async function revisions(read) {
  const found = [];
  for await (const { event } of read) found.push(Number(event.revision));
  return found;
}

async function subscribed(count) {
  const subscription = client.subscribeToAll({ fromPosition: START, filter: streamNameFilter({ prefixes: ["s"] }) });
  const found = [];
  for await (const { event } of subscription) if (found.push(Number(event.revision)) === count) break;
  await subscription.unsubscribe();
  return found;
}

const calls = {
  append: () => client.appendToStream("s", [event(0), event(1), event(2)]).then((done) => Number(done.nextExpectedRevision)),
  "append at a wrong revision": () => client.appendToStream("s", [event(3)], { streamState: 7n }),
  "read a stream": () => revisions(client.readStream("s")),
  "read no stream": () => revisions(client.readStream("none")),
  "read $all": () => revisions(client.readAll({ filter: streamNameFilter({ regex: "^s$" }) })),
  subscribe: () => subscribed(3),
  "delete": () => client.deleteStream("s").then(() => "done"),
  "list persistent subscriptions": () => client.listAllPersistentSubscriptions(),
  "persistent subscription": () => client.getPersistentSubscriptionToStreamInfo("s", "g"),
  "new persistent subscription": () =>
    client.createPersistentSubscriptionToStream("s", "g", persistentSubscriptionToStreamSettingsFromDefaults()),
  "replay parked": () => client.replayParkedMessagesToStream("s", "g"),
  "restart subsystem": () => client.restartPersistentSubscriptionSubsystem(),
  projections: () => client.listProjections(),
};

for (const [name, call] of Object.entries(calls)) {
  const outcome = await call().catch((error) => `${error.constructor.name}: ${error.message}`);
  console.log(JSON.stringify([name, outcome]));
}
await client.dispose();
process.exit(0);
