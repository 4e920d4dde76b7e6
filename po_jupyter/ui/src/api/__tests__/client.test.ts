import { ServerConnection } from "@jupyterlab/services";
import { describe, expect, it } from "vitest";
import { Api, explain } from "../client.js";
import type { Failure } from "../types.js";

interface Sent {
  url: string;
  method: string;
  body: string;
}

/** An Api whose server answers `status` with `body`, and what it was asked. */
function served(body: unknown, status = 200, baseUrl = "http://hub/user/ann/"): { api: Api; sent: Sent[] } {
  const sent: Sent[] = [];
  const fetch = async (request: Request): Promise<Response> => {
    sent.push({ url: request.url, method: request.method, body: await request.text() });
    return new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
  };
  const settings = ServerConnection.makeSettings({ baseUrl, fetch: fetch as typeof globalThis.fetch });
  return { api: new Api(settings), sent };
}

const failure = async (body: unknown, status: number): Promise<Failure> =>
  served(body, status)
    .api.meta()
    .then(
      () => expect.fail("it was no error"),
      error => explain(error)
    );

describe("the server's HTTP", () => {
  it("is asked below the base URL, as behind a hub", async () => {
    const { api, sent } = served({ runs: [], next: null });
    await api.runs({ q: "a b&c", cursor: undefined });
    expect(sent[0]!.url.split("?")).toEqual(["http://hub/user/ann/po/api/v1/runs", expect.stringMatching(/^brief=1&q=a\+b%26c/)]);
    expect(api.artifactUrl("r/1", "out put/a#b.csv")).toBe(
      "http://hub/user/ann/po/api/v1/runs/r%2F1/artifacts/out%20put/a%23b.csv"
    );
  });

  it("gets a decision with its note and of its gate, and none without", async () => {
    const { api, sent } = served({ run: {} });
    await api.decide("r", "approve", "fine");
    await api.decide("r", "reject", "", "mail");
    expect(sent.map(each => [each.method, JSON.parse(each.body)])).toEqual([
      ["POST", { decision: "approve", note: "fine" }],
      ["POST", { decision: "reject", task: "mail" }]
    ]);
  });

  it("is explained where it refuses: its own words, else what the status means", async () => {
    const error = { code: "conflict", message: "It has ended.", hint: "po resume", details: { violations: [] } };
    expect(await failure({ error }, 409)).toEqual(error);
    expect((await failure({ message: "'_xsrf' argument missing" }, 403)).code).toBe("unauthenticated");
    expect((await failure("", 401)).hint).toMatch(/log in/);
    expect((await failure("<html>", 404)).message).toMatch(/does not run in this Jupyter server/);
    expect((await failure("", 503)).code).toBe("unavailable");
    expect((await failure("", 418)).message).toMatch(/418/);
  });
});
