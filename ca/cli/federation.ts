import { readFileSync } from "node:fs";
import type { AcceptFederationRequest, FederationAcceptance, FederationInvitation, InviteFederationRequest } from "../contract/federation-invitations.ts";
import { federationProfiles, type AddFederationRequest, type FederationList, type FederationSummary } from "../contract/federation.ts";
import { paths } from "../contract/paths.ts";
import type { FederationHubs, HubSummary, SubscribeToHubRequest } from "../contract/federation-hubs.ts";
import type { PlaceOptions } from "../publishing/place.ts";
import { api, apiHelp, apiOptions, ApiError } from "./api.ts";
import { chooseAction, noMore, readArguments, required, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { describeHub, describeHubs, publishToHub } from "./federation-hub.ts";
import { ownHub } from "./hub-owner.ts";
import { output } from "./output.ts";
import { minute, table } from "./table.ts";

/** `countersign federation invite|accept|add|list|show|refresh|remove|map|publish|subscribe|unsubscribe|hubs|hub`. */
export async function federation(args: readonly string[], io: CliIo): Promise<number> {
  const {
    values,
    positionals: [action, ...rest],
  } = readArguments(args, {
    ...apiOptions, profile: { type: "string" }, endpoint: { type: "string" }, "endpoint-id": { type: "string" }, bundle: { type: "string" }, ttl: { type: "string" }, "hub-roots": { type: "string" }, "hub-file": { type: "string" },
    name: { type: "string" }, "hub-url": { type: "string" }, valid: { type: "string" }, replace: { type: "boolean" },
  });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const { json, print, explain } = output(values.output, io);
  const ca = () => api(values, io);
  switch (chooseAction("federation", action, ["invite", "accept", "add", "list", "show", "refresh", "remove", "map", "publish", "subscribe", "unsubscribe", "hubs", "hub"])) {
    case "invite": {
      noMore(rest);
      const made = await ca().call<FederationInvitation>("POST", paths.federationInvitations, (values.ttl === undefined ? {} : { expiresInSeconds: seconds(values.ttl, "--ttl") }) satisfies InviteFederationRequest);
      print(made, `${made.invitation}\n`);
      explain(
        `A secret, for one CA, until ${minute(made.expiresAt)}. On the other side: countersign federation accept STRING\n` +
          `It must show this fingerprint for ${made.trustDomain}:\n  ${made.rootFingerprint}\n`,
      );
      return 0;
    }
    case "accept": {
      const invitation = one(rest, "the invitation", "countersign_federate_...");
      const done = await ca().call<FederationAcceptance>("POST", paths.federationAcceptances, { invitation: invitation === "-" ? readFileSync(0, "utf8").trim() : invitation } satisfies AcceptFederationRequest);
      const sides = [done.own, done.peer].map(({ trustDomain, rootFingerprints }) => `${trustDomain}\n${rootFingerprints.map((each) => `  ${each}\n`).join("")}`);
      print(done, sides.join(""));
      explain(
        `${done.own.trustDomain} and ${done.peer.trustDomain} believe each other's workloads now; nobody of the other side may call anything yet: allow it with a policy.\n` +
          "Compare the fingerprints with: countersign federation show, on the other side.\n",
      );
      return 0;
    }
    case "add": {
      const added = await ca().call<FederationSummary>("POST", paths.federation, addition(one(rest, "the trust domain", "west"), values));
      print(added, describe(added));
      if (added.refresh?.error !== undefined) explain(`Its bundle could not be fetched, which is tried again: ${added.refresh.error}\n`);
      return 0;
    }
    case "list": {
      noMore(rest);
      const { federation: all } = await ca().call<FederationList>("GET", paths.federation);
      const rows = all.map(({ trustDomain, profile, endpointUrl, bundle, refresh }) => (
        [trustDomain, bundle === undefined ? "none" : String(bundle.authorities.length), refresh?.error === undefined ? minute(refresh?.succeededAt) : `failing (${refresh.failures})`, profile, endpointUrl]
      ));
      print(all, table(["TRUST DOMAIN", "ROOTS", "REFRESHED", "PROFILE", "ENDPOINT"], rows));
      return 0;
    }
    case "show": {
      const found = await ca().call<FederationSummary>("GET", pathTo(one(rest, "the trust domain", "west")));
      print(found, describe(found));
      return 0;
    }
    case "refresh": {
      const found = await ca().call<FederationSummary>("POST", `${pathTo(one(rest, "the trust domain", "west"))}/refresh`, undefined);
      print(found, describe(found));
      return 0;
    }
    case "map": {
      noMore(rest);
      io.stdout(`${await ca().fetchPublic(paths.bundleMap, "application/json")}\n`);
      return 0;
    }
    case "publish": {
      const { trustDomain, key, where } = await publishToHub(ca(), one(rest, "the hub's folder or bucket", "s3://bucket/prefix"), placeOptions(values, io));
      print({ trustDomain, key, where }, `${key}\n`);
      explain(`The bundle of ${trustDomain} is in ${where}. The hub's owner admits it by this key:\n  countersign federation hub admit KEY\n`);
      return 0;
    }
    case "subscribe": {
      const subscription = one(rest, "what the hub's owner shows", "countersign_hub_...");
      const hub = await ca().call<HubSummary>("POST", paths.hubs, { subscription } satisfies SubscribeToHubRequest);
      print(hub, describeHub(hub));
      if (hub.refresh?.error !== undefined) explain(`Its list could not be had, which is tried again: ${hub.refresh.error}\n`);
      return 0;
    }
    case "unsubscribe": {
      const name = one(rest, "the hub's name", "hub.example");
      await ca().call("DELETE", `${paths.hubs}/${encodeURIComponent(name)}`);
      if (!json) io.stderr(`Nobody that came by ${name} is believed any more; open connections are cut.\n`);
      return 0;
    }
    case "hubs": {
      noMore(rest);
      const all = await ca().call<FederationHubs>("GET", paths.hubs);
      print(all, describeHubs(all));
      return 0;
    }
    case "hub":
      return ownHub(rest, values, placeOptions(values, io), output(values.output, io));
    case "remove": {
      const trustDomain = one(rest, "the trust domain", "west");
      await ca().call("DELETE", pathTo(trustDomain));
      if (!json) io.stderr(`Nobody of ${trustDomain} is believed any more; open connections are cut. To end the other direction, remove this trust domain over there.\n`);
      return 0;
    }
  }
}

type AddOptions = { readonly [Name in "profile" | "endpoint" | "endpoint-id" | "bundle"]?: string | undefined };

function addition(trustDomain: string, values: AddOptions): AddFederationRequest {
  const profile = federationProfiles.find((each) => each === required(values.profile, "--profile", "https_web"));
  if (profile === undefined) throw new UsageError(`--profile is ${federationProfiles.join(" or ")}, not ${values.profile}.`);
  return {
    trustDomain, profile, endpointUrl: required(values.endpoint, "--endpoint", "https://ca.west.example:8443/v1/bundle"),
    ...(values["endpoint-id"] !== undefined && { endpointSpiffeId: values["endpoint-id"] }),
    ...(values.bundle !== undefined && { bundle: readBundle(values.bundle) }),
  };
}

function placeOptions({ endpoint, "hub-roots": roots }: AddOptions & { readonly "hub-roots"?: string | undefined }, { env }: CliIo): PlaceOptions {
  return { env, endpoint, roots: roots === undefined ? undefined : readBundle(roots), now: () => new Date() };
}

function readBundle(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (cause) {
    throw new ApiError(`cannot read the bundle ${path} (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
}

function describe({ trustDomain, profile, endpointUrl, endpointSpiffeId, hub, bundle, refresh, acknowledged, logKey, witnessKey, cosigned, addedAt, addedBy }: FederationSummary): string {
  const lines: readonly (readonly [string, string | undefined])[] = [
    ["trust domain", trustDomain],
    ["endpoint", `${endpointUrl} (${profile})`],
    ["endpoint's ID", endpointSpiffeId],
    ["came by the hub", hub],
    ["added", `${minute(addedAt)} by ${addedBy}`],
    ["sequence", bundle?.sequence],
    ["roots", bundle === undefined ? "none: nobody of it is believed" : undefined],
    ...(bundle?.authorities ?? []).map(({ fingerprint, notAfter }) => ["root", `${fingerprint} until ${minute(notAfter)}`] as const),
    ["JWT keys", bundle && String(bundle.jwtKeys)],
    ["refreshed", refresh && minute(refresh.succeededAt)],
    ["followed", refresh?.followed === true ? "by its CA's stream, so a change is known at once" : undefined],
    ["failing", refresh?.error === undefined ? undefined : `${refresh.failures} times: ${refresh.error}`],
    ["its log's key", logKey],
    ["its witness key", witnessKey],
    ["it cosigned our log", cosigned && `${cosigned.size} entries (${minute(cosigned.at)})${cosigned.error === undefined ? "" : `; not since: ${cosigned.error}`}`],
    ["it has our bundle", acknowledged && `${acknowledged.bundleSequence} (${minute(acknowledged.at)})`],
  ];
  return lines.filter(([, value]) => value !== undefined).map(([label, value]) => `${label}: ${value}\n`).join("");
}

function pathTo(trustDomain: string): string {
  return `${paths.federation}/${encodeURIComponent(trustDomain)}`;
}

function one([value, ...more]: readonly string[], what: string, example: string): string {
  noMore(more);
  return required(value, what, example);
}

const usage = `countersign federation: trust the workloads of other trust domains

  countersign federation invite [--ttl 1h]
      prints one string for another Countersign CA
  countersign federation accept STRING
      both believe each other from now on; "-" reads the string from stdin
  countersign federation add west --profile https_web --endpoint URL
  countersign federation add west --profile https_spiffe --endpoint URL \\
      --endpoint-id spiffe://west/countersign/ca --bundle FILE
      one way, with any SPIFFE bundle endpoint; FILE is a JWK Set or PEM
  countersign federation list
  countersign federation show west
  countersign federation refresh west
  countersign federation remove west
      open connections are cut within a second
  countersign federation map
      prints a SPIFFE bundle map: this trust domain's bundle and all of theirs
  countersign federation subscribe countersign_hub_...
      federates with everybody in a hub's list, now and later
  countersign federation unsubscribe NAME
  countersign federation hubs
  countersign federation publish FOLDER|s3://BUCKET/PREFIX [--endpoint URL]
      puts this CA's signed bundle into a hub, once; the CA does it by itself
      where its setting federationHub names the place. Prints its key.

  countersign federation hub create FOLDER|s3://BUCKET/PREFIX \\
      --hub-url https://hub.example/fleet/ [--name NAME] [--valid 7d]
      makes a hub and its key, in --hub-file (default countersign-hub.json):
      whoever has that file says who is in it. Prints what to subscribe to
  countersign federation hub admit KEY...
  countersign federation hub expel west
  countersign federation hub renew [--valid 7d]
      signs the list anew; by then nobody is believed by an older one
  countersign federation hub show

  --endpoint         of a bucket that is not AWS's: https://minio.example,
                     or https://{bucket}.s3.example; AWS_* as the SDK has it
  --hub-roots FILE   by whom that endpoint is known

Being believed allows nothing yet: a policy names who of west may call what.
${apiHelp}`;
