import { credentials, makeGenericClientConstructor, type Client } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";

/** Calls by the method's name. */
export type WorkloadClient = Client & Record<string, (...args: readonly unknown[]) => unknown>;

/** A gRPC client of the SPIFFE Workload API on a Unix socket; protobufjs shares nothing with our codec. */
export function workloadClient(path: string): WorkloadClient {
  return new SpiffeWorkloadApi(`unix:${path}`, credentials.createInsecure()) as unknown as WorkloadClient;
}

const repeated = (type: string, id: number) => ({ rule: "repeated", type, id }) as const;
const field = (type: string, id: number) => ({ type, id });
const map = (type: string, id: number) => ({ keyType: "string", type, id });
const stream = (name: string, request = `${name}Request`, response = `${name}Response`) => ({ requestType: request, responseType: response, responseStream: true, comment: "" });
const unary = (requestType: string, responseType: string) => ({ requestType, responseType, comment: "" });

/** Names and numbers of the fields: SPIFFE Workload API, appendix A; google/protobuf/struct.proto. */
const messages = {
  X509SVIDRequest: { fields: {} },
  X509SVIDResponse: { fields: { svids: repeated("X509SVID", 1), crl: repeated("bytes", 2), federated_bundles: map("bytes", 3) } },
  X509SVID: { fields: { spiffe_id: field("string", 1), x509_svid: field("bytes", 2), x509_svid_key: field("bytes", 3), bundle: field("bytes", 4), hint: field("string", 5) } },
  X509BundlesRequest: { fields: {} },
  X509BundlesResponse: { fields: { crl: repeated("bytes", 1), bundles: map("bytes", 2) } },
  JWTSVIDRequest: { fields: { audience: repeated("string", 1), spiffe_id: field("string", 2) } },
  JWTSVIDResponse: { fields: { svids: repeated("JWTSVID", 1) } },
  JWTSVID: { fields: { spiffe_id: field("string", 1), svid: field("string", 2), hint: field("string", 3) } },
  JWTBundlesRequest: { fields: {} },
  JWTBundlesResponse: { fields: { bundles: map("bytes", 1) } },
  ValidateJWTSVIDRequest: { fields: { audience: field("string", 1), svid: field("string", 2) } },
  ValidateJWTSVIDResponse: { fields: { spiffe_id: field("string", 1), claims: field("Struct", 2) } },
  Struct: { fields: { fields: map("Value", 1) } },
  Value: {
    oneofs: { kind: { oneof: ["nullValue", "numberValue", "stringValue", "boolValue", "structValue", "listValue"] } },
    fields: {
      nullValue: field("int32", 1), numberValue: field("double", 2), stringValue: field("string", 3), boolValue: field("bool", 4), structValue: field("Struct", 5),
      listValue: field("ListValue", 6),
    },
  },
  ListValue: { fields: { values: repeated("Value", 1) } },
  SpiffeWorkloadAPI: {
    methods: {
      FetchX509SVID: stream("X509SVID"), FetchX509Bundles: stream("X509Bundles"), FetchJWTBundles: stream("JWTBundles"),
      FetchJWTSVID: unary("JWTSVIDRequest", "JWTSVIDResponse"), ValidateJWTSVID: unary("ValidateJWTSVIDRequest", "ValidateJWTSVIDResponse"),
      // Without an answer here, so any message will do.
      FetchWITSVID: unary("X509SVIDRequest", "X509SVIDResponse"),
    },
  },
};
const definition = fromJSON({ nested: messages }, { keepCase: true, oneofs: true });
const SpiffeWorkloadApi = makeGenericClientConstructor(definition["SpiffeWorkloadAPI"] as never, "SpiffeWorkloadAPI");
