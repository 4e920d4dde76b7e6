import { expect, it, vi } from "vitest";
import { ServerConnection } from "@jupyterlab/services";
import { Api } from "../client.js";

it("gives two clicks on Fork one key, and the next fork another", async () => {
  const keys: string[] = [];
  const answers: (() => void)[] = [];
  vi.spyOn(ServerConnection, "makeRequest").mockImplementation(async (_url, init) => {
    keys.push((JSON.parse(String(init.body)) as { idempotency_key: string }).idempotency_key);
    await new Promise<void>(done => answers.push(done));
    return new Response(JSON.stringify({ run: { id: "new" } }));
  });
  const api = new Api({ baseUrl: "http://host/" } as ServerConnection.ISettings);
  const both = [api.fork("old", "label"), api.fork("old", "label")];
  await vi.waitFor(() => expect(answers).toHaveLength(2));
  answers.forEach(done => done());
  await Promise.all(both);
  const third = api.fork("old", "label");
  await vi.waitFor(() => expect(answers).toHaveLength(3));
  answers[2]!();
  await third;
  expect(keys[0]).toBe(keys[1]);
  expect(keys[2]).not.toBe(keys[0]);
});
